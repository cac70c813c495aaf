"""Small networks of every kind that gates must handle, with their gates counted by hand."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

import topo
from tests.dag.nets import lively, normal
from tests.pruning.dag_pruning.dag_nets import Blocks, Dense, Repeated
from topo.models import build
from topo.pruning.variational.gates import Gates, find_gates
from topo.torchvision_import import import_torchvision


class Basic(nn.Module):
    """A stem and basic blocks with option-A and with projection shortcuts; 3x3 convolutions without biases."""

    def __init__(self, widths: tuple[int, ...] = (3, 5), blocks: int = 2, shortcut: str = "pad") -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0])
        ends = [widths[0], *(width for width in widths for _ in range(blocks))]
        self.blocks = nn.ModuleList(BasicBlock(a, b, shortcut) for a, b in pairwise(ends))
        self.head = nn.Linear(widths[-1], 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class BasicBlock(nn.Module):
    def __init__(self, entering: int, width: int, shortcut: str) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(entering, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.projection = None
        if shortcut == "project" and entering != width:
            self.projection = nn.Sequential(nn.Conv2d(entering, width, 1, bias=False), nn.BatchNorm2d(width))

    def inside(self, x: Tensor) -> Tensor:
        return self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        if self.projection is not None:
            return torch.relu(self.projection(x) + self.inside(x))
        inside = self.inside(x)
        skip = nn.functional.pad(x, (0, 0, 0, 0, 0, inside.shape[1] - x.shape[1]))
        return torch.relu(skip + inside)


class Bottlenecks(nn.Module):
    """A stem and bottlenecks, 1x1, 3x3, 1x1, around an inner width."""

    def __init__(self, width: int = 6, inner: int = 3, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, inner, 1, bias=False),
                nn.BatchNorm2d(inner),
                nn.ReLU(),
                nn.Conv2d(inner, inner, 3, padding=1, bias=False),
                nn.BatchNorm2d(inner),
                nn.ReLU(),
                nn.Conv2d(inner, width, 1, bias=False),
                nn.BatchNorm2d(width),
            )
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.head(x.mean((2, 3)))


class Inverted(nn.Module):
    """An inverted residual around a depthwise convolution, and one without a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(5, 4)
        self.first, self.second = self._block(4, 6, 4), self._block(4, 7, 5)

    @staticmethod
    def _block(entering: int, inner: int, leaving: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(entering, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, leaving, 1, bias=False),
            nn.BatchNorm2d(leaving),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.first(x)
        return self.head(self.second(x).mean((2, 3)))


class Skips(nn.Module):
    """An MLP with residual branches, norms inside, behind an embedding."""

    def __init__(self, width: int = 4, inner: int = 3, blocks: int = 2) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(3, width), nn.Linear(width, 2)
        self.up = nn.ModuleList(nn.Linear(width, inner) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(inner, width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.tanh(up(x)))
        return self.head(torch.relu(x))


class Nested(nn.Module):
    """A branch that has a residual block and two parallel layers within."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.into, self.inner, self.out = (nn.Linear(4, 4) for _ in range(4))
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 2)
        self.join, self.head = nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.enter(x))
        y = torch.relu(self.into(x))
        y = torch.relu(y + self.inner(y))
        y = self.join(torch.cat([torch.relu(self.left(y)), torch.relu(self.right(y))], dim=1))
        return self.head(torch.relu(x + self.out(torch.relu(y))))


class Recurrent(nn.Module):
    """A layer applied to its own result, so that its units are on both axes of its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.again, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.enter(x))
        for _ in range(2):
            x = torch.relu(self.again(x))
        return self.head(x)


def plain() -> nn.Module:
    """Two convolutions with norms, flattened into linear layers: several columns for one channel."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(),
        nn.Linear(12, 5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 4),
    )  # fmt: skip


def vit() -> nn.Module:
    return import_torchvision().models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=6, num_classes=3
    )


def densenet() -> nn.Module:
    return import_torchvision().models.DenseNet(
        growth_rate=3, block_config=(2, 2), num_init_features=4, bn_size=2, num_classes=3
    )


# How to make each, the shape of its input, its unit gates and its layer gates.
NETS = {
    "plain": (plain, (2, 4, 4), 4 + 3 + 5, 0),
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), (3,), 9, 0),
    "skips": (Skips, (3,), 2 * 3, 2),
    # Stem and stages, in which 3 and later 5 channels pass through sums.
    "basic": (Basic, (2, 4, 4), 2 * 3 + 2 * 5, 4),
    # The stem's channels run through the first stage's sums, and the projection is what the second stage starts from.
    "projected": (lambda: Basic(shortcut="project"), (2, 4, 4), 2 * 3 + 2 * 5, 4),
    "bottleneck": (Bottlenecks, (2, 4, 4), 2 * (3 + 3), 2),
    "inverted": (Inverted, (2, 4, 4), 6 + 7 + 5, 1),
    "blocks": (Blocks, (2, 5, 5), 3 * 3, 3 + 1),
    "dense": (Dense, (2, 5, 5), 3 + 3 * 2, 3),
    # 4 channels of the stem, 6 of each first and 3 of each second convolution, 5 of the transition.
    "densenet": (densenet, (3, 32, 32), 4 + 4 * (6 + 3) + 5, 4),
    "vit": (vit, (3, 8, 8), 2 * (2 + 6), 4),
    "repeated": (Repeated, (4,), 0, 2),
    # The whole branch, its residual block, and one of the parallel layers; both would cut the branch.
    "nested": (Nested, (4,), 3 + 2 + 4, 3),
    "recurrent": (Recurrent, (3,), 4, 0),
}


@cache
def prepared(name: str) -> tuple[nn.Module, Tensor, Gates]:
    """A lively network in float64 and evaluation mode, inputs, and its gates; not to be changed."""
    make, shape, _, _ = NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = lively(make())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.7)
    return model, normal(3, *shape), find_gates(model, torch.zeros(1, *shape, dtype=torch.float64))


@cache
def published(name: str) -> Gates:
    """The gates of a network of the literature."""
    shape = (1, 8, 8) if name == "digits-mlp" else (3, 32, 32)
    return find_gates(build(name, input_shape=shape), shape)


def gated_output(model: nn.Module, gates: Gates, xi: Tensor, x: Tensor) -> Tensor:
    scaled = {name: model.get_parameter(name) * factor for name, factor in gates.multipliers(xi).items()}
    return functional_call(model, scaled, (x,))


def draw(gates: Gates, seed: int, probability: float = 0.6) -> Tensor:
    """Random gates of 0 and 1, float64, under which a path remains and no group is without a unit."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        xi = (torch.rand(gates.count, generator=generator) < probability).double()
        if is_full(gates, xi.bool()):
            return xi


def is_full(gates: Gates, alive: Tensor) -> bool:
    """Whether of every group some unit is open or its layer is closed: then `closure` closes units only."""
    try:
        return torch.equal(gates.closure(alive)[gates.is_layer], alive[gates.is_layer])
    except topo.InputError:
        return False


def cost_by_torch(model: nn.Module, x: Tensor) -> dict[str, int]:
    """Parameters, and the multiply-accumulates on `x` of convolutions and linear layers as torch counts them itself."""
    aten = torch.ops.aten
    # With gradients, for attention without them is one fused operation that torch does not count.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    flops = counter.get_flop_counts()["Global"]
    macs = sum(flops.get(operator, 0) for operator in (aten.convolution, aten.mm, aten.addmm)) // 2
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), "macs": macs}


@cache
def compacted(name: str, seed: int) -> tuple[Tensor, dict[str, Tensor], nn.Module]:
    """Random gates, their masks and the compact network; not to be changed."""
    model, _, gates = prepared(name)
    xi = draw(gates, seed)
    masks = gates.masks(xi.bool())
    return xi, masks, topo.compact(model, masks, channels=gates.channels)
