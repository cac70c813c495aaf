"""Where the gates of a network are, and what they multiply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ...dag import trace
from ...dag.channel_coupling import CoupledChannels, coupled_channels
from ...errors import InputError
from ...masks import prunable_parameters
from ..dag_pruning.candidates import Candidate, drop
from ..dag_pruning.prunable_network import Network, State
from .branches import LayerGate, branches
from .complexity import BUDGETS, Complexity
from .free_units import free_units
from .gate_multipliers import Factors
from .plain import check_plain
from .survival_polynomials import ALWAYS, Survival

__all__ = ["Gates", "gates", "place"]


@dataclass(frozen=True, eq=False)
class Gates:
    """The gates of a network: factors on its parameters that close units and whole branches.

    Unit gates come first, in the order of `units`, then layer gates, in the order of `layers`.

    Attributes
    ----------
    network
        The Dag with its units.
    units
        The gated units, int64 (n,), ascending. A gate multiplies the weights that read its unit: there it stands
        behind batch norm and activation, and a closed unit leaves no shift behind.
    layers
        The gated branches. A gate multiplies the last scale and shift, or weight and bias, of its branch, which then
        brings the gate times what it computes.
    prunable
        Names of the weights that `masks` covers.
    unread
        How many parameters the model has that no operation reads.
    """

    network: Network
    units: Tensor
    layers: tuple[LayerGate, ...]
    prunable: tuple[str, ...]
    unread: int = 0

    @property
    def found(self) -> CoupledChannels:
        """All units of the network, on the fine Dag."""
        return self.network.found

    @property
    def count(self) -> int:
        """The number of gates."""
        return len(self.units) + len(self.layers)

    @cached_property
    def is_layer(self) -> Tensor:
        """Which gates are layer gates, bool (count,)."""
        return torch.arange(self.count) >= len(self.units)

    @cached_property
    def of_unit(self) -> Tensor:
        """Unit -> its gate, int64 (units + 1,); `count` for units without one, and as the last entry for unit -1."""
        gate = torch.full((self.found.count + 1,), self.count)
        gate[self.units] = torch.arange(len(self.units))
        return gate

    @cached_property
    def needed(self) -> tuple[Tensor, ...]:
        """The gates of each group of units of which every path needs one, int64."""
        group = self.found.groups()[self.units]
        number, conditions = self.survival.units
        always = torch.tensor([condition == ALWAYS for condition in conditions], dtype=torch.bool)[number[self.units]]
        return tuple((group == g).nonzero().flatten() for g in group[always].unique())

    @cached_property
    def survival(self) -> Survival:
        """Which layer gates everything depends on."""
        return Survival(self.network, self.layers)

    def multipliers(self, xi: Tensor) -> dict[str, Tensor]:
        """For every parameter that gates multiply, by what, to be broadcast against it.

        Parameters
        ----------
        xi
            The gates, (count,), on any device; gradients pass.
        """
        return self._factors.multipliers(xi)

    def norms(self, values: Mapping[str, Tensor]) -> Tensor:
        """For every gate the Euclidean norm of the elements that it multiplies, (count,).

        Parameters
        ----------
        values
            Parameter name -> tensor of its shape, all on one device.
        """
        return self._factors.norms(values)

    @cached_property
    def _factors(self) -> Factors:
        return Factors(self.found, self.of_unit, self.layers, len(self.units), self.count)

    def closure(self, alive: Tensor) -> Tensor:
        """What stays of the gates `alive`, bool (count,), when all that has lost its use goes too.

        A layer without a unit left passes on a constant, and a branch that leads through such layers only goes; a
        branch that goes takes the units with it that nothing else writes or nothing else reads.

        Raises
        ------
        InputError
            When no path from the inputs to the outputs is left.
        """
        alive = alive.detach().cpu().bool().clone()
        is_layer, units = self.is_layer, len(self.units)
        while True:
            before = alive.clone()
            live = set(self._state(alive, self._without_units(self._left(alive))).counts.live)
            alive[is_layer] &= torch.tensor(
                [not live.isdisjoint(layer.arcs) for layer in self.layers], dtype=torch.bool
            )
            alive[:units] = self._left(alive)[self.units]
            if torch.equal(alive, before):
                return alive

    def masks(self, alive: Tensor) -> dict[str, Tensor]:
        """Masks for `topo.compact`, of every prunable weight and every parameter of a branch that is closed.

        Layers without a unit left, that no gate closes, go with what depends on them, where masks can express it.

        Parameters
        ----------
        alive
            The gates that are open, bool (count,); `closure` first closes what is of no use without the others.
        """
        alive = alive.detach().cpu().bool()
        left = self._left(alive)
        state = self._state(alive, ())
        for arc in self._without_units(left):
            without = drop(self.network, state, Candidate("", 0, (arc,))) if arc in state.counts.live else None
            state = without or state
        return self.network.masks(state.without(units=(~left).nonzero().flatten().tolist()), self.prunable)

    def _without_units(self, left: Tensor) -> list[int]:
        """The arcs that write units only, and none of those left."""
        return [arc for arc, written in self._writers.items() if not left[written].any()]

    def _left(self, alive: Tensor) -> Tensor:
        """The units that are left, gated or not, bool (units,)."""
        is_open = alive[self.is_layer].tolist()
        number, conditions = self.survival.units
        holds = torch.tensor([any(all(is_open[g] for g in gates) for gates in c) for c in conditions], dtype=torch.bool)
        left = holds[torch.from_numpy(number)]
        left[self.units] &= alive[: len(self.units)]
        return left

    def _state(self, alive: Tensor, arcs: Any) -> State:
        """What is left of the network's arcs without closed branches and these arcs."""
        closed = {a for layer, on in zip(self.layers, alive[self.is_layer].tolist()) if not on for a in layer.arcs}
        whole = self.network.whole()
        try:
            return whole.without(arcs=closed.union(arcs).intersection(whole.counts.live))
        except InputError:
            raise InputError(
                "everything would be pruned: with these gates closed no path leads from an input to an output. "
                "Let accuracy weigh more against pruning."
            ) from None

    @cached_property
    def _writers(self) -> dict[int, Tensor]:
        """Arcs that write units only -> these units."""
        found: dict[int, Tensor] = {}
        for arc, applied in enumerate(self.network.layers):
            for _, layer in applied:
                if layer.weight in self.found.axes:
                    written = self.found.axes[layer.weight][0 if layer.groups > 1 else layer.writes]
                    if (written >= 0).all():
                        found[arc] = written
        return found

    def table(self) -> pd.DataFrame:
        """One row for every group of gated units and every layer gate.

        Returns
        -------
        DataFrame
            kind (``"unit"`` or ``"layer"``), name (of the layer that writes the units; of the branch), gates, within
            (the layer gates without which the units are gone), and how many parameters and macs go with them all.
        """
        complexity = Complexity(self)
        groups = self.found.groups()[self.units]
        number, conditions = self.survival.units
        ones = torch.ones(self.count, dtype=torch.float64)
        rows = []
        for group in groups.unique().tolist():
            mine = (groups == group).nonzero().flatten()
            unit = int(self.units[mine[0]])
            within = [self.layers[g].name for g in sorted(frozenset.intersection(*conditions[number[unit]]))]
            name = self.network.unit_levels[unit][1].partition("[")[0].removesuffix(".weight")
            rows.append(("unit", name, mine, ", ".join(within)))
        for gate, layer in enumerate(self.layers):
            without = [other.name for other in self.layers if other is not layer and set(layer.arcs) < set(other.arcs)]
            rows.append(("layer", layer.name, torch.tensor([len(self.units) + gate]), ", ".join(without)))
        costs = [
            [round(complexity.whole[b] - float(complexity.expected(ones.index_fill(0, mine, 0.0), b))) for b in BUDGETS]
            for _, _, mine, _ in rows
        ]
        return pd.DataFrame(
            [(kind, name, len(mine), within, *cost) for (kind, name, mine, within), cost in zip(rows, costs)],
            columns=["kind", "name", "gates", "within", *BUDGETS],
        )


def gates(model: nn.Module, example: Any) -> Gates:
    """Find the gates of a model.

    Every unit has a gate (a channel, a feature, a head of attention) but those of a residual stream, where values are
    added, those that no layer reads, and one that is alone in its layer and needed by every path. Every branch has one
    that other paths go round.

    Parameters
    ----------
    model
        Any module that `topo.trace` can follow; it is not changed.
    example
        The tensor that the model takes, or a tuple of its arguments.

    Raises
    ------
    InputError
        When there is nothing to gate, the model cannot be traced, or it is compiled or wrapped for several devices.

    Examples
    --------
    >>> import topo
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> topo.pruning.variational.gates(net, torch.zeros(1, 4)).table()
       kind name  gates within  parameters  macs
    0  unit    0      3                 21    18
    """
    check_plain(model)
    found = place(model, coupled_channels(trace(model, example)))
    if not found.count:
        raise InputError(
            "there is nothing to gate: every layer of the model writes to an output or to a sum, and no branch has "
            "another path beside it."
        )
    return found


def place(
    model: nn.Module,
    found: CoupledChannels,
    allowed: Tensor | None = None,
    accept: Callable[[frozenset[str]], bool] = lambda parameters: True,
) -> Gates:
    """Put gates on the units `allowed`, bool (units,), and on the branches whose parameters `accept` takes."""
    network = Network(found)
    layers = tuple(branches(network, accept))
    free = free_units(network, layers)
    if allowed is not None:
        free &= allowed
    weights = [name for name in found.layers if isinstance(found.dag.state[name], nn.Parameter)]
    known = {id(value) for value in found.dag.state.values()}
    return Gates(
        network=network,
        units=free.nonzero().flatten(),
        layers=layers,
        prunable=tuple(dict.fromkeys([*prunable_parameters(model), *weights])),
        unread=sum(p.numel() for p in model.parameters() if id(p) not in known),
    )
