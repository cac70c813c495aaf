"""A network that runs with gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .gates import Gates
from .plain import check_plain
from .transfer import Origins, carried

__all__ = ["Gated", "shrink"]


class Gated(nn.Module):
    """A network whose parameters are multiplied by gates: drawn ones in training mode, fixed ones otherwise.

    Parameters
    ----------
    whole
        The network whose gates these are.
    gates
        Its gates.
    origins
        Of the compact network that runs in its place; see `shrink`.

    Attributes
    ----------
    model
        The network that runs.
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
    >>> from topo.pruning.variational import Gated, gates
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> gated = Gated(net, gates(net, torch.zeros(1, 4)))
    >>> gated.draw = lambda: torch.tensor([1.0, 0.0, 1.0])
    >>> gated(torch.ones(5, 4)).sum().backward()
    >>> gated.xi.grad.shape
    torch.Size([3])
    """

    def __init__(self, whole: nn.Module, gates: Gates, origins: Origins | None = None) -> None:
        check_plain(whole)
        super().__init__()
        self.model, self.gates = whole if origins is None else origins.model, gates
        # In a tuple, for what runs is the only submodule.
        self._kept = (whole, origins)
        self.draw: Callable[[], Tensor] | None = None
        self.xi: Tensor | None = None
        like = next(self.model.parameters())
        self.register_buffer("fixed", torch.ones(gates.count, dtype=like.dtype, device=like.device), persistent=False)
        self._parts = None if origins is None else _parts(gates, origins, like.device)

    @property
    def whole(self) -> nn.Module:
        """The network whose gates these are; what runs may be more recent, see `put_back`."""
        return self._kept[0]

    @property
    def origins(self) -> Origins | None:
        """Where the elements of what runs belong in the whole network; None where it is that network."""
        return self._kept[1]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        if not self.training:
            return self.at(self.fixed, *inputs, **named)
        xi = self.fixed if self.draw is None else self.draw()
        self.xi = xi.detach().clone().requires_grad_()
        return self.at(self.xi, *inputs, **named)

    def at(self, xi: Tensor, *inputs: Any, **named: Any) -> Any:
        """The network's output with these gates, whatever the mode; nothing is kept."""
        factors = self.gates.multipliers(xi)
        if self._parts is not None:
            factors = {
                name: factors[owner] if index is None else factors[owner].reshape(-1)[index].view(shape)
                for name, (owner, index, shape) in self._parts.items()
            }
        scaled = {name: self.model.get_parameter(name) * factor for name, factor in factors.items()}
        return functional_call(self.model, scaled, inputs, named)

    def norms(self) -> Tensor:
        """For every gate the Euclidean norm of all elements of parameters that it multiplies, (gates.count,)."""
        values = {name: p.detach() for name, p in self.model.named_parameters()}
        if self.origins is not None:
            missing = {name: torch.zeros_like(p) for name, p in self.whole.named_parameters()}
            values = missing | self.origins.spread(values)
        return self.gates.norms(values)

    def put_back(self) -> nn.Module:
        """Write what runs into the whole network, and return that."""
        if self.origins is not None:
            self.origins.put_back()
        return self.whole


def _parts(
    gates: Gates, origins: Origins, device: torch.device
) -> dict[str, tuple[str, Tensor | None, list[int] | None]]:
    """For every parameter of a compact network that gates multiply: whose factor it has, and which entries of it, in
    what shape."""
    found: dict[str, tuple[str, Tensor | None, list[int] | None]] = {}
    factors = gates.multipliers(torch.ones(gates.count))
    for name, owner in origins.names.items():
        if owner not in factors:
            continue
        axes = [axis for axis, length in enumerate(factors[owner].shape) if length > 1]
        if not axes:
            found[name] = owner, None, None
            continue
        (axis,) = axes
        shape = [-1 if a == axis else 1 for a in range(factors[owner].ndim)]
        found[name] = owner, origins.indices(name, axis).to(device), shape
    return found


def shrink(gated: Gated, alive: Tensor, optimizer: torch.optim.Optimizer) -> tuple[Gated, torch.optim.Optimizer]:
    """The network without what closed gates stand for, ready to be trained on.

    It computes what the gated network computes with these gates, which keep their numbers; what belongs to each
    element of its parameters in the optimiser goes along. In training mode that holds too, as long as the network
    works sample by sample or norms channel by channel. What has been trained is written into the whole network, from
    which this one is compacted.

    Parameters
    ----------
    gated
        The network.
    alive
        Which gates stay, bool (gates,), by `Gates.closure`; of those that are there.
    optimizer
        Of the network's parameters, and of others, perhaps; it is not changed.

    Returns
    -------
    Gated
        The small network, in the mode of the old one, its fixed gates all open.
    Optimizer
        Of the same type with the same groups and settings, for the small network's parameters.
    """
    origins = Origins(gated.put_back(), gated.gates, alive)
    smaller = Gated(gated.whole, gated.gates, origins).train(gated.training)
    return smaller, carried(optimizer, gated.model, gated.origins, origins)
