from __future__ import annotations

from pathlib import Path

import pytest

from topo.errors import InputError
from topo.study.yaml_file import read_yaml


def write(folder: Path, text: str) -> Path:
    file = folder / "study.yaml"
    file.write_text(text)
    return file


def test_values_and_the_line_of_every_key_and_item(tmp_path: Path):
    data, lines = read_yaml(write(tmp_path, "a: 1\n\nb:\n  - x\n  - {c: 2,\n     d: 3}\n"))
    assert data == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    assert lines == {("a",): 1, ("b",): 3, ("b", 0): 4, ("b", 1): 5, ("b", 1, "c"): 5, ("b", 1, "d"): 6}


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e+3", -2500.0), ("1e", "1e"), ("e5", "e5"), ("3", 3)]
)
def test_numbers_with_an_exponent_are_numbers(tmp_path: Path, text: str, value: object):
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
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: \xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path / "latin.yaml")
