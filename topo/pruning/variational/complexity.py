"""What a network with random gates is expected to cost, exactly.

An element of a parameter remains when a product of gates is 1: those of the units on its axes and the layer gates of
`SurvivalConditions`. With independent gates the probability of that is the same product of theta, and elements with the
same layer gates add up to rectangles, coefficient * prod(theta_layer) * sum(theta along one axis) * sum(theta along the
other): theta_l s (a1 n_in + a2 n_out) of a basic block, theta_l (a1 n_in s1 + a2 s1 s2 + a3 s2 n_out) of a bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...validation import one_of
from .gates import Gates
from .survival_polynomials import ALWAYS, Condition, both, polynomial

__all__ = ["COMPLEXITIES", "Complexity"]

COMPLEXITIES = ("parameters", "macs")


class _Terms(NamedTuple):
    """The terms of a complexity, on one device: which gates are members of which profile and how often, the two
    profiles of every term, the layers that it takes one of and all of, and the coefficients asked for so far."""

    members: tuple[Tensor, Tensor, Tensor]
    first: Tensor
    second: Tensor
    either_columns: list[list[Tensor]]
    layer_columns: list[Tensor]
    coefficients: dict[str | float, Tensor]


class Complexity:
    """Expected parameters and multiply-accumulates under independent gates, linear in the probability of each.

    Parameters are all of them, biases and norms too, and multiply-accumulates those of `topo.cost`. For gates of 0 and
    1 the expectation is what `topo.cost` says of the network that `topo.compact` makes, as long as every group keeps a
    unit.

    Parameters
    ----------
    gates
        The gates of a network.

    Attributes
    ----------
    full_cost
        The cost of the network with all gates open, by budget.

    Examples
    --------
    >>> import topo
    >>> from topo.pruning.variational import Complexity, find_gates
    >>> complexity = Complexity(find_gates(topo.models.build("resnet20"), (3, 32, 32)))
    >>> complexity.full_cost
    {'parameters': 269722.0, 'macs': 40551040.0}
    >>> float(complexity.relative(torch.ones(complexity.gates.count), alpha=0.5))
    1.0
    """

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self._profile_numbers: dict[bytes, int] = {}
        self._profiles: list[tuple[np.ndarray, np.ndarray]] = []
        terms: dict[tuple[int, int, frozenset[int | Condition]], list[float]] = {}
        for name, condition, uses in self._parameters_and_uses():
            for first, second, of_units in self._rectangles(name):
                for where, times, budget in ((condition, 1, 0), *((used, positions, 1) for used, positions in uses)):
                    for layers, number in polynomial(both(where, of_units)).items():
                        terms.setdefault((first, second, layers), [0, 0])[budget] += times * number
        self._compile(terms)
        ones = torch.ones(gates.count, dtype=torch.float64)
        self.full_cost = {budget: float(self.expected(ones, budget)) for budget in COMPLEXITIES}

    def expected(self, theta: Tensor, budget: str = "parameters") -> Tensor:
        """The expected cost, in parameters or multiply-accumulates of one sample.

        Parameters
        ----------
        theta
            The probability of each gate to be open, (count,); gradients pass. A vector of 0 and 1 gives the cost of
            that network.
        budget
            ``"parameters"`` or ``"macs"``.

        Returns
        -------
        Tensor
            float64, of no dimension.

        Raises
        ------
        InputError
            The budget is unknown.
        """
        row = COMPLEXITIES.index(one_of("budget", budget, COMPLEXITIES))
        return self._sum(theta, budget, lambda: self._coefficients[row])

    def relative(self, theta: Tensor, alpha: float) -> Tensor:
        """The expected share of the full network's cost, float64.

        Parameters
        ----------
        theta
            As in `expected`.
        alpha
            The weight of the share of multiply-accumulates; that of the share of parameters is 1 - alpha.

        Returns
        -------
        Tensor
            float64, of no dimension.
        """
        return self._sum(theta, alpha, lambda: self._relative_coefficients(alpha))

    def gradient(self, theta: Tensor, alpha: float) -> Tensor:
        """The derivative of `relative` in each gate, float64 (count,): the relative cost of the gate's structure given
        the probabilities of the others.

        Parameters
        ----------
        theta
            Probabilities that gates are open, (count,).
        alpha
            As for `relative`.

        Returns
        -------
        Tensor
            float64, (count,).
        """
        theta = theta.detach().double().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.relative(theta, alpha), theta)[0]

    def table(self) -> pd.DataFrame:
        """The gates with what they cost, one row for every group of gated units and every layer gate.

        Returns
        -------
        DataFrame
            kind (``"unit"`` or ``"layer"``), name (of the layer that writes the units; of the branch), gates, within
            (the layer gates without which the units are removed), and how many parameters and macs go with them all.

        Examples
        --------
        >>> from topo.pruning.variational import find_gates
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> Complexity(find_gates(net, (4,))).table()
           kind name  gates within  parameters  macs
        0  unit    0      3                 21    18
        """
        gates, layers = self.gates, self.gates.layers
        group_of_gate = gates.channels.groups()[gates.units]
        number, conditions = gates.survival.units
        rows: list[tuple[str, str, Tensor, str]] = []
        for group in group_of_gate.unique().tolist():
            members = (group_of_gate == group).nonzero().flatten()
            unit = int(gates.units[members[0]])
            within = [layers[g].name for g in sorted(frozenset.intersection(*conditions[number[unit]]))]
            rows.append(("unit", gates.names[int(members[0])], members, ", ".join(within)))
        for index, layer in enumerate(layers):
            around = [other.name for other in layers if other is not layer and set(layer.arcs) < set(other.arcs)]
            rows.append(("layer", layer.name, torch.tensor([len(gates.units) + index]), ", ".join(around)))
        return pd.DataFrame(
            [(kind, name, len(members), within, *self._saved_by(members)) for kind, name, members, within in rows],
            columns=["kind", "name", "gates", "within", *COMPLEXITIES],
        )

    def _saved_by(self, closed: Tensor) -> list[int]:
        """How many parameters and macs the full network loses when these gates close."""
        theta = torch.ones(self.gates.count, dtype=torch.float64).index_fill(0, closed, 0.0)
        return [round(self.full_cost[budget] - float(self.expected(theta, budget))) for budget in COMPLEXITIES]

    def _relative_coefficients(self, alpha: float) -> Tensor:
        parameters, macs = self._coefficients
        return macs * (alpha / self.full_cost["macs"]) + parameters * ((1 - alpha) / self.full_cost["parameters"])

    def _sum(self, theta: Tensor, key: str | float, coefficients: Callable[[], Tensor]) -> Tensor:
        """The sum of all terms with these coefficients, which are kept under a key."""
        theta = theta.double()
        terms = self._terms_on(theta.device)
        if key not in terms.coefficients:
            terms.coefficients[key] = coefficients().to(theta.device)
        probabilities = torch.cat([theta, theta.new_ones(1), theta.new_zeros(1)])
        gate, profile, times = terms.members
        sums = theta.new_zeros(len(self._profiles)).index_add(0, profile, probabilities[gate] * times)
        if terms.either_columns:
            none = 1 - _product(probabilities, terms.either_columns[0])
            for branches in terms.either_columns[1:]:
                none = none * (1 - _product(probabilities, branches))
            probabilities = torch.cat([probabilities, 1 - none])
        layer_products = _product(probabilities, terms.layer_columns)
        return (terms.coefficients[key] * sums[terms.first] * sums[terms.second] * layer_products).sum()

    def _terms_on(self, device: torch.device) -> _Terms:
        if device not in self._terms:
            self._terms[device] = pytree.tree_map_only(Tensor, lambda index: index.to(device), self._compiled)
        joined, first, second, either, layers = self._terms[device]
        return _Terms(joined, first, second, either, layers, self._kept_coefficients.setdefault(device, {}))

    def _compile(self, terms: dict[tuple[int, int, frozenset[int | Condition]], list[float]]) -> None:
        """Turn terms and profiles into index tensors. Behind the gates are numbered one that is always open, one that
        never is, and the conditions that hold when one of several branches is open."""
        always, never, first_layer = self.gates.count, self.gates.count + 1, len(self.gates.units)
        members, times = zip(*self._profiles, strict=True)
        lengths = torch.tensor([len(gates) for gates in members])
        joined = (
            torch.from_numpy(np.concatenate(members)),
            torch.repeat_interleave(lengths),
            torch.from_numpy(np.concatenate(times)).double(),
        )
        first, second, layers = zip(*terms, strict=True)
        either = list(dict.fromkeys(factor for factors in layers for factor in factors if not isinstance(factor, int)))
        number = {condition: never + 1 + index for index, condition in enumerate(either)}
        either_columns = [
            _columns(
                [[first_layer + g for g in sets[k]] if k < len(sets) else [never] for sets in map(list, either)], always
            )
            for k in range(max(map(len, either), default=0))
        ]
        factors_of_terms = [
            [first_layer + f if isinstance(f, int) else number[f] for f in factors] for factors in layers
        ]
        layer_columns = _columns(factors_of_terms, always)
        self._compiled = (joined, torch.tensor(first), torch.tensor(second), either_columns, layer_columns)
        self._terms: dict[torch.device, Any] = {}
        self._kept_coefficients: dict[torch.device, dict[str | float, Tensor]] = {}
        self._coefficients = torch.tensor(list(terms.values()), dtype=torch.float64).T

    def _parameters_and_uses(self) -> Iterator[tuple[str | None, Condition, list[tuple[Condition, float]]]]:
        """Every parameter with the condition under which it remains and, for each use of it, the condition under which
        that remains and how often it multiplies; None stands for all parameters that no operation reads."""
        survival = self.gates.survival
        for name, value in self.gates.channels.dag.state.items():
            if isinstance(value, nn.Parameter):
                uses = survival.network.element_costs.uses.get(name, ())
                yield name, survival.parameter(name), [(survival.arcs[use.place], use.positions) for use in uses]
        if self.gates.unread_parameters:
            yield None, ALWAYS, []

    def _rectangles(self, name: str | None) -> Iterator[tuple[int, int, Condition]]:
        """The parts of a parameter whose elements remain under one condition on layers, as pairs of profiles."""
        always_open = (np.array([self.gates.count]), np.array([1]), ALWAYS)
        sides: list[list[tuple[np.ndarray, np.ndarray, Condition]]] = []
        if name is None:
            rest = self.gates.unread_parameters
        else:
            axes = [
                (axis, index) for axis, index in enumerate(self.gates.channels.axes.get(name, ())) if (index >= 0).any()
            ]
            sides = [list(self._axis_parts(name, axis, index.numpy())) for axis, index in axes]
            rest = self.gates.channels.dag.state[name].numel() // math.prod(len(index) for _, index in axes)
        rows, columns = [*sides, [always_open], [always_open]][:2]
        for (row, row_times, row_condition), (column, column_times, column_condition) in product(rows, columns):
            condition = both(row_condition, column_condition)
            yield self._profile(row, row_times * rest), self._profile(column, column_times), condition
            # A unit on both axes is in an element of the diagonal once, not squared.
            shared, in_row, in_column = np.intersect1d(row, column, return_indices=True)
            for gate, number in zip(shared, row_times[in_row] * column_times[in_column], strict=True):
                if gate < self.gates.count:
                    closed = self._profile(np.array([self.gates.count, gate]), np.array([1, -1]))
                    yield self._profile(np.array([gate]), np.array([number * rest])), closed, condition

    def _axis_parts(
        self, name: str, axis: int, index: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Condition]]:
        """The parts of an axis by the condition on layers under which their indices remain: the gates that they
        belong to, how many indices each of these has, and the condition."""
        survival, channels = self.gates.survival, self.gates.channels
        number, conditions = survival.units
        slots = survival.columns(name) if channels.is_read_along(name, axis) else []
        slot_of_index = np.zeros(len(index), dtype=np.int64)
        for slot, (_, columns) in enumerate(slots, start=1):
            slot_of_index[columns] = slot
        kinds, kind_of_index = np.unique(
            np.stack([np.append(number, -1)[index], slot_of_index]), axis=1, return_inverse=True
        )
        parts: dict[Condition, np.ndarray] = {}
        for kind, (group, slot) in enumerate(kinds.T):
            unit = conditions[group] if group >= 0 else ALWAYS
            condition = both(unit, slots[slot - 1][0]) if slot else unit
            members = kind_of_index.reshape(-1) == kind
            parts[condition] = parts[condition] | members if condition in parts else members
        gate = self.gates.gate_of_unit.numpy()
        for condition, members in parts.items():
            yield *np.unique(gate[index[members]], return_counts=True), condition

    def _profile(self, gates: np.ndarray, times: np.ndarray) -> int:
        """The number of a profile: a sum of gates, each so many times."""
        key = gates.tobytes() + b"|" + times.tobytes()
        if key not in self._profile_numbers:
            self._profile_numbers[key] = len(self._profiles)
            self._profiles.append((gates, times))
        return self._profile_numbers[key]


def _columns(rows: list[list[int]], fill: int) -> list[Tensor]:
    """Rows of different lengths, filled up to the longest, as their columns."""
    width = max(map(len, rows))
    return list(torch.tensor([row + [fill] * (width - len(row)) for row in rows], dtype=torch.int64).T)


def _product(probabilities: Tensor, columns: list[Tensor]) -> Tensor:
    """The product of the probabilities in each row; column by column, for the derivative of a product along an axis is
    slow, and must hold where probabilities are 0."""
    result = probabilities.new_ones(())
    for column in columns:
        result = result * probabilities[column]
    return result
