from __future__ import annotations

import pytest
import torch

import topo.pruning


@pytest.mark.parametrize(
    ("name", "of"), [("l1-filter", lambda w: w.abs().sum()), ("l2-filter", lambda w: w.square().sum().sqrt())]
)
def test_norm_of_all_filters_that_write_a_unit(exact, name, of):
    scores = topo.pruning.score(exact, name, example=(1, 8, 8))
    parameters = {key: p.detach() for key, p in exact.named_parameters()}
    for written in (["stem", "conv2"], ["conv1"], ["wide", "depthwise"], ["hidden"]):
        count = len(parameters[f"{written[0]}.weight"])
        for unit in range(count):
            filters = torch.cat([parameters[f"{layer}.weight"][unit].flatten() for layer in written])
            for layer in written:
                norm = scores[f"{layer}.weight"][unit]
                torch.testing.assert_close(norm, of(filters).expand(norm.shape))
    assert scores["head.weight"].isinf().all()


@pytest.mark.parametrize("name", ["l1-filter", "l2-filter"])
def test_a_filter_made_larger_counts_so_much_more(exact, name):
    before = topo.pruning.score(exact, name, example=(1, 8, 8))["conv1.weight"][:, 0, 0, 0]
    with torch.no_grad():
        exact.conv1.weight[2] *= -3
        exact.conv1.bias[2] *= 10
    after = topo.pruning.score(exact, name, example=(1, 8, 8))["conv1.weight"][:, 0, 0, 0]
    factors = torch.ones(6, dtype=torch.float64)
    factors[2] = 3
    torch.testing.assert_close(after, before * factors)


def test_the_two_norms_differ(exact):
    with torch.no_grad():
        exact.hidden.weight.copy_(torch.ones(7, 5))
        exact.hidden.weight[3] = torch.tensor([3.0, 0, 0, 0, 0])
    l1, l2 = (topo.pruning.score(exact, f"{n}-filter", example=(1, 8, 8))["hidden.weight"][:, 0] for n in ("l1", "l2"))
    assert l1.argmin() == 3
    assert l2.argmax() == 3
