"""Structured pruners on layers that pad in other ways or compute their weights: what is left is compacted exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import topo
from topo.dag import compact
from topo.parameter_names import copied
from topo.training import Recipe

parametrise = nn.utils.parametrizations
DATA = torch.randn(12, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
RECIPE = Recipe(epochs=1, batch_size=6, augment=False)


class Residual(nn.Module):
    """A convolution, a residual branch of one, another, and a linear layer; some of them wrapped."""

    def __init__(self, mode: str, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1, padding_mode=mode), nn.BatchNorm2d(8)
        self.branch = wrap(nn.Conv2d(8, 8, 3, padding=1, padding_mode=mode))
        self.last, self.head = wrap(nn.Conv2d(8, 6, 3, padding=1, padding_mode=mode)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = x + torch.relu(self.branch(x))
        return self.head(torch.relu(self.last(x)).mean((2, 3)))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "circular": lambda: Residual("circular", lambda layer: layer),
    "reflect": lambda: Residual("reflect", lambda layer: layer),
    "weight norm": lambda: Residual("zeros", parametrise.weight_norm),
    "older weight norm": lambda: Residual("replicate", nn.utils.weight_norm),
    "spectral norm": lambda: Residual("zeros", parametrise.spectral_norm),
}
PRUNERS = ("l1-filter", "taylor", "slimming", "dag", "variational")


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pruner"),
    [
        ("circular", "dag"),
        ("reflect", "variational"),
        ("weight norm", "variational"),
        ("older weight norm", "taylor"),
        ("spectral norm", "dag"),
    ],
)
def test_what_a_pruner_leaves_is_compacted_exactly(name: str, pruner: str):
    torch.manual_seed(0)
    model = MODELS[name]()
    model(DATA[0])
    settings = {"rounds": 2} if pruner == "taylor" else {}
    masks = topo.prune(model.eval(), pruner, sparsity=0.3, data=DATA, recipe=RECIPE, **settings)
    kept, total = sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
    assert 0.3 * total < kept <= 0.7 * total
    masked, inputs = masks.install(copied(model)).double().eval(), DATA[0].double()
    smaller = compact(masked, masks, inputs[:1])
    with torch.no_grad():
        assert torch.allclose(smaller(inputs), masked(inputs), rtol=0, atol=1e-10)
    assert sum(p.numel() for p in smaller.parameters()) < 0.8 * sum(p.numel() for p in model.parameters())
