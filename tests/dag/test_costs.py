from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.zoo import small
from topo import models
from topo.dag import cost, cost_table, trace

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
