from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topo.errors import InputError
from topo.questions import Evidence
from topo.study import Study
from topo.study.yaml_file import parse_value, read_yaml, written_yaml


def write(folder: Path, text: str) -> Path:
    file = folder / "study.yaml"
    file.write_text(text)
    return file


def bomb(inner: str) -> str:
    """A few lines that stand for 9^9 values."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} " + inner.format(", ".join(f"*a{i - 1}" for _ in range(9))) for i in range(1, 10)]
    return "\n".join(lines)


def test_values_and_the_line_of_every_key_and_item(tmp_path: Path):
    data, lines = read_yaml(write(tmp_path, "a: 1\n\nb:\n  - x\n  - {c: 2,\n     d: 3}\n"))
    assert data == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    assert lines == {("a",): 1, ("b",): 3, ("b", 0): 4, ("b", 1): 5, ("b", 1, "c"): 5, ("b", 1, "d"): 6}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e+3", -2500.0), ("1e", "1e"), ("e5", "e5"), ("3", 3), ("+.5", 0.5)),
        *(("2:4", "2:4"), ("1:30:00", "1:30:00"), ("1_000", "1_000"), ("010", 10), ("0o17", 15), ("0x1F", 31)),
        *(("0b11", "0b11"), ("2024-13-45", "2024-13-45"), ("2001-01-01", "2001-01-01"), ("=", "="), ("no", "no")),
        *(("true", True), ("~", None), ("", None), ("-.inf", -math.inf), (".5e1", 5.0), ("1.", 1.0), ("'1'", "1")),
        *((f"{2**64 - 1}", 2**64 - 1), (f"{-(2**63)}", -(2**63))),
    ],
)
def test_values_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object):
    assert read_yaml(write(tmp_path, f"a: {text}\n"))[0] == {"a": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", r"study.yaml, line 2 is not valid YAML: .*expected ',' or '\]'"),
        ("a: 1\nb: 2\na: 3\n", "study.yaml, line 3: key 'a' is written twice"),
        ("- a\n", "holds no keys"),
        ("", "holds no keys"),
        ("just words", "holds no keys"),
        ("a: !!python/object/apply:os.getcwd []\n", "line 1 is not valid YAML"),
        ("a: b: c\n", "line 1 is not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        ("a: &a [*a]\n", "line 1 is not valid YAML: it refers to itself"),
        ("a: &a {b: *a}\n", "it refers to itself"),
        ("a: &a\n  <<: *a\n", "it refers to itself"),
        (bomb("[{}]"), "stands for more than 100,000 values"),
        (bomb("{{<<: [{}]}}"), "stands for more than 100,000 values"),
        ("a: " + "[\n" * 100_000, "nested too deep"),
        ("a: " + "[" * 40 + "]" * 40, "nested too deep"),
        ("a: " + "{a:\n" * 20_000, "nested too deep"),
        ("b: 1\n? [a, b]\n: 3\n", "line 2 is not valid YAML: a key is text, .*, not a sequence"),
        ("? {a: b}\n: 3\n", "a key is text, .*, not a mapping"),
        ("1: a\n", "line 1 is not valid YAML: a key is text, .* not '1'"),
        ("true: a\n", "a key is text"),
        ("a: {~: a}\n", "a key is text"),
        ("a: " + "9" * 5_000, r"'9999.*\.\.\.' is no whole number of at most 64 bits"),
        (f"a: {2**64}", "is no whole number of at most 64 bits"),
        ("a: 0x" + "f" * 17, "is no whole number of at most 64 bits"),
        ("a: 1e999", "'1e999' is larger than any number here"),
        ("a: !!int x", "'x' is no whole number"),
        ("a: !!float x", "'x' is no number"),
        ("a: !!bool x", "'x' is neither true nor false"),
        ("a: !!timestamp 2001-99-99", "line 1 is not valid YAML"),
        ("a: !!set {b}", "line 1 is not valid YAML"),
        ("a: !!binary aGk=", "line 1 is not valid YAML"),
        ("a: 1\n---\nb: 1\n", "line 2 is not valid YAML"),
        ("#" * 300_000, "longer than 262,144 characters"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is a folder"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: \xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path / "latin.yaml")


def test_a_long_file_is_read_up_to_a_bound(tmp_path: Path):
    with pytest.raises(InputError, match="longer than"):
        read_yaml(write(tmp_path, "a: 1\n" * 60_000))


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (put_pipe, "is no file but a pipe"),
        (Path.mkdir, "is a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "is no file but a device"),
        (lambda path: path.symlink_to(path), "it is a link that leads back to itself"),
        (lambda path: path.symlink_to("nowhere"), "it is a link to nowhere, which does not exist"),
    ],
)
def test_what_is_no_study_file_is_named_as_what_it_is(put, message, tmp_path: Path):
    put(tmp_path / "study.yaml")
    for read in (Study.load, Evidence.read, lambda folder: Study.read(folder / "study.yaml")):
        with pytest.raises(InputError, match=rf"study\.yaml .*{message}"):
            read(tmp_path)


@pytest.mark.parametrize("text", ["[a", "&a [*a]", "? [a]\n: 1", "9" * 100, "[\n" * 50_000, "!!python/name:os.system"])
def test_values_of_the_command_line_are_read_as_strictly(text: str):
    with pytest.raises(InputError, match=r"^the value '") as caught:
        parse_value(text)
    assert len(str(caught.value)) < 250


SCALARS = st.one_of(
    st.text("aeinortuyYNEx0123456789:_.+-~=<#' \n\x1b\u202e", max_size=6),
    st.sampled_from(["2:4", "1e-4", "no", "null", "0o17", "2001-01-01", "=", "<<", "1_000", ".inf", "0x1f", ""]),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.dictionaries(st.text("ab<=1.y:", max_size=4), st.lists(SCALARS, max_size=3), min_size=1, max_size=4))
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, data: dict):
    file = tmp_path_factory.getbasetemp() / "written.yaml"
    file.write_text(written_yaml(data), encoding="utf-8")
    read = read_yaml(file)[0]
    assert read == data
    assert all(type(a) is type(b) for key in data for a, b in zip(read[key], data[key], strict=True))
