from __future__ import annotations

import pytest
import torch
from torch import nn

import topo.pruning


def expected(weight: torch.Tensor, norms: torch.Tensor, exponent: float) -> torch.Tensor:
    """The formula of the paper, one weight after the other."""
    scores = torch.zeros_like(weight)
    for i, j in torch.cartesian_prod(*map(torch.arange, weight.shape)).tolist():
        share = weight[i, j].abs() * (1 / weight[:, j].abs().sum() + 1 / weight[i].abs().sum())
        scores[i, j] = share * norms[j] ** exponent
    return scores


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_scores_are_shares_in_row_and_column_times_a_power_of_the_norm(exponent):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer, inputs = nn.Linear(5, 3).double(), torch.randn(7, 5, dtype=torch.float64)
    scores = topo.pruning.score(layer, "ria", data=(inputs, torch.arange(7) % 3), exponent=exponent)["weight"]
    torch.testing.assert_close(scores, expected(layer.weight.detach(), inputs.norm(dim=0), exponent))


def test_a_column_of_a_convolution_is_an_input_at_one_place_of_the_kernel():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = nn.Conv2d(4, 6, 2, groups=2).double()
        inputs = torch.randn(5, 4, 3, 4, dtype=torch.float64)
    scores = topo.pruning.score(conv, "ria", data=(inputs, torch.zeros(5, dtype=torch.long)))["weight"]
    norms = nn.functional.unfold(inputs, 2).square().sum((0, 2)).sqrt().view(2, 8)
    for group in range(2):
        rows = slice(3 * group, 3 * group + 3)
        hand = expected(conv.weight.detach()[rows].flatten(1), norms[group], 0.5)
        torch.testing.assert_close(scores[rows].flatten(1), hand)


def test_a_row_and_a_column_of_zeros_have_no_score():
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 2.0]])
    scores = topo.pruning.score(layer, "ria", data=(torch.ones(2, 3), torch.tensor([0, 1])))["weight"]
    assert scores[0].tolist() == [0, 0, 0] and scores[1, 0] == 0
    assert scores[1, 1] == scores[1, 2] > 0


def test_no_channel_is_lost_because_its_weights_are_small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(40, 20, bias=False)
        layer.weight.data[:, :5] *= 1e-3
        data = torch.randn(50, 40), torch.arange(50) % 20
    kept = {p: topo.prune(layer, p, sparsity=0.5, data=data)["weight"][:, :5].sum() for p in ("wanda", "ria")}
    assert kept["wanda"] == 0 and kept["ria"] > 20
