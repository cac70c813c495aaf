"""The same weights and the same batch for both sides."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import topo

from .comparisons import SPARSITY


def network(name: str = "resnet20", trained: bool = False, shape: Sequence[int] = (3, 32, 32), **settings: Any) -> Any:
    """A network in float64; with `trained`, its norms and biases are not those of an untrained one."""
    model = topo.models.build(name, input_shape=tuple(shape), n_classes=10, seed=0, **settings).double()
    return disturbed(model) if trained else model


def disturbed(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)

    def uniform(size: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(size, generator=generator, dtype=torch.float64)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                size = module.num_features
                module.weight.copy_(uniform(size, 0.5, 1.5))
                module.running_mean.copy_(uniform(size, -0.2, 0.2))
                module.running_var.copy_(uniform(size, 0.5, 1.5))
            if getattr(module, "bias", None) is not None:
                module.bias.copy_(uniform(len(module.bias), -0.2, 0.2))
    return model


def images(count: int, shape: Sequence[int] = (3, 32, 32), seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random-normal images with as many of each of ten classes, in the order of the classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64), torch.arange(count) * 10 // count


def score(model: nn.Module, name: str, **settings: Any) -> dict[str, Tensor]:
    return topo.pruning.score(model, name, device="cpu", **settings)


def prune(model: nn.Module, name: str, sparsity: float = SPARSITY, **settings: Any) -> dict[str, Tensor]:
    found = topo.prune(model, name, sparsity=sparsity, device="cpu", **settings)
    return {key: found[key] for key in found}


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Weight name -> linear layer or convolution, in the order of the modules."""
    return {f"{n}.weight": m for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}


class Probabilities(nn.Module):
    """Log-probabilities in the place of logits, for losses that ask for them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).log_softmax(1)


@contextlib.contextmanager
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
