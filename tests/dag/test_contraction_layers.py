"""Products with a weight of any axes, in any order, are layers: they have units, costs and an exact compact form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import topo
from topo.dag import coupled_channels


class Written(nn.Module):
    """A function of the input and parameters of these shapes."""

    def __init__(self, function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(*shape) for shape in shapes)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.weights)


def attention(x: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor) -> Tensor:
    query, key, value = (torch.einsum("btc,chd->bthd", x, weight) for weight in (q, k, v))
    shares = torch.softmax(torch.einsum("bthd,bshd->bhts", query, key), -1)
    return torch.einsum("bthd,hdc->btc", torch.einsum("bhts,bshd->bthd", shares, value), o)


def gated_experts(x: Tensor, gate: Tensor, first: Tensor, second: Tensor) -> Tensor:
    hidden = torch.tanh(torch.einsum("bi,eih->beh", x, first))
    return torch.einsum("be,beo->bo", torch.softmax(x @ gate, -1), torch.einsum("beh,eho->beo", hidden, second))


def normalised_heads(x: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor) -> Tensor:
    query, key, value = ((x @ weight).unflatten(-1, (4, 3)).transpose(1, 2) for weight in (q, k, v))
    query, key = (part * torch.rsqrt(part.pow(2).mean(-1, keepdim=True) + 1e-6) for part in (query, key))
    return (torch.softmax(query @ key.transpose(2, 3), -1) @ value).transpose(1, 2).flatten(2) @ o


def repeated(x: Tensor) -> Tensor:
    return x.expand(4, *x.shape)


# Name -> the model, the shape of its input, how many units it has, and its multiply-accumulates.
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "experts by einsum": (lambda: Written(gated_experts, (6, 4), (4, 6, 8), (4, 8, 3)), (6,), 8, 24 + 192 + 96),
    "experts added up": (
        lambda: Written(
            lambda x, a, b: torch.einsum("beh,eho->bo", torch.tanh(torch.einsum("bi,eih->beh", x, a)), b),
            *((4, 6, 8), (4, 8, 3)),
        ),
        *((6,), 8, 192 + 96),
    ),
    "experts by bmm": (
        lambda: Written(
            lambda x, a, b: torch.bmm(torch.tanh(torch.bmm(repeated(x), a)), b).sum(0), (4, 6, 8), (4, 8, 3)
        ),
        *((6,), 8, 192 + 96),
    ),
    "experts with biases": (
        lambda: Written(
            lambda x, a, c, b: torch.bmm(torch.tanh(torch.baddbmm(c, repeated(x), a)), b).sum(0),
            *((4, 6, 8), (4, 1, 8), (4, 8, 3)),
        ),
        *((6,), 8, 192 + 96),
    ),
    "experts by matmul": (
        lambda: Written(lambda x, a, b: (torch.tanh(x[:, None, None] @ a) @ b).sum((1, 2)), (4, 6, 8), (4, 8, 3)),
        *((6,), 8, 192 + 96),
    ),
    "heads": (lambda: Written(attention, *[(6, 4, 3)] * 3, (4, 3, 6)), (5, 6), 4, 5 * 4 * 72),
    "heads whose queries and keys are normalised": (
        lambda: Written(normalised_heads, *[(6, 12)] * 3, (12, 6)),
        *((5, 6), 4, 5 * 4 * 72),
    ),
    "one matrix a head": (
        lambda: Written(
            lambda x, a, w, b: torch.tanh(torch.einsum("bhd,hde->bhe", (x @ a).unflatten(1, (3, 2)), w)).flatten(1) @ b,
            *((5, 6), (3, 2, 4), (12, 3)),
        ),
        *((5,), 6, 30 + 24 + 36),
    ),
    "einsum of matrices": (
        lambda: Written(
            lambda x, a, b: torch.einsum("bh,ho", torch.tanh(torch.einsum("bi,hi->bh", x, a)), b), (8, 6), (8, 3)
        ),
        *((6,), 8, 48 + 24),
    ),
    "tensordot": (
        lambda: Written(
            lambda x, a, b: torch.tensordot(torch.tanh(torch.tensordot(x, a, ([1], [1]))), b, 1), (8, 6), (8, 3)
        ),
        *((6,), 8, 48 + 24),
    ),
    "inner": (
        lambda: Written(lambda x, a, b: torch.inner(torch.tanh(torch.inner(x, a)), b), (8, 6), (3, 8)),
        (6,),
        8,
        72,
    ),
    "vecdot": (
        lambda: Written(
            lambda x, a, b: torch.linalg.vecdot(torch.tanh(torch.linalg.vecdot(x[:, None], a))[:, None], b),
            *((8, 6), (3, 8)),
        ),
        *((6,), 8, 72),
    ),
    "from the left": (lambda: Written(lambda x, a, b: b @ torch.tanh(a @ x), (8, 5), (3, 8)), (5, 6), 8, 6 * 64),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_product_with_a_weight_is_a_layer(name: str):
    make, shape, units, macs = MODELS[name]
    torch.manual_seed(0)
    model, x = make().double(), torch.randn(3, *shape, dtype=torch.float64)
    dag = topo.trace(model, x[:1])
    table = topo.weights(dag)
    assert table["pruned"].sum() >= len(table) - 1 and coupled_channels(dag).count == units
    assert topo.cost(dag)["macs"] == macs
    masks = topo.prune(model, "l1-filter", sparsity=0.5, example=x[:1], device="cpu")
    smaller = topo.compact(model, masks, x[:1])
    assert torch.allclose(smaller(x), masks.apply(model)(x), rtol=0, atol=1e-12)
    before, after = (sum(p.numel() for p in net.parameters()) for net in (model, smaller))
    assert after < 0.75 * before and topo.cost(smaller, x[:1])["macs"] < macs
