from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import topo.pruning
from tests.pruning.structured.conftest import find
from topo.errors import InputError
from topo.pruning.structured.group_norm import GroupPenalty, shrinkage, squared_norms

SHAPE = (1, 8, 8)


def importance_of_stream(model):
    """Of the units of the residual stream, by hand: filters and scales that write, columns that read."""
    written = [model.stem.weight, model.conv2.weight, model.stem_norm.weight, model.norm2.weight]
    read = [model.conv1.weight, model.wide.weight]
    rows = [w.detach().square().flatten(1).sum(1) if w.ndim > 1 else w.detach().square() for w in written]
    return sum(rows) + sum(w.detach().square().sum((0, 2, 3)) for w in read)


def test_squares_of_both_sides_relative_to_the_mean_of_the_group(exact):
    scores = topo.pruning.score(exact, "group-norm", example=SHAPE)
    expected = importance_of_stream(exact)
    torch.testing.assert_close(scores["stem.weight"][:, 0, 0, 0], expected / expected.mean())
    hidden = exact.hidden.weight.detach().square().sum(1) + exact.head.weight.detach().square().sum(0)
    torch.testing.assert_close(scores["hidden.weight"][:, 0], hidden / hidden.mean())


def test_the_size_of_a_group_does_not_matter(exact):
    before = topo.pruning.score(exact, "group-norm", example=SHAPE)
    with torch.no_grad():
        exact.hidden.weight *= 100
        exact.hidden.bias.fill_(1e6)
        exact.head.weight *= 100
    after = topo.pruning.score(exact, "group-norm", example=SHAPE)
    torch.testing.assert_close(after["hidden.weight"], before["hidden.weight"])


def test_shrinkage_runs_from_one_to_two_to_the_alpha():
    importance = torch.tensor([1.0, 3.0, 2.0, 5.0, 5.0], dtype=torch.float64)
    factors = shrinkage(importance, torch.tensor([0, 0, 0, 1, 1]), 4.0)
    torch.testing.assert_close(factors, torch.tensor([16.0, 1.0, 4.0, 1.0, 1.0], dtype=torch.float64))


def test_the_penalty_weighs_squared_norms_by_their_shrinkage(exact):
    channels = find(exact)
    alive = torch.ones(channels.count, dtype=torch.bool)
    state = SimpleNamespace(model=exact)
    value = GroupPenalty(channels, alive, 0.25, 4.0).penalty(state)
    norms = squared_norms(exact, channels)
    gamma = shrinkage(norms, channels.groups(), 4.0)
    torch.testing.assert_close(value.detach(), 0.25 * (gamma * norms).sum())
    (slope,) = torch.autograd.grad(value, exact.head.weight)
    reads = channels.axes["head.weight"][1]
    torch.testing.assert_close(slope, 0.25 * 2 * gamma[reads] * exact.head.weight.detach())
    assert (
        torch.autograd.grad(
            GroupPenalty(channels, alive, 1.0, 4.0).penalty(state), exact.norm1.bias, allow_unused=True
        )[0]
        is None
    )


def test_removed_units_are_not_penalised(exact):
    channels = find(exact)
    alive = torch.ones(channels.count, dtype=torch.bool)
    alive[channels.axes["hidden.weight"][0][2]] = False
    value = GroupPenalty(channels, alive, 1.0, 4.0).penalty(SimpleNamespace(model=exact))
    (slope,) = torch.autograd.grad(value, exact.head.weight)
    assert (slope[:, 2] == 0).all()
    assert (slope[:, 3] != 0).all()


def test_training_with_the_penalty_spreads_the_norms(little, few_digits, short):
    options = {"sparsity": 0.3, "data": few_digits, "recipe": short, "device": "cpu"}
    plain = topo.prune(little, "group-norm", **options)
    assert plain.state is None
    spread = []
    for penalty in (1e-9, 1e-2):
        masks = topo.prune(little, "group-norm", penalty=penalty, **options)
        masks.install(little)
        norms = squared_norms(little, find(little))[find(little).axes["conv1.weight"][0]]
        spread.append(float(norms.sum()))
        assert masks.sparsity >= 0.3
    assert spread[1] < spread[0]


@pytest.mark.parametrize("name", ["penalty", "alpha"])
def test_settings_that_are_no_numbers_from_zero_up_are_refused(exact, name):
    with pytest.raises(InputError, match=name):
        topo.prune(exact, "group-norm", sparsity=0.3, example=SHAPE, **{name: -1})
