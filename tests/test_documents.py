"""What README, CONTRIBUTING and the pages of the site show can be done: their Python runs, commands and files exist."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
from PIL import Image

from tests.fresh import run_fresh
from topo.cli import app
from topo.study import StudyConfig

ROOT = Path(__file__).resolve().parents[1]
SITE = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", *SITE)
DOCUMENTS = {name: (ROOT / name).read_text() for name in PAGES}
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENTS[document], re.DOTALL | re.MULTILINE)


def commands(document: str) -> list[str]:
    """Command lines in shell blocks, and those that fill a table cell's code."""
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    lines += re.findall(r"^\| `([^`]+)`", DOCUMENTS[document], re.MULTILINE)
    return [line.removeprefix(".venv/bin/") for line in lines]


# Each document in a namespace of its own.
RUN = """
import sys
from pathlib import Path
for path in sys.argv[1:]:
    exec(compile(Path(path).read_text(), path, "exec"), {"__name__": "__main__"})
"""
# The same lines on less: smaller images, fewer samples, epochs and random masks.
LESS = {
    "3, 32, 32)": "3, 8, 8)",
    'load("text")': 'load("text", context=16, train=100)',
    '"text", device': 'topo.training.recipe("text", epochs=1), device',
    "n=20": "n=2",
    '"synflow", sparsity': '"synflow", rounds=2, sparsity',
    'data=data, recipe="digits"': 'data=data, recipe=topo.training.recipe("digits", epochs=1)',
    'data, "digits", nu': 'data, topo.training.recipe("digits", epochs=1), nu',
    'build("resnet20").eval()': 'build("small-resnet").eval()',
    "set(range(29))": "set(range(len(T.dag.arcs)))",
}


def shortened(code: str) -> str:
    if "import" in code and "transformers" in code:  # it imports torchvision, which not every build of torch bears
        code = "from topo.torchvision_import import import_torchvision\nimport_torchvision()\n" + code
    for words, fewer in LESS.items():
        code = code.replace(words, fewer)
    return code


@pytest.mark.slow
def test_the_python_of_the_documents_runs(tmp_path: Path):
    # In a process of its own: the examples register things, which other tests must not find.
    (tmp_path / "made").mkdir()
    scripts = []
    for name in DOCUMENTS:
        if code := "\n".join(blocks(name, "python")):
            scripts.append(tmp_path / f"{len(scripts)}-{Path(name).stem}.py")
            scripts[-1].write_text(shortened(code))
    done = run_fresh(RUN, *scripts, folder=tmp_path / "made")
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert {"graph.png", "graph.html", "graphs.pdf", "resnet20-synflow.safetensors"} <= made


@pytest.mark.parametrize(
    "line", [line for name in DOCUMENTS for line in commands(name) if line.startswith(("topo ", "make ", "python "))]
)
def test_a_command_of_a_document_exists(line: str):
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE)
        return
    if words[0] == "python":
        assert [word for word in words if "/" in word and not (ROOT / word).exists()] == []
        return
    command = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    assert not rest or rest[0].startswith("-") or not hasattr(command, "commands"), f"there is no command {rest[0]!r}"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize("name", sorted(set(re.findall(r"examples/\w+\.\w+", "".join(DOCUMENTS.values())))))
def test_an_example_of_a_document_exists(name: str):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:topo|tests)/[\w./]+)`", "".join(DOCUMENTS.values())))))
def test_a_file_that_a_document_names_exists(name: str):
    assert (ROOT / name).exists()


@pytest.mark.parametrize("page", ["docs/start.md", "docs/studies.md"])
def test_the_study_file_of_a_page_is_a_study(page: str, tmp_path: Path):
    [text] = blocks(page, "yaml")
    (tmp_path / "study.yaml").write_text(text)
    assert len(StudyConfig.read(tmp_path / "study.yaml").pruners) == 6


def test_the_tables_of_the_readme_are_what_the_registries_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    tables = runpy.run_path(str(ROOT / "docs" / "readme_tables.py"))
    assert tables["page"](DOCUMENTS["README.md"]) == DOCUMENTS["README.md"], "run python docs/readme_tables.py"


def test_the_readme_gives_the_reason_for_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {name for row in re.findall(r"^\| ([\w, -]+) \|", DOCUMENTS["README.md"], re.M) for name in row.split(", ")}
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert needed - named == set()
    assert all(
        f"[{extra}]" in DOCUMENTS["README.md"] for extra in project["optional-dependencies"].keys() - {"dev", "docs"}
    )


@pytest.mark.parametrize(
    ("name", "target"),
    sorted({(n, t) for n, text in DOCUMENTS.items() for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t}),
)
def test_what_a_document_links_to_is_there(name: str, target: str):
    made_by_the_build = target.startswith(("generated/", "figures/"))  # which refuses a link that leads nowhere
    assert made_by_the_build or ((ROOT / name).parent / target).exists()


@pytest.mark.slow
def test_the_picture_is_what_the_example_draws(tmp_path: Path):
    draw = runpy.run_path(str(ROOT / "examples" / "readme_picture.py"))["draw"]
    with Image.open(draw(tmp_path / "picture.png")) as drawn, Image.open(ROOT / "docs" / "multipartite.png") as kept:
        assert drawn.size == kept.size
