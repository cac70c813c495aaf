"""States that start at zero, constants that layers read, and weights of which two places keep different parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import topo


class Recurrence(nn.Module):
    """x and what is left of the state, step by step; the first state is zero."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.enter, self.stay, self.leave, self.start = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2), start

    def forward(self, x: Tensor) -> Tensor:
        state = torch.full_like(x[:, 0, :1].expand(-1, 6), self.start)
        for step in range(x.shape[1]):
            state = torch.tanh(self.enter(x[:, step]) + self.stay(state))
        return self.leave(state)


class Selective(nn.Module):
    """A state space whose step sizes depend on the input, and whose parameters scale along axes of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gate, self.leave = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(6, 2)
        self.decay, self.read = nn.Parameter(torch.rand(6)), nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        state, given, rate = x.new_zeros(x.shape[0], 6, 4), self.enter(x), torch.sigmoid(self.gate(x))
        for step in range(x.shape[1]):
            shrunk = torch.exp(-rate[:, step, :, None] * self.decay[:, None]) * state
            state = shrunk + given[:, step, :, None] * self.read
        return self.leave((state * self.read).sum(-1))


class Gathering(nn.Module):
    """What a graph's edges bring, added up at their ends."""

    def __init__(self, scatter: bool) -> None:
        super().__init__()
        self.enter, self.leave, self.scatter = nn.Linear(3, 6), nn.Linear(6, 2), scatter
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 2], [1, 0, 0, 1]]))

    def forward(self, x: Tensor) -> Tensor:
        given = self.enter(x)
        read, zero = given[:, self.edges[0]], torch.zeros_like(given)
        if self.scatter:
            total = zero.scatter_add(1, self.edges[1][None, :, None].expand(len(x), 4, 6), read)
        else:
            total = zero.index_add(1, self.edges[1], read)
        return self.leave(torch.tanh(total))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "recurrence": (Recurrence, (3, 3)),
    "selective": (Selective, (3, 3)),
    "index_add": (lambda: Gathering(False), (3, 3)),
    "scatter_add": (lambda: Gathering(True), (3, 3)),
}


def compacted(model: nn.Module, x: Tensor) -> nn.Module:
    masks = topo.prune(model, "l1-filter", sparsity=0.4, example=x[:1], device="cpu")
    smaller = topo.compact(model, masks, x[:1])
    assert torch.allclose(smaller(x[:1]), masks.apply(model)(x[:1]), rtol=0, atol=1e-12)
    return smaller


@pytest.mark.parametrize("name", MODELS)
def test_units_go_where_constants_are_read(name: str):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model, x = make().double(), torch.randn(2, *shape, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "pruner .* leaves")  # units are large here
        smaller = compacted(model, x)
    before, after = (sum(p.numel() for p in net.parameters()) for net in (model, smaller))
    assert after < 0.7 * before


def test_a_weight_of_which_two_places_need_different_parts_is_held_twice_and_said_so():
    torch.manual_seed(0)
    model, x = Recurrence(start=0.5).double(), torch.randn(1, 3, 3, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"parts of the same parameter apart.*'stay.weight' \(also 'stay.weight_+'\)"):
        compacted(model, x)
