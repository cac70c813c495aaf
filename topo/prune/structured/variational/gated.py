"""A network that runs with gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .gates import Gates
from .plain import check_plain

__all__ = ["Gated"]


class Gated(nn.Module):
    """A network whose parameters are multiplied by gates: drawn ones in training mode, fixed ones otherwise.

    Parameters
    ----------
    model
        The network, kept as it is under ``model``.
    gates
        Its gates.

    Attributes
    ----------
    draw
        Gives the gates of a training step, (gates.count,), on the parameters' device and of their type; where it is
        None, the fixed ones serve.
    xi
        The gates of the last training step. They require gradients: after a backward pass ``xi.grad`` holds the
        derivative of the loss in each gate.
    fixed
        The gates in evaluation mode; at first all open.

    Examples
    --------
    >>> from topo.prune.variational import Gated, gates
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> gated = Gated(net, gates(net, torch.zeros(1, 4)))
    >>> gated.draw = lambda: torch.tensor([1.0, 0.0, 1.0])
    >>> gated(torch.ones(5, 4)).sum().backward()
    >>> gated.xi.grad.shape
    torch.Size([3])
    """

    def __init__(self, model: nn.Module, gates: Gates) -> None:
        check_plain(model)
        super().__init__()
        self.model, self.gates = model, gates
        self.draw: Callable[[], Tensor] | None = None
        self.xi: Tensor | None = None
        like = next(model.parameters())
        self.register_buffer("fixed", torch.ones(gates.count, dtype=like.dtype, device=like.device), persistent=False)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        if not self.training:
            return self.at(self.fixed, *inputs, **named)
        xi = self.fixed if self.draw is None else self.draw()
        self.xi = xi.detach().clone().requires_grad_()
        return self.at(self.xi, *inputs, **named)

    def at(self, xi: Tensor, *inputs: Any, **named: Any) -> Any:
        """The network's output with these gates, whatever the mode; nothing is kept."""
        factors = self.gates.multipliers(xi)
        scaled = {name: self.model.get_parameter(name) * factor for name, factor in factors.items()}
        return functional_call(self.model, scaled, inputs, named)

    def norms(self) -> Tensor:
        """For every gate the Euclidean norm of all elements of parameters that it multiplies, (gates.count,)."""
        return self.gates.norms({name: p.detach() for name, p in self.model.named_parameters()})
