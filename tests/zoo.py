"""Networks that exercise every kind of connection, small ones by hand and the published ones by name."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from topo import models
from topo.torchvision_import import import_torchvision


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 5), nn.Softmax(dim=1))


class UNet(nn.Module):
    """Down, up by transposed convolution, skip by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
        self.leave = nn.Sequential(nn.Conv2d(8, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.leave(torch.cat([x, self.up(self.down(x))], dim=1))


class Gate(nn.Module):
    """Two branches multiplied, and a channel gate as in squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 1)
        self.squeeze = nn.Conv2d(4, 2, 1)
        self.excite = nn.Conv2d(2, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.left(x)) * torch.sigmoid(self.right(x))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        return self.head((x * gate).mean(dim=(2, 3)))


class Attention(nn.Module):
    """A transformer block with a class token and positions."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.position = nn.Parameter(torch.randn(1, 6, 4))
        self.norm = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.mlp(x)
        return self.head(x[:, 0])


class ExplicitAttention(nn.Module):
    """Attention written with matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.out = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        weights = torch.softmax(q @ k.transpose(-1, -2) / 2.0, dim=-1)
        return x + self.out(weights @ v)


class TwoInTwoOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(1, 3, 3, stride=2)
        self.vector = nn.Linear(5, 3)
        self.classes, self.value = nn.Linear(3, 4), nn.Linear(3, 1)

    def forward(self, image: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.image(image).mean(dim=(2, 3)) + self.vector(vector))
        return self.classes(h), torch.tanh(self.value(h))


class Shared(nn.Module):
    """One layer used three times, and a weight tied to another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.layer.weight
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.layer(x))
        x = torch.relu(self.layer(x)) + self.layer(x)
        return self.head(self.tied(x))


class Doubling(nn.Module):
    """x + x, x - y, x * x, an addition of additions, and a broadcast addition."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.third = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + x
        a, b = self.first(x), self.second(x)
        return (a - b) + (torch.relu(a) * b) + (a * a + (x + b)) + self.third(x)


class InPlace(nn.Module):
    """Every activation and addition in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.a(x))
        y = self.bn(self.b(x)).add_(x)
        y.relu_()
        y[:, 0].mul_(2.0)
        return y.flatten(1)


class Mixer(nn.Module):
    """Grouped and depthwise convolution, dilation, odd kernels, shuffles, slices, padding, upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(1, 0), groups=2)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6)
        self.same = nn.Conv2d(3, 2, (2, 3), padding="same")
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(torch.relu(self.grouped(x)))
        x = x.reshape(x.shape[0], 2, 3, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        left, right = x.chunk(2, dim=1)
        x = self.same(F.pad(left, (1, 0, 0, 1))[:, :, 1:, :-1])
        x = F.interpolate(F.avg_pool2d(x, 2, ceil_mode=True), scale_factor=2.0, mode="bilinear")
        x = torch.cat([x[:, :, :3, :3], right[:, :, :3, :3].amax(dim=1, keepdim=True)], dim=1)
        x = F.max_pool2d(x, 3, stride=1, padding=1).roll(1, dims=2).flip(3)
        return self.head(x.flatten(1)[:, :10])


SMALL: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "mlp": (Mlp, ((3, 2, 2),)),
    "u-net": (UNet, ((2, 6, 6),)),
    "gate": (Gate, ((2, 4, 4),)),
    "attention": (Attention, ((5, 4),)),
    "explicit-attention": (ExplicitAttention, ((3, 4),)),
    "two-in-two-out": (TwoInTwoOut, ((1, 6, 6), (5,))),
    "shared": (Shared, ((6,),)),
    "doubling": (Doubling, ((4,),)),
    "in-place": (InPlace, ((2, 5, 5),)),
    "mixer": (Mixer, ((4, 6, 5),)),
}


def small_densenet() -> nn.Module:
    """Torchvision's DenseNet with fewer and narrower layers."""
    return torchvision().DenseNet(
        growth_rate=8, block_config=(3, 4, 2), num_init_features=16, bn_size=2, num_classes=10
    )


def small_vit() -> nn.Module:
    """Torchvision's vision transformer with three narrow blocks."""
    return torchvision().VisionTransformer(
        image_size=32, patch_size=16, num_layers=3, num_heads=3, hidden_dim=96, mlp_dim=192, num_classes=10
    )


def torchvision() -> ModuleType:
    """Torchvision's models."""
    return import_torchvision().models


NAMED: dict[str, Callable[[], nn.Module]] = {
    "conv6": lambda: models.build("conv6"),
    "resnet20": lambda: models.build("resnet20"),
    "wrn-28-2": lambda: models.build("wrn-28-2"),
    "mobilenet_v2": lambda: models.build("mobilenet_v2"),
    "resnet50": lambda: models.build("resnet50"),
    "densenet": small_densenet,
    "googlenet": lambda: models.build("googlenet"),
    "shufflenet_v2": lambda: models.build("shufflenet_v2_x0_5"),
    "vit": small_vit,
}


def small(name: str, seed: int = 0) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A small network with seeded weights and lively batch statistics, and an input of three samples."""
    make, shapes = SMALL[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
        return model, tuple(torch.randn(3, *shape) for shape in shapes)
