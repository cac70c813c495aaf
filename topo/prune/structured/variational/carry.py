"""Taking closed gates out for good: a smaller network, its gates, and its optimiser in the state in which it was."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ....dag import compact, trace
from ....dag.groups import Units, units
from .gated import Gated
from .gates import Gates, place

__all__ = ["shrink"]


def shrink(
    gated: Gated, alive: Tensor, optimizer: torch.optim.Optimizer
) -> tuple[Gated, Tensor, torch.optim.Optimizer]:
    """The network without what closed gates stand for, ready to be trained on.

    It computes what the gated network computes with these gates; what belongs to each element of its parameters in
    the optimiser goes along. In training mode that holds too, as long as the network works sample by sample or norms
    channel by channel.

    Parameters
    ----------
    gated
        The network; it is not changed.
    alive
        Which gates stay, bool (gates,), by `Gates.closure`.
    optimizer
        Of the network's parameters, and of others, perhaps; it is not changed.

    Returns
    -------
    Gated
        The small network, in the mode of the old one, its gates all open. A unit that became the only one of a layer
        which every path needs has no gate any more.
    Tensor
        For each of its gates the number of the old gate, int64.
    Optimizer
        Of the same type with the same groups and settings, for the small network's parameters.
    """
    model, gates = gated.model, gated.gates
    origins = Origins(model)
    small = origins.compact(gates, alive)
    example = pytree.tree_map_only(
        Tensor, lambda t: t.to(gated.fixed.dtype) if t.is_floating_point() else t, gates.example
    )
    found = units(trace(small, example))
    unit = origins.units(found, gates.found)
    alive = alive.detach().cpu().bool()
    stays = torch.cat([alive & ~gates.is_layer, torch.tensor([False])])
    left = {
        gate.parameters & set(origins.names.values()): number
        for number, gate in enumerate(gates.layers, start=len(gates.units))
        if alive[number]
    }

    def branch(parameters: frozenset[str]) -> frozenset[str]:
        return frozenset(origins.names[name] for name in parameters if name in origins.names)

    new = place(small, found, gates.example, stays[gates.of_unit[unit]], lambda parameters: branch(parameters) in left)
    kept = [*gates.of_unit[unit[new.units]].tolist(), *(left[branch(layer.parameters)] for layer in new.layers)]
    smaller = Gated(small, new).train(gated.training)
    return smaller, torch.tensor(kept, dtype=torch.int64), origins.optimizer(optimizer, small)


class Origins:
    """Where the elements of a compact network's parameters come from.

    A copy of the network is compacted whose parameters number their own elements, from 1 on through all of them.

    Attributes
    ----------
    names
        Parameter of the compact network -> the parameter that it is part of.
    places
        Parameter of the compact network -> the place of each of its elements in that one, flat, int64 of its shape;
        -1 where it was masked.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.old = dict(model.named_parameters())
        self.names: dict[str, str] = {}
        self.places: dict[str, Tensor] = {}

    def compact(self, gates: Gates, alive: Tensor) -> fx.GraphModule:
        """The network without what closed gates stand for."""
        numbered = copy.deepcopy(self.model).double()
        starts, start = [], 0
        with torch.no_grad():
            for parameter in numbered.parameters():
                starts.append(start + 1)
                start += parameter.numel()
                parameter.copy_(torch.arange(starts[-1], start + 1).view(parameter.shape))
        found = replace(gates.found, dag=gates.found.dag.bind(numbered))
        small = compact(numbered, gates.masks(alive), found=found)
        names, bounds = list(self.old), torch.tensor([*starts[1:], start + 1])
        for name, parameter in list(small.named_parameters()):
            numbers = parameter.detach().round().long().cpu()
            owner = int(torch.bucketize(numbers.max().clamp(min=1), bounds, right=True))
            self.names[name] = names[owner]
            self.places[name] = torch.where(numbers > 0, numbers - starts[owner], -1)
            old = self.old[names[owner]]
            _set(small, name, nn.Parameter(self.taken(name, old.detach()), requires_grad=old.requires_grad))
        types = {name: buffer.dtype for name, buffer in self.model.named_buffers()}
        for name, buffer in list(small.named_buffers()):
            _set(small, name, buffer.to(types.get(name, buffer.dtype)))
        return small

    def taken(self, name: str, values: Tensor) -> Tensor:
        """What belongs to the elements of a parameter of the compact network, given for those of the old one."""
        places = self.places[name].to(values.device)
        return torch.where(places >= 0, values.reshape(-1)[places.clamp(min=0)], 0)

    def units(self, new: Units, old: Units) -> Tensor:
        """For every unit of the compact network the old one, int64; -1 where that cannot be told."""
        origin = torch.full((new.count,), -1)
        for name, axes in new.axes.items():
            before = old.axes.get(self.names.get(name, ""))
            if before is None:
                continue
            stride = 1
            for axis in reversed(range(len(axes))):
                length = len(before[axis])
                place = self.places[name].movedim(axis, 0).reshape(len(axes[axis]), -1).amax(dim=1)
                unit = torch.where(place >= 0, before[axis][place // stride % length], -1)
                known = (axes[axis] >= 0) & (unit >= 0)
                origin[axes[axis][known]] = unit[known]
                stride *= length
        return origin

    def optimizer(self, old: torch.optim.Optimizer, small: nn.Module) -> torch.optim.Optimizer:
        """The optimiser for the compact network's parameters, with what it remembers of them."""
        names = {id(parameter): name for name, parameter in self.old.items()}
        parts: dict[str, list[tuple[str, nn.Parameter]]] = defaultdict(list)
        for name, parameter in small.named_parameters():
            parts[self.names[name]].append((name, parameter))
        new = copy.copy(old)
        new.param_groups, new.state = [], defaultdict(dict)
        for group in old.param_groups:
            held: list[Tensor] = []
            for parameter in group["params"]:
                state = old.state.get(parameter, {})
                if id(parameter) not in names:
                    held.append(parameter)
                    new.state[parameter] = state
                    continue
                for name, part in parts[names[id(parameter)]]:
                    held.append(part)
                    if state:
                        new.state[part] = {
                            key: self._remembered(name, value, parameter.shape) for key, value in state.items()
                        }
            new.param_groups.append({**group, "params": held})
        return new

    def _remembered(self, name: str, value: object, shape: torch.Size) -> object:
        if isinstance(value, Tensor) and value.shape == shape:
            return self.taken(name, value)
        return copy.deepcopy(value)


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, value)
