from __future__ import annotations

import pytest
import torch
from torch import nn

import topo
from topo.pruning.dynamic.bipartite import ch2_l3n
from topo.pruning.dynamic.updater import largest


def chts(**settings):
    return topo.pruning.sparse_training_callback(nn.Linear(4, 3), "chts", sparsity=0.5, device="cpu", **settings)


def shares(score, candidates: torch.Tensor, draws: int = 4000) -> torch.Tensor:
    """How often each candidate has the largest of the sampled scores."""
    counts = sum(largest(score(), candidates, 1).double() for _ in range(draws))
    return counts / draws


def test_links_grow_with_odds_equal_to_their_scores():
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]).bool()
    scores = ch2_l3n(mask.double())
    callback, weight = chts(), torch.zeros(3, 4)
    callback.groups = {"weight": 1}
    torch.testing.assert_close(
        shares(lambda: callback.grow("weight", weight, mask), ~mask), scores / scores.sum(), atol=0.03, rtol=0
    )


@pytest.mark.slow
def test_without_any_score_links_grow_at_random():
    mask = torch.zeros(3, 4, dtype=torch.bool)
    callback = chts()
    expected = torch.full((3, 4), 1 / 12).double()
    torch.testing.assert_close(
        shares(lambda: callback.grow("weight", torch.zeros(3, 4), mask), ~mask), expected, atol=0.03, rtol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "exponent"), [(1.0, 1.0), (1.0, 3.0), (0.0, 1.0), (0.25, 2.0)])
def test_links_stay_with_odds_of_importance_to_a_power(alpha, exponent):
    weight = torch.tensor([[1.0, -2.0, 0.0, 0.0], [0.0, 3.0, 1.5, 0.0], [-1.0, 0.0, 0.0, 2.0]])
    mask = weight != 0
    size = weight.abs()
    relative = size / size.sum(0, keepdim=True) + size / size.sum(1, keepdim=True)
    odds = ((alpha * size + (1 - alpha) * relative) ** exponent).double()
    callback = chts(alpha=alpha)
    callback.exponent = exponent
    torch.testing.assert_close(
        shares(lambda: callback.drop("weight", weight, mask), mask), odds / odds.sum(), atol=0.03, rtol=0
    )


def test_the_odds_sharpen_over_training(follow):
    run = follow("chts", interval=1)
    assert len(run.updates) == 11
    delta = 0.5 + 0.25 * run.updates[-1].step / 12
    assert run.callback.exponent == pytest.approx(delta / (1 - delta)) and 2.5 < run.callback.exponent < 3
