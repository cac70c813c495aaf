"""Units that meet what all of them share: gates and masks of one channel, heads of keys and values, packed biases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topo
from topo.dag import compact, coupled_channels, trace


class Gated(nn.Module):
    """Eight channels meet one."""

    def __init__(self, meet: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 1, 3, padding=1)
        self.head, self.meet = nn.Conv2d(8, 4, 3), meet

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.meet(self.body(x), self.gate(x)))


class SqueezeExcite(nn.Module):
    """A gate for each channel: it is one unit with its channel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.gate, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head(y * torch.sigmoid(self.gate(y.mean((2, 3))))[:, :, None, None])


class Masked(nn.Module):
    """A mask of tokens is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.body(x) * mask[:, :, None])


class Attention(nn.Module):
    """Two heads of keys and values for as many or more heads of queries, with a mask of padding as an input."""

    def __init__(self, query_heads: int, masked: bool) -> None:
        super().__init__()
        self.heads, self.masked = query_heads, masked
        self.query, self.key, self.value = nn.Linear(8, 4 * query_heads), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(4 * query_heads, 8)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        query, key, value = (
            layer(x).view(batch, tokens, -1, 4).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        allowed = mask[:, None, None, :].bool() if self.masked else None
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, enable_gqa=self.heads > 2)
        return self.head(y.transpose(1, 2).reshape(batch, tokens, 4 * self.heads) + 0 * mask[:, :, None])


class TorchAttention(nn.Module):
    """Keys and values of other widths than the queries: three weights, and one bias in three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 6), nn.Linear(8, 10)
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=10, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attention(self.query(x), self.key(x), self.value(x), need_weights=False)
        return self.head(y)


IMAGES = (torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),)
TOKENS = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
PADDING = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.float64)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...], int]] = {
    "product": (lambda: Gated(lambda a, b: a * torch.sigmoid(b)), IMAGES, 8),
    "product from the left": (lambda: Gated(lambda a, b: torch.sigmoid(b) * a), IMAGES, 8),
    "sum": (lambda: Gated(lambda a, b: a + b), IMAGES, 8),
    "difference": (lambda: Gated(lambda a, b: a - 2 * b), IMAGES, 8),
    "quotient": (lambda: Gated(lambda a, b: a / (1 + b * b)), IMAGES, 8),
    "choice": (lambda: Gated(lambda a, b: torch.where(b > 0, a, 0 * a)), IMAGES, 8),
    "maximum": (lambda: Gated(torch.maximum), IMAGES, 8),
    "gate a channel": (SqueezeExcite, IMAGES, 8),
    "input mask": (Masked, (TOKENS[..., :6], PADDING), 8),
    "attention mask": (lambda: Attention(2, masked=True), (TOKENS, PADDING), 2),
    "grouped queries": (lambda: Attention(4, masked=False), (TOKENS, PADDING), 2),
    "grouped queries, attention mask": (lambda: Attention(6, masked=True), (TOKENS, PADDING), 2),
    "other widths of keys and values": (TorchAttention, (TOKENS,), 34),
}


@pytest.mark.parametrize("name", MODELS)
def test_units_go_without_what_they_share(name: str):
    torch.manual_seed(0)
    build, inputs, units = MODELS[name]
    model = build().double().eval()
    dag = trace(model, inputs)
    assert coupled_channels(dag).count == units
    masks = topo.prune(dag, "l1-filter", sparsity=0.4, device="cpu")
    small = compact(dag, masks)
    assert sum(p.numel() for p in small.parameters()) < 0.75 * sum(p.numel() for p in model.parameters())
    result = small(*(torch.cat([t, t[:1]]) for t in inputs))
    with torch.no_grad():
        for key, mask in masks.items():
            model.get_parameter(key).mul_(mask)
    assert torch.allclose(result[:2], model(*inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("affine", [True, False])
def test_groups_of_a_group_norm_go_one_by_one(affine: bool):
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8, affine=affine), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.GroupNorm(1, 6))
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 2)).double().eval()
    x = torch.randn(2, 3, 8, 8).double()
    channels = coupled_channels(trace(model, x))
    assert channels.axes["0.weight"][0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    masks = topo.prune(model, "l1-filter", sparsity=0.3, example=x[:1], device="cpu")
    small = compact(model, masks, x)
    assert torch.allclose(small(x), masks.apply(model)(x), rtol=0, atol=1e-12)
    assert small.get_submodule("0").out_channels == 4
