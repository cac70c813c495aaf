"""The report as Markdown: the same content, pictures that are there, and names that stay text."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from urllib.parse import unquote

import pytest

from topo.errors import InputError
from topo.report import write_report
from topo.report.markdown import plain
from topo.results import example_results

HOSTILE = "<script>x</script> | [a](b) `c` *d*"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    table = example_results(sparsities=(0.9,)).assign(model=HOSTILE)
    path = tmp_path_factory.mktemp("markdown") / "my report.md"
    return write_report(table, path, questions=["similar_networks"], workers=1, title="# 1. <b>")


def test_pictures_and_tables_are_files_beside_it(written):
    text = written.read_text()
    links = re.findall(r"(?<!\\)\]\(([^)]+)\)", text)
    pictures = re.findall(r"!\[(?:\\.|[^\]\\])+\]\(([^)]+\.png)\)", text)
    assert len(pictures) == len(re.findall(r"\*\*Figure \w+\.\*\*", text)) > 4
    assert any(link.endswith("results.csv") for link in links)
    for link in links:
        assert " " not in link and (written.parent / unquote(link)).exists(), link
    for name in pictures:
        assert (written.parent / unquote(name)).read_bytes().startswith(b"\x89PNG")


def test_meanings_of_columns_are_set_apart(written):
    [meanings] = [line for line in written.read_text().splitlines() if line.startswith("**algorithm** ")]
    assert meanings.count("; **") > 4 and ";**" not in meanings


@pytest.mark.skipif(os.name == "nt", reason="has no such permissions")
def test_others_may_read_the_files_beside_it(written):
    made = written.parent / "made"
    made.mkdir()
    assert (written.parent / "my report-files").stat().st_mode == made.stat().st_mode


def test_it_says_what_the_page_says(written):
    page = write_report(
        example_results(sparsities=(0.9,)).assign(model=HOSTILE),
        written.with_suffix(".html"), questions=["similar_networks"], workers=1, files=False, title="# 1. <b>",
    ).read_text()  # fmt: skip
    text = written.read_text()
    captions = re.findall(r"<figcaption><b>(Figure \w+\.)</b>", page)
    assert captions == re.findall(r"\*\*(Figure \w+\.)\*\*", text)
    folds = re.findall(r'<details id="[\w-]+" class="part[^"]*"><summary>(.*?)</summary>', page)
    assert folds == re.findall(r"<details><summary>(.*?)</summary>", text)
    assert text.count("<details>") == text.count("</details>")


def test_names_are_text_and_nothing_else(written):
    text = written.read_text()
    assert "<script" not in text and "[a](b)" not in text and "`c`" not in text
    assert r"&lt;script&gt;x&lt;/script&gt; \| \[a\](b) \`c\` \*d\*" in text
    assert text.startswith("# \\# 1. &lt;b&gt;\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for head, rule in pairwise(rows):
        if set(rule) <= set("|-: "):
            assert len(re.findall(r"(?<!\\)\|", head)) == rule.count("|")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("1. a", "1\\. a"), ("- a", "\\- a"), ("a\n\n# b", "a \\# b"), ("a & $b$", "a &amp; \\$b\\$"), (3, "3")],
)
def test_plain(text, shown):
    assert str(plain(text)) == shown


def test_pictures_need_a_folder(tmp_path):
    with pytest.raises(InputError, match="are files beside it"):
        write_report(example_results(), tmp_path / "a.md", files=False)
