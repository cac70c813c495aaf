"""Networks composed at random of blocks that models are made of, compacted: exact without masks and without units."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.dag.compaction.test_compactor import check, lively

WIDTH = 4


class Block(nn.Module):
    """A function of four channels and a few layers."""

    def __init__(self, function: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.function = nn.ModuleDict(layers), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **self.layers)


def conv(out: int = WIDTH, size: int = 3, **options: object) -> nn.Module:
    return nn.Conv2d(WIDTH, out, size, padding=size // 2, **options)  # type: ignore[arg-type]


def attention(x: Tensor, norm: nn.Module, heads: nn.Module) -> Tensor:
    tokens = norm(x.flatten(2).transpose(1, 2))
    return x + heads(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2).reshape(x.shape)


def shuffled(x: Tensor, mix: nn.Module) -> Tensor:
    left, right = mix(x).chunk(2, dim=1)
    return F.channel_shuffle(torch.cat([left, torch.relu(right)], dim=1), 2)


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Sequential(conv(), nn.BatchNorm2d(WIDTH), nn.ReLU()),
    "circular": lambda: nn.Sequential(conv(padding_mode="circular"), nn.SiLU()),
    "weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(conv()), nn.Tanh()),
    "residual": lambda: Block(lambda x, a, b: x + b(torch.relu(a(x))), a=conv(), b=conv()),
    "squeeze": lambda: Block(
        lambda x, a, b: x * torch.sigmoid(b(torch.relu(a(x.mean((2, 3), keepdim=True))))),
        a=conv(2, 1),
        b=nn.Conv2d(2, 4, 1),
    ),
    "gate of one channel": lambda: Block(lambda x, a, b: a(x) * torch.sigmoid(b(x)), a=conv(), b=conv(1)),
    "gated linear": lambda: Block(lambda x, a: F.glu(a(x), dim=1), a=conv(8)),
    "depthwise": lambda: nn.Sequential(conv(groups=WIDTH), conv(size=1), nn.GELU()),
    "joined": lambda: Block(lambda x, a, b: b(torch.cat([x, a(x)], dim=1)), a=conv(3), b=nn.Conv2d(7, WIDTH, 1)),
    "channels last": lambda: Block(
        lambda x, norm, a: x + a(norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2),
        norm=nn.LayerNorm(WIDTH),
        a=nn.Sequential(nn.Linear(WIDTH, 6), nn.GELU(), nn.Linear(6, WIDTH)),
    ),
    "attention": lambda: Block(attention, norm=nn.LayerNorm(4), heads=nn.MultiheadAttention(4, 2, batch_first=True)),
    "shuffle": lambda: Block(shuffled, mix=conv()),
    "pooled": lambda: Block(lambda x, a: F.interpolate(a(F.avg_pool2d(x, 2)), scale_factor=2), a=conv()),
}


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    names=st.lists(st.sampled_from(list(BLOCKS)), min_size=2, max_size=4),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.3, 0.6]),
)
def test_composed_networks_are_compacted_exactly(names: list[str], seed: int, share: float):
    torch.manual_seed(seed)
    blocks = [BLOCKS[name]() for name in names]
    model = nn.Sequential(
        nn.Conv2d(2, WIDTH, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    check(lively(model, seed), (torch.randn(3, 2, 4, 4),), share, seed, matters=False)
