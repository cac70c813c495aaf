"""What an algorithm of one's own returns is checked where it enters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import topo
from topo.errors import InputError
from topo.pruning import PRUNERS, SparseTrainingCallback, by_score
from topo.pruning.structured.unit_scoring import by_unit_score

SHAPES = {"0.weight": (6, 4), "2.weight": (3, 6)}


def full(value=True, dtype=torch.bool):
    return {name: torch.full(shape, value, dtype=dtype) for name, shape in SHAPES.items()}


def changed(**other):
    return full() | {name.replace("_", "."): value for name, value in other.items()}


def without(name):
    return {key: value for key, value in full().items() if key != name}


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture
def own(monkeypatch):
    """Registers an algorithm under the name "mine" for one test."""
    monkeypatch.setattr(PRUNERS, "_entries", dict(PRUNERS._entries))

    def add(algorithm, stage="trained"):
        PRUNERS.register("mine", family="own", stage=stage, needs_data=False)(algorithm)

    return add


WRONG = [
    (None, "returned None in the place of"),
    ("0.weight", "returned a str in the place of"),
    ([torch.ones(6, 4)], "returned a list in the place of"),
    (np.ones((6, 4)), "returned a ndarray in the place of"),
    (without("2.weight"), "returned no {what} of '2.weight'"),
    ({}, "returned no {what} of '0.weight', '2.weight'"),
    (
        full() | {"2.weigth": torch.ones(3, 6)},
        "of '2.weigth', which is no parameter of the model; did you mean '2.weight'",
    ),
    (changed(**{"0_weight": np.ones((6, 4), dtype=bool)}), "returned a ndarray as the {what} of '0.weight'"),
    (changed(**{"0_weight": None}), "returned a NoneType as the {what} of '0.weight'"),
    (changed(**{"0_weight": "keep"}), "returned a str as the {what} of '0.weight'"),
    (changed(**{"0_weight": torch.ones(4, 6).bool()}), r"of shape \(4, 6\) for '0.weight', whose shape is \(6, 4\)"),
    (changed(**{"0_weight": torch.ones(1, 4).bool()}), r"of shape \(1, 4\) for '0.weight', whose shape is \(6, 4\)"),
    (changed(**{"0_weight": torch.tensor(True)}), r"of shape \(\) for '0.weight'"),
]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        *WRONG,
        (full(1.0, torch.float32), "a mask of '0.weight' of torch.float32; masks are bool tensors"),
        (full(1, torch.int64), "a mask of '0.weight' of torch.int64; masks are bool tensors"),
    ],
)
def test_masks_that_are_none_are_refused_in_a_sentence_that_names_the_pruner(net, own, returned, message):
    def algorithm(task):
        return returned

    own(algorithm)
    with pytest.raises(InputError, match=r"^pruner 'mine' .*\.$") as error:
        topo.prune(net, "mine", sparsity=0.5)
    assert error.match(message.format(what="mask"))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        *WRONG,
        (
            full(float("nan"), torch.float32),
            "the scores that pruner 'mine' gives 0.weight, 2.weight are not all finite",
        ),
        (
            full(float("inf"), torch.float32),
            "the scores that pruner 'mine' gives 0.weight, 2.weight are not all finite",
        ),
        (full(0.0, torch.float32), "pruner 'mine' scores every weight zero"),
    ],
)
def test_scores_that_are_none_are_refused_in_a_sentence_that_names_the_pruner(net, own, returned, message):
    def score(task):
        return returned

    own(by_score()(score))
    with pytest.raises(InputError, match=r"pruner 'mine' .*[.?]$") as error:
        topo.prune(net, "mine", sparsity=0.5)
    assert error.match(message.format(what="score"))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, r"must score units by a tensor of shape \(6,\), one number each, not by NoneType"),
        (np.ones(6), "not by ndarray"),
        (torch.ones(1), r"not by a tensor of shape \(1,\)"),
        (torch.full((6,), torch.nan), "pruner 'mine' gives units are not all numbers"),
        (torch.zeros(6), "pruner 'mine' scores every unit zero"),
    ],
)
@pytest.mark.parametrize("call", [topo.prune, topo.pruning.score])
def test_scores_of_units_that_are_none_are_refused(net, own, returned, message, call):
    def score(task, channels):
        return returned

    own(by_unit_score()(score))
    asked = {"sparsity": 0.3} if call is topo.prune else {}
    with pytest.raises(InputError, match="pruner 'mine'") as error:
        call(net, "mine", example=(4,), **asked)
    assert error.match(message)


@pytest.mark.parametrize(("masks", "message"), WRONG)
def test_the_first_masks_of_sparse_training_are_checked_too(net, own, masks, message):
    class Mine(SparseTrainingCallback):
        def __init__(self, task):
            super().__init__(task)
            self.masks = masks

    own(Mine, stage="training")
    with pytest.raises(InputError, match=r"^pruner 'mine'") as error:
        topo.pruning.sparse_training_callback(net, "mine", sparsity=0.5)
    assert error.match(message.format(what="mask"))


def test_an_algorithm_of_stage_training_must_return_a_callback(net, own):
    def algorithm(task):
        return full()

    own(algorithm, stage="training")
    with pytest.raises(InputError, match=r"must return a topo.pruning.SparseTrainingCallback, not a dict"):
        topo.pruning.sparse_training_callback(net, "mine", sparsity=0.5)


def test_an_algorithm_that_fails_is_named(net, own):
    def score(task):
        return task.wieghts

    own(by_score()(score))
    for call, asked in ((topo.prune, {"sparsity": 0.5}), (topo.pruning.score, {})):
        with pytest.raises(InputError, match=r"pruner 'mine' failed with AttributeError: .* no attribute 'wieghts'\.$"):
            call(net, "mine", **asked)


def test_an_algorithm_that_fails_during_training_is_named(net, own):
    class Mine(SparseTrainingCallback):
        def __init__(self, task, *, late: bool = True):
            super().__init__(task)
            self.masks = full()
            if not late:
                raise KeyError("late")

        def on_step_end(self, state):
            raise ZeroDivisionError

    own(Mine, stage="training")
    data = torch.zeros(6, 4), torch.arange(6) % 3
    with pytest.raises(InputError, match=r"pruner 'mine' failed with ZeroDivisionError\."):
        topo.prune(net, "mine", sparsity=0.5, data=data, recipe="digits", device="cpu")
    with pytest.raises(InputError, match=r"pruner 'mine' failed with KeyError: 'late'\."):
        topo.pruning.sparse_training_callback(net, "mine", sparsity=0.5, late=False)


def test_right_masks_of_an_own_algorithm_are_taken(net, own):
    def algorithm(task, *, keep: bool = True):
        return full(keep)

    own(algorithm)
    assert topo.prune(net, "mine", sparsity=0.5).sparsity == 0.0
    assert topo.prune(net, "mine", sparsity=0.5, keep=False).settings == {"keep": False}


def test_a_traced_network_is_pruned_as_its_model(net):
    dag = topo.trace(net, (4,))
    masks, expected = topo.prune(dag, "erk", sparsity=0.5), topo.prune(net, "erk", sparsity=0.5)
    assert all(torch.equal(masks[name], expected[name]) for name in expected)
    with pytest.raises(InputError, match="pruner 'erk' works on the modules of the model, which a coarse Dag"):
        topo.prune(topo.dag.coarsen(dag), "erk", sparsity=0.5)
