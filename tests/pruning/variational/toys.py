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


def probabilities(xi: Tensor, theta: Tensor) -> Tensor:
    """The probability of each row of xi under independent gates that are open with probability theta, shape (rows,)."""
    return torch.where(xi > 0, theta, 1 - theta).prod(1)


def expected(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """E[loss(xi)], by enumeration; differentiable in theta."""
    xi = vertices(len(theta))
    return (probabilities(xi, theta) * torch.stack([loss(row) for row in xi])).sum()


def differences(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """Delta_j = E[loss | xi_j = 1] - E[loss | xi_j = 0], by enumeration."""
    deltas = []
    for gate in range(len(theta)):
        ends = [theta.index_fill(0, torch.tensor(gate), value) for value in (1.0, 0.0)]
        deltas.append(expected(loss, ends[0]) - expected(loss, ends[1]))
    return torch.stack(deltas)


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


class Residual(torch.nn.Module):
    """z <- relu(z + xi_l W2 (xi_u * relu(W1 z + b1))) per block, in between linear layers: gates as in the networks.

    Gates of units come first, block by block, then one for each block; `loss` takes gates of shape (count,) or
    (rows, count) and returns the cross-entropy on the data that it holds, per row.
    """

    def __init__(self, blocks: int = 3, units: int = 3, width: int = 6, classes: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.blocks, self.units = blocks, units
        self.count = blocks * (units + 1)
        self.is_layer = torch.arange(self.count) >= blocks * units
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, fan: int) -> torch.nn.Parameter:
            values = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return torch.nn.Parameter(values * (2 / fan) ** 0.5)

        self.stem = normal(width, width, fan=width)
        self.inner = normal(blocks, width, units, fan=width)
        self.shift = normal(blocks, units, fan=200)
        self.outer = normal(blocks, units, width, fan=2 * units)
        self.head = normal(width, classes, fan=width)
        teacher = normal(width, 12, fan=1), normal(12, classes, fan=1)
        self.x = torch.randn(256, width, generator=generator, dtype=torch.float64)
        self.y = ((self.x @ teacher[0]).tanh() @ teacher[1]).argmax(1).detach()

    def loss(self, xi: Tensor, samples: Tensor | slice = slice(None)) -> Tensor:
        gates = xi.view(-1, self.count)
        units = gates[:, : self.blocks * self.units].view(-1, 1, self.blocks, self.units)
        layers = gates[:, None, self.blocks * self.units :]
        z = (self.x[samples] @ self.stem).relu().expand(len(gates), -1, -1)
        for block in range(self.blocks):
            hidden = (z @ self.inner[block] + self.shift[block]).relu() * units[:, :, block]
            z = (z + layers[:, :, block, None] * (hidden @ self.outer[block])).relu()
        logits = (z @ self.head).log_softmax(2)
        picked = logits.gather(2, self.y[samples].expand(len(gates), -1)[..., None])
        return -picked.mean((1, 2)).view(xi.shape[:-1])

    def train_weights(
        self, steps: int, theta: float = 0.9, seed: int = 0, decay: float = 5e-4, rate: float = 0.1
    ) -> None:
        """Momentum SGD on random batches of 64 under gates that are open with probability theta."""
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.SGD(self.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
        for _ in range(steps):
            xi = (torch.rand(self.count, generator=generator, dtype=torch.float64) < theta).double()
            samples = torch.randint(len(self.y), (64,), generator=generator)
            optimizer.zero_grad()
            self.loss(xi, samples).backward()
            optimizer.step()

    def everywhere(self) -> tuple[Tensor, Tensor, Tensor]:
        """All gates that can be drawn, with the loss and its slope there: (rows, count), (rows,), (rows, count)."""
        xi = vertices(self.count).requires_grad_()
        loss = self.loss(xi)
        return xi.detach(), loss.detach(), torch.autograd.grad(loss.sum(), xi)[0]
