"""Taking closed gates out for good: a smaller network, and its optimiser in the state in which it was.

The whole network keeps the books. A smaller one is compacted from it, runs with the same gates, of which the closed
ones have no longer anything to multiply, and knows where in the whole one each of its elements belongs.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from ...dag import compact

if TYPE_CHECKING:
    from .gates import Gates

__all__ = ["Origins", "carried"]


class Origins:
    """Where the elements of a compact network's parameters and statistics belong in the whole network.

    A copy of the whole network is compacted whose parameters number their own elements, from 1 on through all of them.

    Parameters
    ----------
    whole
        The network; it is not changed.
    gates
        Its gates.
    alive
        Which of them stay, bool (gates,), by `Gates.closure`.

    Attributes
    ----------
    model
        The compact network, with the values of the whole one.
    names
        Parameter, or statistic of a norm, of the compact network -> that of the whole one which it is part of.
    places
        Name in the compact network -> the place of each of its elements in that one, flat, int64 of its shape; -1
        where it was masked.
    """

    def __init__(self, whole: nn.Module, gates: Gates, alive: Tensor) -> None:
        self.whole = whole
        numbered = copy.deepcopy(whole).double()
        tensors = _tensors(numbered)
        starts, start = [], 1
        with torch.no_grad():
            for tensor in tensors.values():
                starts.append(start)
                start += tensor.numel()
                tensor.copy_(torch.arange(starts[-1], start).view(tensor.shape))
        found = replace(gates.found, dag=gates.found.dag.bind(numbered))
        self.model: fx.GraphModule = compact(numbered, gates.masks(alive), found=found)
        own, names, bounds = _tensors(whole), list(tensors), torch.tensor([*starts[1:], start])
        self.names: dict[str, str] = {}
        self.places: dict[str, Tensor] = {}
        for name, tensor in _tensors(self.model).items():
            numbers = tensor.detach().round().long().cpu()
            owner = int(torch.bucketize(numbers.max().clamp(min=1), bounds, right=True))
            old = own[names[owner]]
            self.names[name] = names[owner]
            self.places[name] = torch.where(numbers > 0, numbers - starts[owner], -1)
            value = self.taken(name, old.detach())
            _set(self.model, name, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)
        types = {name: buffer.dtype for name, buffer in whole.named_buffers()}
        for name, buffer in list(self.model.named_buffers()):
            _set(self.model, name, buffer.to(types.get(name, buffer.dtype)))

    def taken(self, name: str, values: Tensor) -> Tensor:
        """What belongs to the elements of a tensor of the compact network, given for those of the whole one."""
        places = self.places[name].to(values.device)
        return torch.where(places >= 0, values.reshape(-1)[places.clamp(min=0)], 0)

    def spread(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values for tensors of the compact network at their places in the whole one, zeros elsewhere."""
        own, found = _tensors(self.whole), {}
        for name, value in values.items():
            owner = self.names[name]
            if owner not in found:
                found[owner] = value.new_zeros(own[owner].shape)
            self._write(name, value, found[owner])
        return found

    def put_back(self) -> None:
        """Write the parameters and statistics of the compact network to their places in the whole one."""
        own = _tensors(self.whole)
        with torch.no_grad():
            for name, value in _tensors(self.model).items():
                self._write(name, value.detach(), own[self.names[name]])

    def _write(self, name: str, value: Tensor, into: Tensor) -> None:
        places = self.places[name].to(value.device)
        kept = places >= 0
        into.view(-1)[places[kept]] = value[kept]

    def indices(self, name: str, axis: int) -> Tensor:
        """For each index of an axis of a parameter the one of the whole parameter; 0 where all of it was masked."""
        places, shape = self.places[name], _tensors(self.whole)[self.names[name]].shape
        place = places.movedim(axis, 0).reshape(places.shape[axis], -1).amax(dim=1).clamp(min=0)
        return place // shape[axis + 1 :].numel() % shape[axis]


def carried(
    optimizer: torch.optim.Optimizer, old: nn.Module, old_origins: Origins | None, new: Origins
) -> torch.optim.Optimizer:
    """An optimiser for the compact network `new.model`, with the groups, the settings and what it remembers of the
    elements that are left.

    Parameters
    ----------
    optimizer
        Of the parameters of `old`, and of others, perhaps; it is not changed.
    old, old_origins
        The network trained so far; no origins where it is the whole one.
    """
    owners = {p: name if old_origins is None else old_origins.names[name] for name, p in old.named_parameters()}
    memory: dict[str, dict[str, object]] = defaultdict(dict)
    for name, parameter in old.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            held = memory[owners[parameter]]
            if not isinstance(value, Tensor) or value.shape != parameter.shape or old_origins is None:
                held[key] = value
            else:
                (part,) = old_origins.spread({name: value}).values()
                held[key] = held[key] + part if key in held else part
    parts: dict[str, list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in new.model.named_parameters():
        parts[new.names[name]].append((name, parameter))
    made = copy.copy(optimizer)
    made.param_groups, made.state = [], defaultdict(dict)
    shapes = {name: p.shape for name, p in new.whole.named_parameters()}
    for group in optimizer.param_groups:
        held_here: list[Tensor] = []
        for parameter in dict.fromkeys(group["params"]):
            if parameter not in owners:
                held_here.append(parameter)
                made.state[parameter] = optimizer.state.get(parameter, {})
                continue
            owner = owners[parameter]
            for name, part in parts.pop(owner, []):
                held_here.append(part)
                for key, value in memory[owner].items():
                    whole = isinstance(value, Tensor) and value.shape == shapes[owner]
                    made.state[part][key] = new.taken(name, value) if whole else copy.deepcopy(value)
        made.param_groups.append({**group, "params": held_here})
    return made


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, and the running statistics of norms."""
    found: dict[str, Tensor] = dict(model.named_parameters())
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            for leaf in ("running_mean", "running_var"):
                found[f"{path}.{leaf}" if path else leaf] = getattr(module, leaf)
    return found


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, value)
