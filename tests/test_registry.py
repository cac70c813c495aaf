from __future__ import annotations

import pytest

from topo.errors import InputError
from topo.registry import Entry, Registry


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


def test_registering_a_name_twice_is_a_programming_error(pruners: Registry):
    with pytest.raises(RuntimeError, match="pruner 'snip' is registered twice"):
        pruners.register("snip")(object())
    assert pruners["snip"].__name__ == "snip"


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
