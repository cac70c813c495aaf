from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

import topo.pruning
from tests.pruning.structured.conftest import find
from topo.errors import InputError

READERS = {
    "stem": ["conv1", "wide"],
    "conv1": ["conv2"],
    "depthwise": ["hidden"],
    "hidden": ["head"],
}
"""A layer of each group, and the layers that read what it writes."""


def gated_loss(model, layer, unit, gate, images):
    model = copy.deepcopy(model)
    with torch.no_grad():
        for reader in READERS[layer]:
            getattr(model, reader).weight[:, unit] *= gate
        return float(F.cross_entropy(model(images[0]), images[1]))


@pytest.mark.parametrize("layer", READERS)
def test_gate_is_the_squared_slope_of_the_loss_on_the_way_to_removal(exact, images, layer):
    scores = topo.pruning.score(exact, "taylor", data=images)[f"{layer}.weight"].flatten(1)[:, 0]
    step = 1e-5
    for unit, score in enumerate(scores.tolist()):
        ends = [gated_loss(exact, layer, unit, 1 + sign * step, images) for sign in (1, -1)]
        assert score == pytest.approx(((ends[0] - ends[1]) / (2 * step)) ** 2, rel=1e-5, abs=1e-12)


def test_the_slope_predicts_what_removing_an_almost_idle_unit_does(exact, images):
    with torch.no_grad():
        exact.head.weight[:, 2] *= 1e-4
    score = topo.pruning.score(exact, "taylor", data=images)["hidden.weight"][2, 0]
    change = gated_loss(exact, "hidden", 2, 0.0, images) - gated_loss(exact, "hidden", 2, 1.0, images)
    assert float(score.sqrt()) == pytest.approx(abs(change), rel=1e-3)


def gradients(model, images):
    loss = F.cross_entropy(model(images[0]), images[1])
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    return {name: g * p.detach() for (name, p), g in zip(model.named_parameters(), slopes, strict=True)}


def test_the_other_variants_follow_their_formulas(exact, images):
    product = gradients(exact, images)
    filters = topo.pruning.score(exact, "taylor", data=images, variant="filter")
    weights = topo.pruning.score(exact, "taylor", data=images, variant="weights")
    for unit in range(4):
        both = [product[f"{layer}.{kind}"][unit].sum() for layer in ("stem", "conv2") for kind in ("weight", "bias")]
        torch.testing.assert_close(filters["stem.weight"][unit, 0, 0, 0], sum(both) ** 2)
        squares = [product[f"{layer}.weight"][unit].square().sum() for layer in ("stem", "conv2")]
        torch.testing.assert_close(weights["conv2.weight"][unit, 0, 0, 0], sum(squares))


def test_gate_equals_scale_and_shift_of_the_norm_before_a_relu(exact, images):
    product = gradients(exact, images)
    scores = topo.pruning.score(exact, "taylor", data=images)["conv1.weight"][:, 0, 0, 0]
    torch.testing.assert_close(scores, (product["norm1.weight"] + product["norm1.bias"]).square())


def test_filter_equals_gate_where_only_a_relu_lies_between(exact, images):
    gate, filters = (topo.pruning.score(exact, "taylor", data=images, variant=v) for v in ("gate", "filter"))
    torch.testing.assert_close(gate["hidden.weight"], filters["hidden.weight"])


def test_scores_are_averaged_over_batches(exact, images):
    whole = topo.pruning.score(exact, "taylor", data=images, batch_size=10)["hidden.weight"]
    halves = [
        topo.pruning.score(exact, "taylor", data=(images[0][half], images[1][half]))["hidden.weight"]
        for half in (slice(0, 10), slice(10, 20))
    ]
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2)
    assert not torch.allclose(whole, topo.pruning.score(exact, "taylor", data=images)["hidden.weight"])


def test_moving_a_factor_from_filter_to_reader_changes_nothing(exact, images):
    before = topo.pruning.score(exact, "taylor", data=images)
    with torch.no_grad():
        exact.hidden.weight[3] *= 7
        exact.hidden.bias[3] *= 7
        exact.head.weight[:, 3] /= 7
    after = topo.pruning.score(exact, "taylor", data=images)
    assert all(torch.allclose(after[name], before[name], rtol=1e-8) for name in before)


def test_it_needs_gradients_of_excluded_layers_too(exact, images):
    masks = topo.prune(exact, "taylor", sparsity=0.2, data=images, exclude=["conv2.weight", "head.weight"])
    scores = topo.pruning.score(exact, "taylor", data=images)["conv1.weight"][:, 0, 0, 0]
    left = masks["conv1.weight"].flatten(1).any(dim=1)
    assert masks["stem.weight"].all()
    assert not left.all()
    assert scores[~left].max() < scores[left].min()


def test_an_unknown_variant_is_refused(exact, images):
    with pytest.raises(InputError, match="variant"):
        topo.prune(exact, "taylor", sparsity=0.2, data=images, variant="hessian")


def test_a_dead_network_is_refused(exact, images):
    with torch.no_grad():
        exact.head.weight.zero_()
    assert find(exact).count
    with pytest.raises(InputError, match="scores every unit zero"):
        topo.prune(exact, "taylor", sparsity=0.2, data=images)
