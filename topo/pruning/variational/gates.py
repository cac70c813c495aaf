"""Where the gates of a network are, and which parts of the network depend on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ...dag import Dag, trace
from ...dag.channel_coupling import CoupledChannels, coupled_channels
from ...dag.example import Example
from ...dag.prunable import prunable_weights
from ...dag.tracing import module_of
from ...errors import InputError, counted
from ..dag_pruning.candidates import Candidate, drop
from ..dag_pruning.prunable_network import LiveParts, PrunableNetwork
from .branches import LayerGate, find_layer_gates
from .computed_weights import units_bound_by_norms
from .gate_multipliers import GateMultipliers
from .survival_polynomials import ALWAYS, SurvivalConditions

__all__ = ["Gates", "check_unwrapped", "find_gates", "place_gates", "summed_units"]


@dataclass(frozen=True, eq=False)
class Gates:
    """The gates of a network: factors on its parameters that close units and whole branches.

    Unit gates come first, in the order of `units`, then layer gates, in the order of `layers`.

    Attributes
    ----------
    network
        The Dag with its coupled channels.
    units
        The gated units, int64 (n,), ascending: a unit is a channel, feature or attention head with all that is coupled
        to it. A gate multiplies the weights that read its unit: there it comes after batch norm and activation, so that
        a closed unit leaves no shift behind.
    layers
        The gated branches. A gate multiplies the last scale and shift, or weight and bias, of its branch, whose output
        is then the gate times what it was.
    prunable
        Names of the weights that `masks` covers.
    unread_parameters
        How many parameters the model has that no operation reads.
    """

    network: PrunableNetwork
    units: Tensor
    layers: tuple[LayerGate, ...]
    prunable: tuple[str, ...]
    unread_parameters: int = 0

    def __repr__(self) -> str:
        return f"Gates({counted(len(self.units), 'unit')}, {counted(len(self.layers), 'layer')})"

    @property
    def channels(self) -> CoupledChannels:
        """All units of the network, gated or not, on the fine Dag."""
        return self.network.channels

    @property
    def count(self) -> int:
        """The number of gates."""
        return len(self.units) + len(self.layers)

    @cached_property
    def is_layer(self) -> Tensor:
        """Which gates are layer gates, bool (count,)."""
        return torch.arange(self.count) >= len(self.units)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each gate closes, (count,): a unit of the layer that writes it, or the branch that this layer ends."""
        group = self.channels.groups()[self.units].tolist()
        first: dict[int, int] = {}
        for unit, g in zip(self.units.tolist(), group, strict=True):
            first.setdefault(g, unit)
        written = {
            g: self.network.unit_levels[u][1].partition("[")[0].removesuffix(".weight") for g, u in first.items()
        }
        return (*(written[g] for g in group), *(layer.name for layer in self.layers))

    @cached_property
    def gate_of_unit(self) -> Tensor:
        """Unit -> its gate, int64 (units + 1,); `count` for units without one, and as the last entry for unit -1."""
        gate = torch.full((self.channels.count + 1,), self.count)
        gate[self.units] = torch.arange(len(self.units))
        return gate

    @cached_property
    def required_groups(self) -> tuple[Tensor, ...]:
        """For each group of gated units that every path runs through, its gates, int64: one of them must stay open."""
        group = self.channels.groups()[self.units]
        number, conditions = self.survival.units
        always = torch.tensor([condition == ALWAYS for condition in conditions], dtype=torch.bool)[number[self.units]]
        return tuple((group == g).nonzero().flatten() for g in group[always].unique())

    @cached_property
    def survival(self) -> SurvivalConditions:
        """Under which layer gates each arc, parameter and unit remains."""
        return SurvivalConditions(self.network, self.layers)

    def multipliers(self, xi: Tensor) -> dict[str, Tensor]:
        """For every parameter that gates multiply, its factor, to be broadcast against it.

        Parameters
        ----------
        xi
            The values of the gates, (count,), on any device; gradients pass.

        Returns
        -------
        dict
            Name -> tensor with as many axes as the parameter.
        """
        return self._multipliers.multipliers(xi)

    def norms(self, values: Mapping[str, Tensor]) -> Tensor:
        """For every gate the Euclidean norm of the elements that it multiplies, (count,).

        Parameters
        ----------
        values
            Parameter name -> tensor of its shape, all on one device.

        Returns
        -------
        Tensor
            (count,).
        """
        return self._multipliers.norms(values)

    @cached_property
    def _multipliers(self) -> GateMultipliers:
        return GateMultipliers(self.channels, self.gate_of_unit, self.layers, len(self.units), self.count)

    def closure(self, is_open: Tensor) -> Tensor:
        """Which of the open gates stay open, bool (count,), when all that becomes useless is closed too.

        A layer whose units are all closed passes on a constant, and a branch in which every path runs through such
        layers is closed; with a branch go the units that nothing else writes or nothing else reads.

        Parameters
        ----------
        is_open
            The gates that are open, bool (count,).

        Returns
        -------
        Tensor
            bool, (count,).

        Raises
        ------
        InputError
            When no path from the inputs to the outputs remains.
        """
        is_open = is_open.detach().cpu().bool().clone()
        is_layer, units = self.is_layer, len(self.units)
        while True:
            before = is_open.clone()
            without_units = self._arcs_without_units(self.remaining_units(is_open))
            live = set(self._remaining(is_open, without_units).counts.live)
            is_open[is_layer] &= torch.tensor(
                [not live.isdisjoint(layer.arcs) for layer in self.layers], dtype=torch.bool
            )
            is_open[:units] = self.remaining_units(is_open)[self.units]
            if torch.equal(is_open, before):
                return is_open

    def masks(self, is_open: Tensor) -> dict[str, Tensor]:
        """Masks for `topo.compact`, of every prunable weight and every parameter of a closed branch.

        Layers without a remaining unit that no gate closes are masked with what depends on them, where masks can
        express it.

        Parameters
        ----------
        is_open
            The gates that are open, bool (count,); `closure` first closes what is useless without the others.

        Returns
        -------
        dict
            Name -> bool mask in the parameter's shape.
        """
        is_open = is_open.detach().cpu().bool()
        remaining = self.remaining_units(is_open)
        state = self._remaining(is_open, ())
        for arc in self._arcs_without_units(remaining):
            without = drop(self.network, state, Candidate("", 0, (arc,))) if arc in state.counts.live else None
            state = without or state
        return self.network.masks(state.without(units=(~remaining).nonzero().flatten().tolist()), self.prunable)

    def remaining_units(self, is_open: Tensor) -> Tensor:
        """Which units of the network remain, gated or not, bool (units,).

        Parameters
        ----------
        is_open
            The gates that are open, bool (count,).

        Returns
        -------
        Tensor
            bool, (units,).
        """
        open_layers = is_open[self.is_layer].tolist()
        number, conditions = self.survival.units
        holds = torch.tensor(
            [any(all(open_layers[g] for g in gates) for gates in c) for c in conditions], dtype=torch.bool
        )
        remaining = holds[torch.from_numpy(number)]
        remaining[self.units] &= is_open[: len(self.units)]
        return remaining

    def _arcs_without_units(self, remaining: Tensor) -> list[int]:
        """The arcs that write nothing but units, none of which remains."""
        return [arc for arc, written in self._written_units.items() if not remaining[written].any()]

    def _remaining(self, is_open: Tensor, arcs: Iterable[int]) -> LiveParts:
        """The network without its closed branches and without these arcs."""
        closed = {a for layer, on in zip(self.layers, is_open[self.is_layer].tolist()) if not on for a in layer.arcs}
        full = self.network.intact()
        try:
            return full.without(arcs=closed.union(arcs).intersection(full.counts.live))
        except InputError:
            raise InputError(
                "everything would be pruned: with these gates closed no path leads from an input to an output. "
                "Let accuracy weigh more against pruning."
            ) from None

    @cached_property
    def _written_units(self) -> dict[int, Tensor]:
        """Arcs that write nothing but units -> these units."""
        written_units: dict[int, Tensor] = {}
        for arc, applied in enumerate(self.network.layers):
            for _, layer in applied:
                if layer.weight in self.channels.axes:
                    written = self.channels.axes[layer.weight][0 if layer.groups > 1 else layer.writes]
                    if (written >= 0).all():
                        written_units[arc] = written
        return written_units


def find_gates(model: nn.Module | Dag, example: Example | None = None) -> Gates:
    """Find the gates of a model.

    Every unit has a gate (a channel, a feature, an attention head) except those of a residual stream, where values are
    added, those that no layer reads, and one that is alone in its layer and on every path. Every branch has one that
    other paths go round.

    Parameters
    ----------
    model
        Any module that `topo.trace` can follow, or a traced network; it is not changed.
    example
        An input of the model, or its shape; see `topo.trace`. Not needed with a traced network.

    Returns
    -------
    Gates
        Unit gates first, then layer gates.

    Raises
    ------
    InputError
        When there is nothing to gate, the model cannot be traced, or it is compiled or wrapped for several devices.

    Examples
    --------
    >>> from topo.pruning.variational import find_gates
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> gates = find_gates(net, (4,))
    >>> gates.count, gates.is_layer.tolist()
    (3, [False, False, False])
    """
    module = module_of(model, "topo.pruning.variational.find_gates", values=True)
    check_unwrapped(module)
    gates = place_gates(module, coupled_channels(trace(model, example)))
    if not gates.count:
        raise InputError(
            "there is nothing to gate: every layer of the model writes to an output or to a sum, or is tied to others "
            "by a norm of weights, and no branch has another path beside it."
        )
    return gates


def place_gates(
    model: nn.Module,
    channels: CoupledChannels,
    allowed: Tensor | None = None,
    accept: Callable[[frozenset[str]], bool] = lambda parameters: True,
    included: Iterable[str] = (),
) -> Gates:
    """Put gates on the units of a model that can have one, and on its branches.

    Parameters
    ----------
    model
        The model.
    channels
        Its coupled channels.
    allowed
        The units that may have a gate, bool (units,); all by default.
    accept
        Whether a branch with these parameters may have a gate.
    included
        Names of weights that masks cover beside those that are pruned by default.

    Returns
    -------
    Gates
        All that can be placed.
    """
    network = PrunableNetwork(channels)
    layers = tuple(find_layer_gates(network, accept))
    can_have_gate = _gateable_units(network, layers)
    if allowed is not None:
        can_have_gate &= allowed
    known = {id(value) for value in channels.dag.state.values()}
    return Gates(
        network=network,
        units=can_have_gate.nonzero().flatten(),
        layers=layers,
        prunable=tuple(dict.fromkeys([*prunable_weights(channels.dag).names, *included])),
        unread_parameters=sum(p.numel() for p in model.parameters() if id(p) not in known),
    )


def check_unwrapped(model: nn.Module) -> None:
    """Raise `InputError` for a model that is compiled or wrapped to run on several devices.

    Parameters
    ----------
    model
        Any module.

    Raises
    ------
    InputError
        When it is one of these.
    """
    for module in model.modules():
        kind = type(module).__name__
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise InputError(f"the model is wrapped in {kind}; give the plain model, its attribute 'module'.")
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise InputError(
                "the model is compiled by torch.compile; give the plain model, for its shapes change when units go."
            )


def _gateable_units(network: PrunableNetwork, layers: Sequence[LayerGate]) -> Tensor:
    """Which units can have a gate of their own, bool (units,).

    An ungrouped layer reads them, for the gate multiplies its weight, or what that is computed from; their elements are
    no sums, for channels of a residual stream carry what is added to them, unless they are states of a recurrent layer;
    no norm of a weight ties them to others; and none is alone in its layer outside of all gated branches, for no path
    would remain without it.
    """
    channels = network.channels
    number, conditions = SurvivalConditions(network, layers).units
    on_every_path = torch.tensor([condition == ALWAYS for condition in conditions], dtype=torch.bool)
    alone = (channels.groups().bincount() == 1) & on_every_path
    closable = _read_units(channels) & ~summed_units(channels) & ~units_bound_by_norms(network)
    return closable & ~alone[torch.from_numpy(number)]


def _read_units(channels: CoupledChannels) -> Tensor:
    """The units that an ungrouped layer reads, bool (units,)."""
    read = torch.zeros(channels.count + 1, dtype=torch.bool)
    for name, layers in channels.layers.items():
        if name in channels.axes and layers[0].groups == 1:
            read[channels.axes[name][layers[0].reads]] = True
    return read[:-1]


def _states(channels: CoupledChannels) -> Tensor:
    """The units that one weight both reads and writes, and one that is used several times writes: states of recurrent
    layers."""
    both, written_again = (torch.zeros(channels.count + 1, dtype=torch.bool) for _ in range(2))
    for name, layers in channels.layers.items():
        if name in channels.axes and layers[0].groups == 1:
            read, written = (channels.axes[name][axis] for axis in (layers[0].reads, layers[0].writes))
            both[read[torch.isin(read, written)]] = True
            if len(layers) > 1:
                written_again[written] = True
    return (both & written_again)[:-1]


def summed_units(channels: CoupledChannels) -> Tensor:
    """The units with elements that are sums of several arcs, bool (units,), which have no gates; states of recurrent
    layers, which such layers alone add up, are none of them.

    Parameters
    ----------
    channels
        The coupled channels of a network.

    Returns
    -------
    Tensor
        bool, (units,).
    """
    summed = torch.zeros(channels.count + 1, dtype=torch.bool)
    for node, arcs, labels in zip(channels.dag.nodes, channels.dag.arcs_into, channels.nodes, strict=True):
        if node.kind == "sum" and len(arcs) > 1 and isinstance(labels, Tensor):
            # Along an axis of stride 0 all labels are the same, so that its first index stands for it.
            summed[labels[tuple(slice(1) if stride == 0 else slice(None) for stride in labels.stride())]] = True
    return summed[:-1] & ~_states(channels)
