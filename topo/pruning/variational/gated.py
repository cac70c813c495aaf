"""A network that runs with gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...parameter_names import called_with, named_parameters
from ...training.memory_format import leave_channels_last
from .gates import Gates, check_unwrapped
from .transfer import ParameterTransfer, transfer_optimizer

__all__ = ["GatedModel", "shrink"]


class GatedModel(nn.Module):
    """A network whose parameters are multiplied by gates: drawn ones in training mode, fixed ones otherwise.

    Parameters
    ----------
    full_model
        The network that the gates belong to.
    gates
        Its gates.
    transfer
        To the compact network that runs in its place; see `shrink`.

    Attributes
    ----------
    model
        The network that runs.
    draw
        Gives the gates of a training step, (gates.count,), on the parameters' device and of their type; where it is
        None, the fixed ones are used.
    xi
        The gates of the last training step. They require gradients: after a backward pass ``xi.grad`` holds the
        derivative of the loss in each gate.
    fixed
        The gates in evaluation mode; at first all open.

    Examples
    --------
    >>> from topo.pruning.variational import GatedModel, find_gates
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> gated = GatedModel(net, find_gates(net, (4,)))
    >>> gated.draw = lambda: torch.tensor([1.0, 0.0, 1.0])
    >>> gated(torch.ones(5, 4)).sum().backward()
    >>> gated.xi.grad.shape
    torch.Size([3])
    """

    fixed: Tensor

    def __init__(self, full_model: nn.Module, gates: Gates, transfer: ParameterTransfer | None = None) -> None:
        check_unwrapped(full_model)
        super().__init__()
        self.model: nn.Module = full_model if transfer is None else transfer.model
        self.gates = gates
        # In a tuple, so that the network that runs is the only submodule.
        self._sources = (full_model, transfer)
        self.draw: Callable[[], Tensor] | None = None
        self.xi: Tensor | None = None
        like = next(self.model.parameters())
        self.register_buffer("fixed", torch.ones(gates.count, dtype=like.dtype, device=like.device), persistent=False)
        self._slices = None if transfer is None else _multiplier_slices(gates, transfer, like.device)

    @property
    def full_model(self) -> nn.Module:
        """The network that the gates belong to; what runs may be more recent, see `write_back`."""
        return self._sources[0]

    @property
    def transfer(self) -> ParameterTransfer | None:
        """Where the elements of what runs belong in the full network; None where it is that network."""
        return self._sources[1]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        if not self.training:
            return self.forward_with(self.fixed, *inputs, **named)
        xi = self.fixed if self.draw is None else self.draw()
        self.xi = xi.detach().clone().requires_grad_()
        return self.forward_with(self.xi, *inputs, **named)

    def forward_with(self, xi: Tensor, *inputs: Any, **named: Any) -> Any:
        """The network's output with given gates, whatever the mode; `xi` and `fixed` stay as they are.

        Parameters
        ----------
        xi
            The gates, (gates.count,).
        *inputs, **named
            Arguments of the network.

        Returns
        -------
        object
            What the network returns.
        """
        multipliers = self.gates.multipliers(xi)
        if self._slices is not None:
            multipliers = {
                name: multipliers[full_name]
                if part is None
                else multipliers[full_name].reshape(-1)[part[0]].view(part[1])
                for name, (full_name, part) in self._slices.items()
            }
        parameters = named_parameters(self.model)
        # Gates are float32: weights of 16 bits stay what they are.
        scaled = {name: (parameters[name] * m).to(parameters[name].dtype) for name, m in multipliers.items()}
        return called_with(self.model, scaled, inputs, named)

    def norms(self) -> Tensor:
        """For every gate the Euclidean norm of all elements of parameters that it multiplies, (gates.count,)."""
        values = {name: p.detach() for name, p in named_parameters(self.model).items()}
        if self.transfer is not None:
            missing = {name: torch.zeros_like(p) for name, p in named_parameters(self.full_model).items()}
            values = missing | self.transfer.to_full(values)
        return self.gates.norms(values)

    def write_back(self) -> nn.Module:
        """Write what runs into the full network, and return that."""
        if self.transfer is not None:
            self.transfer.write_back()
        return self.full_model


def _multiplier_slices(
    gates: Gates, transfer: ParameterTransfer, device: torch.device
) -> dict[str, tuple[str, tuple[Tensor, list[int]] | None]]:
    """For every parameter of a compact network that gates multiply: the parameter of the full network whose multiplier
    it has and, unless the multiplier is a single number, which entries of it in what shape."""
    slices: dict[str, tuple[str, tuple[Tensor, list[int]] | None]] = {}
    multipliers = gates.multipliers(torch.ones(gates.count))
    for name, full_name in transfer.full_names.items():
        if full_name not in multipliers:
            continue
        multiplier = multipliers[full_name]
        axes = [axis for axis, length in enumerate(multiplier.shape) if length > 1]
        if not axes:
            slices[name] = full_name, None
            continue
        (axis,) = axes
        shape = [-1 if a == axis else 1 for a in range(multiplier.ndim)]
        slices[name] = full_name, (transfer.indices(name, axis).to(device), shape)
    return slices


def shrink(
    gated: GatedModel, is_open: Tensor, optimizer: torch.optim.Optimizer
) -> tuple[GatedModel, torch.optim.Optimizer]:
    """The network without what its closed gates remove, ready to be trained on.

    It computes what the gated network computes with these gates, which keep their numbers; the optimiser's state goes
    along with each element of a parameter. In training mode that holds too, as long as the network works sample by
    sample or norms channel by channel. What has been trained is written into the full network, from which this one is
    compacted.

    Parameters
    ----------
    gated
        The network.
    is_open
        The gates that stay, bool (gates,), by `Gates.closure`; none that an earlier `shrink` removed.
    optimizer
        Of the network's parameters, and possibly of others; it is not changed.

    Returns
    -------
    GatedModel
        The smaller network, in the mode of the old one, its fixed gates all open.
    Optimizer
        Of the same type with the same groups and settings, for the smaller network's parameters.
    """
    transfer = ParameterTransfer(gated.write_back(), gated.gates, is_open)
    smaller = GatedModel(gated.full_model, gated.gates, transfer).train(gated.training)
    leave_channels_last(smaller.model)
    return smaller, transfer_optimizer(optimizer, gated.model, gated.transfer, transfer)
