from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.zoo import SMALL, small, small_densenet
from topo import models
from topo.dag import CoupledChannels, coupled_channels, trace
from topo.masks import prunable_parameters


def units_of(model: nn.Module, *shape: int) -> CoupledChannels:
    return coupled_channels(trace(model, torch.zeros(1, *shape)))


def members(channels: CoupledChannels, unit: int) -> set[tuple[str, int, int]]:
    """Parameter, axis and index of everything that goes with a unit."""
    return {
        (name, axis, place)
        for name, axes in channels.axes.items()
        for axis, index in enumerate(axes)
        for place in (index == unit).nonzero().flatten().tolist()
    }


def test_by_hand():
    """A residual block: the stream's channels are coupled, the inner ones are not, inputs and outputs stay."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(2, 3, 1)
            self.inner, self.norm, self.back = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)
            self.head = nn.Linear(12, 5)

        def forward(self, x):
            x = self.stem(x)
            x = x + self.back(self.norm(self.inner(x)))
            return self.head(x.flatten(1))

    channels = units_of(Block(), 2, 2, 2)
    assert channels.count == 7
    stream = {("stem.weight", 0, 1), ("stem.bias", 0, 1), ("inner.weight", 1, 1), ("back.weight", 0, 1)}
    stream |= {("back.bias", 0, 1)} | {("head.weight", 1, 4 + place) for place in range(4)}
    assert members(channels, 1) == stream
    inner = {("inner.weight", 0, 2), ("inner.bias", 0, 2), ("back.weight", 1, 2)}
    inner |= {(f"norm.{name}", 0, 2) for name in ("weight", "bias", "running_mean", "running_var")}
    assert members(channels, 5) == inner
    assert channels.groups().tolist() == [0] * 3 + [1] * 4
    assert channels.table()["written_by"].tolist() == ["stem.weight, back.weight", "inner.weight"]
    assert channels.table()["read_by"].tolist() == ["inner.weight, head.weight", "back.weight"]


def test_a_depthwise_convolution_couples_its_ends_and_a_grouped_one_its_groups():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 1, groups=2), nn.Conv2d(6, 2, 1)
    )
    channels = units_of(model, 1, 4, 4)
    assert channels.axes["0.weight"][0].tolist() == [0, 0, 1, 1]
    assert channels.axes["1.weight"][0].tolist() == [0, 0, 1, 1]
    assert channels.axes["2.weight"][0].tolist() == [0, 0, 0, 1, 1, 1]
    assert channels.axes["3.weight"][1].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.slow
def test_heads_of_attention_go_as_a_whole_and_layer_norm_holds_its_stream_together():
    model, (x,) = small("attention")
    channels = coupled_channels(trace(model, x[:1]))
    assert channels.axes["attention.in_proj_weight"][0].tolist() == [0, 0, 1, 1] * 3
    assert channels.axes["attention.out_proj.weight"][1].tolist() == [0, 0, 1, 1]
    assert (channels.axes["mlp.3.weight"][1] == torch.arange(2, 10)).all()
    assert "norm.weight" not in channels.axes  # the stream starts at the input


@pytest.mark.slow
def test_new_channels_of_a_padding_shortcut_belong_to_the_stream_that_they_join():
    channels = units_of(models.build("resnet20"), 3, 32, 32)
    entered, widened = channels.axes["stages.0.0.conv2.weight"][0], channels.axes["stages.1.0.conv2.weight"][0]
    assert torch.equal(widened[:16], entered)
    assert len(set(widened.tolist())) == 32


def test_operations_without_a_rule_hold_everything_that_meets_them():
    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(torch.relu(self.second(self.first(x).sort(dim=1).values)))

    channels = units_of(Sorted(), 3)
    assert channels.count == 5
    assert channels.axes["head.weight"][1].tolist() == list(range(5))
    assert "first.weight" not in channels.axes


@pytest.mark.slow
def test_dense_connections_keep_their_sources_apart():
    channels = units_of(small_densenet(), 3, 32, 32)
    reads = channels.axes["features.denseblock1.denselayer3.conv1.weight"][1]
    sources = ["features.conv0", "features.denseblock1.denselayer1.conv2", "features.denseblock1.denselayer2.conv2"]
    assert torch.equal(reads, torch.cat([channels.axes[f"{name}.weight"][0] for name in sources]))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_costs_of_all_units_are_those_of_the_network(name):
    model, inputs = small(name)
    channels = coupled_channels(trace(model, tuple(x[:1] for x in inputs)))
    costs = channels.costs(torch.ones(channels.count, dtype=torch.bool))
    assert costs["parameters"] == sum(p.numel() for p in model.parameters())
    assert costs["weights"] == sum(p.numel() for p in prunable_parameters(channels.dag).values())


def test_sums_and_masks_by_hand():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False))
    channels = units_of(model, 2)
    values = {"0.weight": torch.tensor([[1.0, 2], [3, 4], [5, 6]]), "1.weight": torch.tensor([[10.0, 20, 30]])}
    assert channels.sums(values, "out").tolist() == [3, 7, 11]
    assert channels.sums(values, "in").tolist() == [10, 20, 30]
    assert channels.sums(values).tolist() == [13, 27, 41]
    masks = channels.masks(torch.tensor([True, False, True]), values)
    assert masks["0.weight"].tolist() == [[True, True], [False, False], [True, True]]
    assert masks["1.weight"].tolist() == [[True, False, True]]
    assert channels.costs(torch.tensor([True, False, True])) == {"parameters": 6, "weights": 6, "macs": 6}


# The padding shortcut and heads of attention are outside what the oracle follows.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet50", "wrn-28-2", "mobilenet_v2", "densenet121", "vgg16_bn"])
def test_agrees_with_torch_pruning(name):
    """For sampled channels of every layer the same parameters, axes and indices go."""
    oracle = pytest.importorskip("torch_pruning")
    settings = {"shortcut": "projection"} if name == "resnet20" else {}
    model = models.build(name, **settings).eval()
    x = torch.randn(1, 3, 32, 32)
    channels = coupled_channels(trace(model, x))
    graph = oracle.DependencyGraph().build_dependency(model, x)
    path = {module: name for name, module in model.named_modules()}
    compared = 0
    for weight, layers in channels.layers.items():
        if weight not in channels.axes or layers[0].groups > 1:
            continue
        rows = channels.axes[weight][layers[0].writes]
        if rows.max() < 0:
            continue
        module = model.get_submodule(weight.removesuffix(".weight"))
        convolution = isinstance(module, nn.Conv2d)
        channel = len(rows) // 2
        prune = oracle.prune_conv_out_channels if convolution else oracle.prune_linear_out_channels
        theirs = set()
        for item in graph.get_pruning_group(module, prune, idxs=[channel]):
            target, function = item.dep.target.module, item.dep.handler
            if target not in path:
                continue
            is_read = function in (oracle.prune_conv_in_channels, oracle.prune_linear_in_channels)
            depthwise = isinstance(target, nn.Conv2d) and target.groups > 1
            theirs |= {(f"{path[target]}.weight", int(is_read and not depthwise), int(i)) for i in item.idxs}
        ours = {m for m in members(channels, int(rows[channel])) if m[0].endswith("weight")}
        assert ours == theirs, weight
        compared += 1
    assert compared >= 10
