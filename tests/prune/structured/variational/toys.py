"""Toys for the theory: multilinear and nonlinear losses of gates, expected complexity of blocks, exact expectations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import Tensor


def vertices(count: int) -> Tensor:
    """All gates that can be drawn, shape (2^count, count)."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=count)), dtype=torch.float64)


def chances(xi: Tensor, theta: Tensor) -> Tensor:
    """The chance of each row of xi under independent gates that are open with chance theta, shape (rows,)."""
    return torch.where(xi > 0, theta, 1 - theta).prod(1)


def expected(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """E[loss(xi)], by enumeration; differentiable in theta."""
    xi = vertices(len(theta))
    return (chances(xi, theta) * torch.stack([loss(row) for row in xi])).sum()


def differences(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """Delta_j = E[loss | xi_j = 1] - E[loss | xi_j = 0], by enumeration."""
    found = []
    for gate in range(len(theta)):
        ends = [theta.index_fill(0, torch.tensor(gate), value) for value in (1.0, 0.0)]
        found.append(expected(loss, ends[0]) - expected(loss, ends[1]))
    return torch.stack(found)


def multilinear(count: int, seed: int) -> Callable[[Tensor], Tensor]:
    """A loss with a random term for every set of gates."""
    terms = torch.randn(2**count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sets = vertices(count) > 0

    def loss(xi: Tensor) -> Tensor:
        return (terms * torch.where(sets, xi, 1.0).prod(1)).sum()

    return loss


@dataclass
class Blocks:
    """Expected complexity c0 + sum over blocks theta_l (a s + b s^2), s the sum of the block's unit thetas.

    The square runs over pairs of different units, so that the sum stays multilinear. Units come first.
    """

    units: int
    blocks: int
    linear: Tensor
    square: Tensor
    constant: float = 0.3
    gates: SimpleNamespace = field(init=False)

    def __post_init__(self) -> None:
        self.gates = SimpleNamespace(is_layer=torch.arange(self.blocks * (self.units + 1)) >= self.blocks * self.units)

    def relative(self, theta: Tensor, alpha: float) -> Tensor:
        units = theta[: self.blocks * self.units].view(self.blocks, self.units)
        s, pairs = units.sum(1), units.sum(1) ** 2 - (units**2).sum(1)
        return self.constant + (theta[self.blocks * self.units :] * (self.linear * s + self.square * pairs)).sum()

    def gradient(self, theta: Tensor, alpha: float) -> Tensor:
        with torch.enable_grad():
            theta = theta.detach().clone().requires_grad_()
            return torch.autograd.grad(self.relative(theta, alpha), theta)[0]


def bent(count: int, seed: int) -> Callable[[Tensor], Tensor]:
    """A loss that is convex in each gate with rising curvature: log-sum-exp and an exponential of random mixtures."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(3, count, generator=generator, dtype=torch.float64)

    def loss(xi: Tensor) -> Tensor:
        return (mixing @ xi).logsumexp(0) + (mixing[0].abs() @ xi / count).exp()

    return loss


def slope(loss: Callable[[Tensor], Tensor], xi: Tensor) -> Tensor:
    """dloss/dxi at the gates xi."""
    xi = xi.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(xi), xi)[0]
