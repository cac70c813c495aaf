from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import topo
import topo.pruning.structured.unit_scoring as pruning
from topo.dag.channel_coupling import CoupledChannels, coupled_channels
from topo.training import Recipe, recipe


class Little(nn.Module):
    """A residual stream with batch norms, a depthwise convolution, a hidden linear layer: four groups of units."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv1, self.norm1 = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.wide = nn.Conv2d(4, 5, 1)
        self.depthwise = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.hidden, self.head = nn.Linear(5, 7), nn.Linear(7, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))
        x = torch.relu(self.depthwise(torch.relu(self.wide(x)))).mean((2, 3))
        return self.head(torch.relu(self.hidden(x)))


TRACED: dict[torch.dtype, topo.Dag] = {}


@pytest.fixture(autouse=True)
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All copies of `Little` read the Dag of the first one."""

    def find_trace(model: nn.Module, example: Any) -> topo.Dag:
        if not isinstance(model, Little):
            return topo.trace(model, example)
        dtype = model.head.weight.dtype
        if dtype not in TRACED:
            TRACED[dtype] = topo.trace(copy.deepcopy(model), example)
        return TRACED[dtype].bind(model)

    monkeypatch.setattr("topo.pruning.structured.unit_scoring.trace", find_trace)


@pytest.fixture
def little() -> nn.Module:
    """In evaluation mode, with lively norms."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Little()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_()
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2.0)
            # hidden units that are active on some images only
            model.hidden.weight.copy_(10 * (model.hidden.weight - model.hidden.weight.mean(1, keepdim=True)))
            model.hidden.bias.zero_()
        return model.eval()


@pytest.fixture
def exact(little: nn.Module) -> nn.Module:
    """`little` in float64."""
    return little.double()


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    """Twenty inputs for `exact`, two of each class."""
    generator = torch.Generator().manual_seed(5)
    return 3 * torch.randn(20, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(20) % 10


@pytest.fixture(scope="session")
def few_digits() -> topo.datasets.Dataset:
    return topo.datasets.load("digits", subset=6)


@pytest.fixture
def short() -> Recipe:
    return recipe("digits", epochs=2, batch_size=20)


def find(model: nn.Module) -> CoupledChannels:
    return coupled_channels(pruning.trace(model, torch.zeros(1, 1, 8, 8, dtype=next(model.parameters()).dtype)))


def kept_units(channels: CoupledChannels, masks: topo.Masks) -> Tensor:
    """The units that masks keep: those that any kept weight writes."""
    kept = torch.zeros(channels.count, dtype=torch.bool)
    for name, layers in channels.layers.items():
        axis = layers[0].writes
        if name in channels.axes and (channels.axes[name][axis] >= 0).all():
            others = [d for d in range(masks[name].ndim) if d != axis]
            kept[channels.axes[name][axis][masks[name].amax(others)]] = True
    return kept
