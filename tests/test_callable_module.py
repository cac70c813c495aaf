from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from topo.callable_module import make_callable


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("verb", "A package that is a verb.")
    module.act = lambda *args, **kwargs: (args, kwargs)
    monkeypatch.setitem(sys.modules, "verb", module)
    make_callable("verb", "act")
    return module


def test_calling_the_module_calls_its_function(verb: ModuleType):
    assert verb(1, 2, key=3) == ((1, 2), {"key": 3})


def test_it_stays_a_module_with_its_attributes(verb: ModuleType):
    assert isinstance(verb, ModuleType)
    assert (verb.__name__, verb.__doc__) == ("verb", "A package that is a verb.")
    assert importlib.import_module("verb") is verb


def test_a_function_replaced_later_is_the_one_called(verb: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(verb, "act", lambda: "replaced")
    assert verb() == "replaced"


def test_other_modules_stay_uncallable(verb: ModuleType):
    with pytest.raises(TypeError, match="not callable"):
        ModuleType("other")()


def test_an_unimported_module_is_a_programming_error():
    with pytest.raises(KeyError):
        make_callable("topo.no_such_module", "act")


def test_errors_of_the_function_pass_through(verb: ModuleType):
    def refuse() -> None:
        raise ValueError("refused")

    verb.act = refuse
    with pytest.raises(ValueError, match="refused"):
        verb()
