from __future__ import annotations

import pytest
import torch
from torch import nn

import topo
from tests.zoo import small
from topo import models
from topo.dag import cost, cost_table, trace
from topo.dag.costs import ElementCosts

# Parameters and multiply-accumulates as the papers and the torchvision tables state them.
PUBLISHED = {
    ("resnet20", 32): (269_722, 40.55e6),
    ("resnet56", 32): (853_018, 125.49e6),
    ("torchvision:resnet50", 224): (25_557_032, 4.089e9),
    ("torchvision:mobilenet_v2", 224): (3_504_872, 0.3008e9),
    ("torchvision:densenet121", 224): (7_978_856, 2.834e9),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), PUBLISHED)
def test_known_figures(name, side):
    classes = 10 if side == 32 else 1000
    model = models.build(name, input_shape=(3, side, side), n_classes=classes)
    costs = cost(model, torch.zeros(1, 3, side, side))
    parameters, macs = PUBLISHED[name, side]
    assert costs["parameters"] == parameters
    assert costs["macs"] == pytest.approx(macs, rel=2e-3)


def counted_by_hooks(model: nn.Module, x: torch.Tensor) -> int:
    """Multiply-accumulates from the shapes that each layer sees when it runs."""
    total = 0

    def count(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        else:
            taps = module.weight[0, 0].numel()
            ends = (inputs[0], module.out_channels) if module.transposed else (output, module.in_channels)
            total += ends[0].numel() * ends[1] // module.groups * taps

    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    hooks = [m.register_forward_hook(count) for m in layers]
    model(x)
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "u-net", "gate", "mixer", "shared", "in-place", "explicit-attention"])
def test_agrees_with_counting_while_the_network_runs(name):
    model, inputs = small(name)
    x = inputs[0][:1]
    assert cost(model, x)["macs"] == counted_by_hooks(model, x)


def test_attention_projections_count():
    model, (x,) = small("attention")
    table = cost_table(trace(model, x[:1])).set_index("weight")
    # six tokens, width four: three projections in, one out
    assert table.loc["attention.in_proj_weight", "macs"] == 6 * 4 * 12
    assert table.loc["attention.out_proj.weight", "macs"] == 6 * 4 * 4
    assert table.loc["head.weight", "positions"] == 1


def test_a_shared_weight_is_one_parameter_and_is_used_every_time():
    model, (x,) = small("shared")
    table = cost_table(model, x[:1])
    assert (table["weight"] == "layer.weight").sum() == 4
    assert cost(model, x[:1]) == {"parameters": 36 + 6 + 6 + 14, "macs": 4 * 36 + 12}


def test_the_number_of_samples_does_not_matter():
    model, (x,) = small("u-net")
    assert cost(trace(model, x)) == cost(trace(model, x[:1]))


def test_weights_that_are_computed_or_taken_in_parts_count_as_masks_do():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6)), nn.ReLU(), nn.TransformerEncoderLayer(6, 2, 8)
    )
    dag = topo.trace(net, (5, 4)).single()
    costs = ElementCosts(dag)
    assert list(costs.of("weights")) == sorted(topo.masks.prunable_parameters(dag), key=list(dag.state).index)
    macs = costs.of("macs")
    table = topo.dag.cost_table(dag)
    assert sum(each * dag.state[name].numel() for name, each in macs.items()) == table["macs"].sum()
    assert macs["0.weight"] == macs["2.self_attn.in_proj_weight"] == 5


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_structured_budgets_count_what_masks_count(norm):
    torch.manual_seed(0)
    net = nn.Sequential(norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 5))
    masks = topo.prune(net, "l1-filter", sparsity=0.4, example=(4,))
    total = 24 + 72 + 60
    assert masks.counts()["total"].sum() == total
    assert 0.55 * total < masks.counts()["kept"].sum() <= 0.6 * total
