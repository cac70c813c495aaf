from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from topo.errors import InputError
from topo.registry import Entry, Registry


def test_its_names_are_seen(pruners: Registry):
    assert repr(pruners) == "<Registry of pruner: snip, magnitude, uniform>"


@pytest.fixture
def pruners() -> Registry:
    registry: Registry = Registry("pruner")

    @registry.register("snip", family="initial", needs_data=True)
    def snip():
        """Connection sensitivity.

        A second paragraph that is no part of the summary.
        """

    @registry.register("magnitude", family="trained", summary="Smallest weights go.")
    def magnitude():
        """Not the summary."""

    @registry.register("uniform")
    def uniform():
        pass

    return registry


def test_register_returns_the_object_unchanged():
    registry: Registry = Registry("thing")
    item = object()
    assert registry.register("a")(item) is item
    assert registry["a"] is item


def test_summary_is_given_or_the_first_line_of_the_docstring_or_empty(pruners: Registry):
    assert [e.summary for e in pruners.entries()] == ["Connection sensitivity.", "Smallest weights go.", ""]


def test_entry_holds_family_and_further_facts(pruners: Registry):
    entry = pruners.entry("snip")
    assert isinstance(entry, Entry)
    assert (entry.name, entry.family, entry.info) == ("snip", "initial", {"needs_data": True})
    assert entry.item is pruners["snip"]


def test_it_is_a_mapping_in_order_of_registration(pruners: Registry):
    assert list(pruners) == ["snip", "magnitude", "uniform"]
    assert len(pruners) == 3
    assert "snip" in pruners and "snap" not in pruners
    assert dict(pruners) == {name: pruners[name] for name in pruners}
    assert [e.name for e in pruners.entries()] == list(pruners)


def test_get_has_a_default_like_any_mapping(pruners: Registry):
    assert pruners.get("snip") is pruners["snip"]
    assert pruners.get("snap") is None
    assert pruners.get("snap", 7) == 7


def test_unknown_names_suggest_the_nearest(pruners: Registry):
    with pytest.raises(InputError, match=r"unknown pruner 'snap'; did you mean 'snip'\? Known: magnitude, snip, unif"):
        pruners["snap"]
    with pytest.raises(InputError, match="unknown pruner 'snap'"):
        pruners.entry("snap")


@pytest.mark.parametrize("name", [None, 3, ["snip"], {"snip": 1}])
def test_what_is_no_name_is_an_unknown_name(pruners: Registry, name: object):
    with pytest.raises(InputError, match="unknown pruner"):
        pruners[name]


def test_the_error_hides_the_lookup_that_failed(pruners: Registry):
    with pytest.raises(InputError) as caught:
        pruners["snap"]
    assert caught.value.__suppress_context__


def test_the_same_place_may_register_again():
    registry: Registry = Registry("thing")
    for answer in (1, 2):

        @registry.register("a")
        def a(answer: int = answer) -> int:
            return answer

    assert registry["a"]() == 2 and len(registry) == 1


def define(registry: Registry, module: str, function: str = "shape", name: str = "square") -> None:
    """As a module of that name would register a function."""
    code = f"@registry.register({name!r})\ndef {function}(): ..."
    exec(code, {"__name__": module, "registry": registry})


def test_a_notebook_may_register_a_name_again_under_another_function():
    registry: Registry = Registry("shape")
    define(registry, "__main__", "first")
    define(registry, "__main__", "second")
    assert registry["square"].__name__ == "second"


@pytest.mark.parametrize(("module", "function"), [("elsewhere", "shape"), ("here", "other")])
def test_another_place_may_not_register_the_same_name(module: str, function: str):
    registry: Registry = Registry("shape")
    define(registry, "here")
    first = registry["square"]
    with pytest.raises(
        InputError, match=f"'square' is registered twice, by shape in here and by {function} in {module}"
    ):
        define(registry, module, function)
    assert registry["square"] is first


def test_what_is_no_function_is_placed_by_the_module_that_registers_it():
    registry: Registry = Registry("thing")
    registry.register("a")(1)
    assert registry.entry("a").source.module == __name__ and registry.entry("a").source.file == Path(__file__)
    registry.register("a")(2)
    with pytest.raises(InputError, match="registered twice"):
        exec("registry.register('a')(3)", {"__name__": "elsewhere", "registry": registry})
    assert registry["a"] == 2


@pytest.mark.parametrize("name", ["", "two words", "line\n", None, 3])
def test_names_are_words(name: object):
    with pytest.raises(InputError, match="the name of a thing must be a word without blanks"):
        Registry("thing").register(name)


def run(code: str, folder: Path, *options: str) -> str:
    """What a fresh process prints that has `folder` on its path, and what it warns of."""
    command = [sys.executable, *options, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def install(folder: Path, package: str, source: str, entry_points_text: str) -> None:
    """Lay out a package as pip does."""
    (folder / f"{package}.py").write_text(source)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points_text)


def test_installed_packages_add_names_when_a_registry_is_first_looked_up(tmp_path: Path):
    source = """
from topo.registry import Registry
SHAPES = Registry("shape")
@SHAPES.register("square")
def square():
    "Four equal sides."
"""
    (tmp_path / "base.py").write_text(source)
    more = "from base import SHAPES\nassert 'square' in SHAPES\nSHAPES.register('disc', summary='Round.')(1)\n"
    install(tmp_path, "round_shapes", more, "[topo.shapes]\nround = round_shapes\n")
    install(tmp_path, "broken_shapes", "import no_such_module\n", "[topo.shapes]\nbroken = broken_shapes\n")
    install(tmp_path, "rival_shapes", more.replace("disc", "square"), "[topo.shapes]\nrival = rival_shapes\n")
    code = (
        "import base\nassert 'round_shapes' not in sys.modules\n"
        "print(sorted(base.SHAPES), base.SHAPES.entry('square').summary)"
    )
    output = run(code, tmp_path)
    assert "['disc', 'square'] Four equal sides." in output
    assert output.count("UserWarning") == 2
    assert "the package 'broken_shapes' cannot add to topo.shapes: its entry point 'broken' (broken_shapes) " in output
    assert "No module named 'no_such_module'" in output
    assert "'rival_shapes' cannot add" in output and "shape 'square' is registered twice" in output


@pytest.mark.slow
def test_a_package_may_add_a_pruner(tmp_path: Path):
    source = """
from topo.pruning import PRUNERS, by_score
@PRUNERS.register("largest-first", family="own", stage="trained", needs_data=False)
@by_score()
def largest_first(task):
    "Keeps the smallest weights."
    return {name: -weight.detach().abs() for name, weight in task.weights.items()}
"""
    install(tmp_path, "own_pruners", source, "[topo.pruners]\nany = own_pruners\n")
    code = """
import topo, torch
masks = topo.prune(torch.nn.Linear(4, 2), "largest-first", sparsity=0.5)
print(int(masks.counts()["kept"].sum()), topo.pruning.PRUNERS.entry("largest-first").source)
"""
    assert run(code, tmp_path, "-W", "error").strip() == f"4 largest_first in {tmp_path / 'own_pruners.py'}"


def test_an_empty_registry_still_answers():
    with pytest.raises(InputError, match="unknown model 'x'"):
        Registry("model")["x"]


def test_entries_are_immutable(pruners: Registry):
    with pytest.raises(AttributeError):
        pruners.entry("snip").name = "other"


def test_a_new_file_registers_itself(tmp_path, monkeypatch):
    package = tmp_path / "rooms"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from topo.registry import Registry, import_submodules\n"
        "ROOMS = Registry('room')\n"
        "import_submodules(__name__, __path__)\n"
    )
    (package / "attic.py").write_text("from . import ROOMS\nROOMS.register('attic', summary='Under the roof.')(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import rooms

    assert list(rooms.ROOMS) == ["attic"]
