from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from topo import own_code
from topo.errors import InputError
from topo.own_code import import_code
from topo.registry import Registry

SHAPES: Registry = Registry("shape")
CODE = "from {here} import SHAPES\n\n\n@SHAPES.register('own')\ndef own():\n    'Mine.'\n    return {answer}\n"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules and names that a test loads are gone after it."""
    before = set(sys.modules)
    monkeypatch.setitem(sys.modules, "shapes_of_this_test", sys.modules[__name__])
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]
    SHAPES._entries.clear()
    own_code._imported.clear()


def write(file: Path, answer: int = 1, code: str = CODE) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(code.format(here="shapes_of_this_test", answer=answer))
    return file


def test_a_file_registers_what_it_holds_under_its_own_name(tmp_path: Path):
    file = write(tmp_path / "my_shapes.py")
    module = import_code(file)
    assert SHAPES["own"]() == 1 and SHAPES.entry("own").source.file == file
    assert sys.modules["my_shapes"] is module and module.__file__ == str(file)
    assert import_code(str(file)) is module
    assert [path.name for path in tmp_path.iterdir()] == ["my_shapes.py"]


def test_an_edited_file_is_taken_up(tmp_path: Path):
    import_code(write(tmp_path / "my_shapes.py"))
    import_code(write(tmp_path / "my_shapes.py", answer=2))
    assert SHAPES["own"]() == 2


def test_a_copy_is_the_same_code_and_another_file_of_that_name_is_not(tmp_path: Path):
    import_code(write(tmp_path / "a" / "my_shapes.py"))
    import_code(write(tmp_path / "b" / "my_shapes.py"))
    assert SHAPES.entry("own").source.file == tmp_path / "a" / "my_shapes.py"
    with pytest.raises(InputError, match=r"b/my_shapes.py cannot be imported, because .*a/my_shapes.py is loaded as"):
        import_code(write(tmp_path / "b" / "my_shapes.py", answer=2))
    assert SHAPES["own"]() == 1


def test_one_file_may_import_another_that_came_before(tmp_path: Path):
    import_code(write(tmp_path / "my_helper.py", code="ANSWER = 42\n"))
    code = CODE.replace("\n\n\n", "\nfrom my_helper import ANSWER\n\n\n", 1).replace("{answer}", "ANSWER")
    import_code(write(tmp_path / "my_shapes.py", code=code))
    assert SHAPES["own"]() == 42


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("a.py", "x = 1\n1 / 0\n", r"a.py, line 2, cannot be imported: ZeroDivisionError: division by zero\."),
        ("a.py", "x = 1\nx = = 1\n", r"a.py, line 2, cannot be imported: SyntaxError: invalid syntax\."),
        ("a.py", "import no_such_module\n", r"line 1, cannot be imported: ModuleNotFoundError: No module named"),
        ("a.py", "import sys\nsys.exit(3)\n", r"line 2, cannot be imported: SystemExit: 3\."),
        ("a.py", CODE.replace("'own'", "''"), r"line 4, cannot be imported: the name of a shape must be a word"),
        ("my-code.py", "", "name it like a Python module, such as my_code.py"),
        ("random.py", "", "has the name of a module of Python's own; rename it"),
        ("topo.py", "", r"topo.py cannot be imported, because .*topo/__init__.py is loaded as 'topo' already"),
        ("a.txt", "", "name it like a Python module"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path: Path, name: str, code: str, message: str):
    file = write(tmp_path / name, code=code)
    with pytest.raises(InputError, match=message) as caught:
        import_code(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert "a" not in sys.modules


def test_files_and_modules_that_are_not_there(tmp_path: Path):
    with pytest.raises(InputError, match=r"none.py cannot be read \(No such file or directory\)"):
        import_code(tmp_path / "none.py")
    with pytest.raises(InputError, match=r"there is no module 'no_such.module'; give the path of a .py file"):
        import_code("no_such.module")


def test_modules_by_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "own_package" / "__init__.py", code="")
    write(tmp_path / "own_package" / "shapes.py")
    write(tmp_path / "own_package" / "broken.py", code="import no_such_module\n")
    import_code("own_package.shapes")
    assert SHAPES["own"]() == 1
    with pytest.raises(InputError, match=r"module 'own_package.broken' cannot be imported \(No module named 'no_such"):
        import_code("own_package.broken")
