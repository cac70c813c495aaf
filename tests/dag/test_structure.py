"""Random small programs: where no kept weight joins input and output, the output is the same for all inputs."""

from __future__ import annotations

import copy
import random
from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topo

UNARY = {
    "relu": torch.relu,
    "softmax": lambda x: torch.softmax(x, 1),
    "normalise": lambda x: F.normalize(x, dim=1),
    "compare": lambda x: (x > 0).to(x.dtype),
    "running sum": lambda x: torch.cumsum(x, 1),
    "sort": lambda x: torch.sort(x, 1)[0],
    "clamp": lambda x: x.clamp(-1, 1),
    "mean": lambda x: x.mean(1, keepdim=True),
    "largest": lambda x: x.topk(1, 1)[0],
    "deviation": lambda x: x.std(1, keepdim=True, unbiased=False),
    "without the first": lambda x: x[:, -max(1, x.shape[1] - 1) :],
    "outer product": lambda x: torch.bmm(x[:, :, None], x[:, None, :]).sum(2),
}
BINARY = {
    "sum": torch.add,
    "product": torch.mul,
    "choice": lambda x, y: torch.where(x > 0, y, -y),
    "joined": lambda x, y: torch.cat([x, y], 1),
}
LAYERS = {
    "linear": lambda size, draw: nn.Linear(size, draw.choice([2, 3, 4])),
    "layer norm": lambda size, draw: nn.LayerNorm(size),
    "group norm": lambda size, draw: nn.GroupNorm(1 if size % 2 else 2, size),
    "batch norm": lambda size, draw: nn.BatchNorm1d(size),
}


class Program(nn.Module):
    """Two to six operations drawn by a seed, each on results of earlier ones, and a linear layer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.steps: list[tuple[str, int, int]] = []
        self.layers = nn.ModuleDict()
        values = [torch.zeros(2, 3)]
        for place in range(draw.randint(2, 6)):
            name = draw.choice([*UNARY, *BINARY, *LAYERS, *["linear"] * 8])
            first, second = (draw.randrange(len(values)) for _ in range(2))
            if name in BINARY and name != "joined" and values[first].shape != values[second].shape:
                second = first
            if name in LAYERS:
                self.layers[str(place)] = LAYERS[name](values[first].shape[1], draw)
            self.steps.append((name, first, second))
            values.append(self.step(place, values))
        self.last = nn.Linear(values[-1].shape[1], 2)

    def step(self, place: int, values: list[Tensor]) -> Tensor:
        name, first, second = self.steps[place]
        if name in BINARY:
            return BINARY[name](values[first], values[second])
        return (self.layers[str(place)] if name in LAYERS else UNARY[name])(values[first])

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for place in range(len(self.steps)):
            values.append(self.step(place, values))
        return self.last(values[-1])


@pytest.mark.slow
def test_disconnected_programs_are_constant():
    generator = torch.Generator().manual_seed(0)
    inputs = 2 * torch.randn(100, 3, generator=generator, dtype=torch.float64)
    found = Counter()
    for seed in range(40):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = Program(seed).double().eval()
        dag, dense = topo.trace(net, (3,)), copy.deepcopy(net.state_dict())
        for density in (0.1, 0.3, 0.5):
            net.load_state_dict(dense)
            weights = topo.masks.prunable_parameters(net)
            masks = topo.Masks(
                {name: torch.rand(w.shape, generator=generator) < density for name, w in weights.items()}
            )
            with torch.no_grad():
                outputs = masks.apply(net)(inputs)
            varies = bool((outputs - outputs[:1]).abs().max() > 1e-10)
            assert masks.connected(dag) or not varies, net.steps
            found[masks.connected(dag), varies] += 1
    assert found[True, True] > 20 and found[False, False] > 20
