"""Transfer of parameters and optimiser state from a network to a smaller one without its closed gates, and back.

The full network holds the current values of everything. A smaller one is compacted from it, runs with the same gates,
of which the closed ones no longer multiply anything, and knows where in the full network each of its elements belongs.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...dag import compact
from ...dag.compaction.verification import verify_compaction
from ...parameter_names import copied, named_parameters
from .gates import Gates

__all__ = ["ParameterTransfer", "transfer_optimizer"]


class ParameterTransfer:
    """Compacts a network and knows where each element of the compact one's parameters and statistics comes from.

    A copy of the full network is compacted whose parameters number their own elements, from 1 on through all of them.

    Parameters
    ----------
    full_model
        The full network; it is not changed.
    gates
        Its gates.
    is_open
        The gates that stay, bool (gates,), by `Gates.closure`.

    Attributes
    ----------
    model
        The compact network, with the values of the full one.
    full_names
        Parameter, or statistic of a norm, of the compact network -> the one of the full network that it is part of.
    positions
        Name in the compact network -> the position of each of its elements in that one, flat, int64 of its shape; -1
        where it was masked.
    """

    def __init__(self, full_model: nn.Module, gates: Gates, is_open: Tensor) -> None:
        self.full_model = full_model
        numbered = copied(full_model).double()
        tensors = _parameters_and_statistics(numbered)
        starts, start = [], 1
        with torch.no_grad():
            for tensor in tensors.values():
                starts.append(start)
                start += tensor.numel()
                tensor.copy_(torch.arange(starts[-1], start).view(tensor.shape))
        channels = replace(gates.channels, dag=gates.channels.dag.bind(numbered))
        self.model: fx.GraphModule = compact(numbered, gates.masks(is_open), channels=channels, verify=False)
        full_tensors, names = _parameters_and_statistics(full_model), list(tensors)
        bounds = torch.tensor([*starts[1:], start])
        self.full_names: dict[str, str] = {}
        self.positions: dict[str, Tensor] = {}
        for name, tensor in _parameters_and_statistics(self.model).items():
            numbers = tensor.detach().round().long().cpu()
            owner = int(torch.bucketize(numbers.max().clamp(min=1), bounds, right=True))
            old = full_tensors[names[owner]]
            self.full_names[name] = names[owner]
            self.positions[name] = torch.where(numbers > 0, numbers - starts[owner], -1)
            value = _in_format_of(old, self.to_compact(name, old.detach()))
            _set(self.model, name, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)
        dtypes = {name: buffer.dtype for name, buffer in full_model.named_buffers()}
        for name, buffer in list(self.model.named_buffers()):
            _set(self.model, name, buffer.to(dtypes.get(name, buffer.dtype)))
        verify_compaction(gates.channels.dag.bind(full_model), gates.masks(is_open), self.model)

    def to_compact(self, name: str, values: Tensor) -> Tensor:
        """The values that belong to the elements of a tensor of the compact network.

        Parameters
        ----------
        name
            The tensor's name in the compact network.
        values
            Values for the elements of the full network's tensor.

        Returns
        -------
        Tensor
            In the shape of the tensor; zero where nothing belongs to an element.
        """
        positions = self.positions[name].to(values.device)
        return torch.where(positions >= 0, values.reshape(-1)[positions.clamp(min=0)], 0)

    def to_full(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values for tensors of the compact network at their positions in the full one, zeros elsewhere.

        Parameters
        ----------
        values
            Name in the compact network -> tensor in the parameter's shape there.

        Returns
        -------
        dict
            Name in the full network -> tensor in the parameter's shape there.
        """
        full_tensors = _parameters_and_statistics(self.full_model)
        placed: dict[str, Tensor] = {}
        for name, value in values.items():
            owner = self.full_names[name]
            if owner not in placed:
                placed[owner] = value.new_zeros(full_tensors[owner].shape)
            self._write(name, value, placed[owner])
        return placed

    def write_back(self) -> None:
        """Write the parameters and statistics of the compact network to their positions in the full one."""
        full_tensors = _parameters_and_statistics(self.full_model)
        with torch.no_grad():
            for name, value in _parameters_and_statistics(self.model).items():
                self._write(name, value.detach(), full_tensors[self.full_names[name]])

    def _write(self, name: str, value: Tensor, target: Tensor) -> None:
        positions = self.positions[name].to(value.device)
        kept = positions >= 0
        # Flattened, a tensor that lies otherwise in memory, such as channels last, is a copy.
        flat = target.reshape(-1)
        flat[positions[kept]] = value[kept]
        if flat.data_ptr() != target.data_ptr():
            target.copy_(flat.view(target.shape))

    def indices(self, name: str, axis: int) -> Tensor:
        """For each index of an axis of a parameter, the index in the full parameter; 0 where all of it was masked.

        Parameters
        ----------
        name
            Name in the compact network.
        axis
            One of the parameter's axes.

        Returns
        -------
        Tensor
            int64, as long as the axis.
        """
        positions = self.positions[name]
        shape = _parameters_and_statistics(self.full_model)[self.full_names[name]].shape
        along = positions.movedim(axis, 0).reshape(positions.shape[axis], -1).amax(dim=1).clamp(min=0)
        return along // shape[axis + 1 :].numel() % shape[axis]


def transfer_optimizer(
    optimizer: torch.optim.Optimizer, old: nn.Module, old_transfer: ParameterTransfer | None, new: ParameterTransfer
) -> torch.optim.Optimizer:
    """An optimiser for the compact network `new.model`, with the same groups and settings, and the state of the
    elements that remain.

    Parameters
    ----------
    optimizer
        Of the parameters of `old`, and possibly of others; it is not changed.
    old, old_transfer
        The network trained so far; no transfer where it is the full one.
    new
        The transfer to the compact network.

    Returns
    -------
    Optimizer
        Of the same class.
    """
    full_names = {
        p: name if old_transfer is None else old_transfer.full_names[name] for name, p in named_parameters(old).items()
    }
    state: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, parameter in named_parameters(old).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            full_state = state[full_names[parameter]]
            if not isinstance(value, Tensor) or value.shape != parameter.shape or old_transfer is None:
                full_state[key] = value
            else:
                (part,) = old_transfer.to_full({name: value}).values()
                full_state[key] = full_state[key] + part if key in full_state else part
    parts: dict[str, list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in named_parameters(new.model).items():
        parts[new.full_names[name]].append((name, parameter))
    transferred = copy.copy(optimizer)
    transferred.param_groups, transferred.state = [], defaultdict(dict)
    shapes = {name: p.shape for name, p in named_parameters(new.full_model).items()}
    for group in optimizer.param_groups:
        parameters: list[Tensor] = []
        for parameter in dict.fromkeys(group["params"]):
            if parameter not in full_names:
                parameters.append(parameter)
                transferred.state[parameter] = optimizer.state.get(parameter, {})
                continue
            owner = full_names[parameter]
            for name, part in parts.pop(owner, []):
                parameters.append(part)
                for key, value in state[owner].items():
                    is_elementwise = isinstance(value, Tensor) and value.shape == shapes[owner]
                    transferred.state[part][key] = (
                        _in_format_of(part, new.to_compact(name, value)) if is_elementwise else copy.deepcopy(value)
                    )
        transferred.param_groups.append({**group, "params": parameters})
    return transferred


def _in_format_of(like: Tensor, value: Tensor) -> Tensor:
    """A tensor in the memory format, contiguous or channels last, of another."""
    is_last = like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return value.contiguous(memory_format=torch.channels_last) if is_last else value


def _parameters_and_statistics(model: nn.Module) -> dict[str, Tensor]:
    """The parameters of a network and the running statistics of its norms, by name."""
    tensors: dict[str, Tensor] = {**named_parameters(model)}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            for leaf in ("running_mean", "running_var"):
                tensors[f"{path}.{leaf}" if path else leaf] = getattr(module, leaf)
    return tensors


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, value)
