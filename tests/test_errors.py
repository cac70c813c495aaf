from __future__ import annotations

import contextlib
import inspect
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import topo.errors
from topo.errors import InputError, counted, nearest, unknown_name, warn

PRUNERS = ["er", "erk", "grasp", "magnitude", "magnitude-layerwise", "snip", "synflow", "uniform"]


def test_input_error_is_a_value_error():
    with pytest.raises(ValueError, match="outside"):
        raise InputError("sparsity 1.2 is outside [0, 1).")


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("snipp", "snip"), ("GraSP", "grasp"), ("syn_flow", "synflow"), ("magnitude_layer_wise", "magnitude-layerwise")],
)
def test_nearest_finds_the_name_that_was_meant(misspelt: str, meant: str):
    assert nearest(misspelt, PRUNERS)[0] == meant


def test_nearest_of_nothing_alike_is_empty():
    assert nearest("zzzzzz", PRUNERS) == []
    assert nearest("snip", []) == []


def test_nearest_gives_at_most_count_names():
    assert nearest("magnitude", PRUNERS, count=1) == ["magnitude"]
    assert len(nearest("er", ["er1", "er2", "er3", "er4"], count=2)) == 2


def test_nearest_takes_any_iterable_once():
    assert nearest("snipp", (name for name in PRUNERS)) == nearest("snipp", PRUNERS)


@given(st.sampled_from(PRUNERS))
def test_nearest_of_a_known_name_is_itself(name: str):
    assert nearest(name, PRUNERS)[0] == name
    assert nearest(name.upper().replace("-", "_"), PRUNERS)[0] == name


@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=6))
def test_unknown_name_is_one_line_that_quotes_the_name_and_lists_every_known_one(name: str, known: list[str]):
    error = unknown_name("pruner", name, known)
    assert isinstance(error, InputError)
    assert str(error).startswith(f"unknown pruner {name!r}; ")
    assert str(error).endswith(f"Known: {', '.join(sorted(known))}.")


def test_unknown_name_lists_known_names_sorted_and_gives_no_hint_without_a_near_one():
    assert str(unknown_name("model", "q", ["conv6", "alexnet"])) == "unknown model 'q'; Known: alexnet, conv6."


def test_unknown_name_accepts_what_is_not_a_string():
    assert "unknown metric 7" in str(unknown_name("metric", 7, ["nodes"]))


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("weight", "weights"), ("family", "families"), ("day", "days"), ("class", "classes"), ("batch", "batches"),
     ("tested difference", "tested differences"), ("index", "indexes")],
)  # fmt: skip
def test_one_is_counted_in_the_singular(noun: str, plural: str):
    assert [counted(number, noun) for number in (0, 1, 2, 1000)] == [
        f"0 {plural}", f"1 {noun}", f"2 {plural}", f"1,000 {plural}"
    ]  # fmt: skip
    assert counted(1, noun, "has", "have") == f"1 {noun} has" and counted(3, noun, "has", "have") == f"3 {plural} have"


def test_messages_that_count_leave_the_plural_to_counted():
    count_of_things = re.compile(r"\{len\([^{}]*\)(:,)?\} ([a-z-]+ )?[a-z]+s\b")
    package = Path(topo.errors.__file__).parent
    found = [f"{file}: {m[0]}" for file in package.rglob("*.py") for m in count_of_things.finditer(file.read_text())]
    assert not found


def test_a_warning_is_at_the_line_that_called_the_package_however_deep_it_arose():
    within = {"__name__": "topo.somewhere.deep", "warn": warn, "contextmanager": contextlib.contextmanager}
    exec(
        "@contextmanager\ndef opened():\n    warn('so it is', RuntimeWarning)\n    yield\n"
        "def call():\n    with opened():\n        pass\n",
        within,
    )
    with pytest.warns(RuntimeWarning, match="^so it is$") as told:
        line = inspect.currentframe().f_lineno + 1
        within["call"]()
    assert [(w.filename, w.lineno) for w in told] == [(__file__, line)]
