"""What a network with random gates is expected to cost, exactly.

An element of a parameter is alive when a product of gates is 1: those of the units on its axes and the layer gates of
`Survival`. With independent gates its chance is the same product of probabilities, and elements with the same layer
gates add up to rectangles, coefficient * prod(theta_layer) * sum(theta along one axis) * sum(theta along the other):
theta_l s (a1 n_in + a2 n_out) of a basic block, theta_l (a1 n_in s1 + a2 s1 s2 + a3 s2 n_out) of a bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import unknown_name
from .survival_polynomials import ALWAYS, Condition, both, polynomial

if TYPE_CHECKING:
    from .gates import Gates

__all__ = ["BUDGETS", "Complexity"]

BUDGETS = ("parameters", "macs")


class Complexity:
    """Expected parameters and multiply-accumulates under independent gates, linear in the chance of each.

    Parameters are all of them, biases and norms too, and multiply-accumulates those of `topo.cost`; what an expected
    network costs is what `topo.compact` leaves of it, while no group is without a unit.

    Attributes
    ----------
    whole
        What the network costs with all gates open, by budget.

    Examples
    --------
    >>> import topo
    >>> from topo.pruning.variational import Complexity, gates
    >>> found = gates(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    >>> complexity = Complexity(found)
    >>> complexity.whole
    {'parameters': 269722.0, 'macs': 40551040.0}
    >>> float(complexity.relative(torch.ones(found.count), alpha=0.5))
    1.0
    """

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self._profiles: dict[bytes, int] = {}
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        terms: dict[tuple[int, int, frozenset[Any]], list[int]] = {}
        for name, alive, uses in self._counted():
            for first, second, condition in self._rectangles(name):
                for where, times, budget in ((alive, 1, 0), *((used, positions, 1) for used, positions in uses)):
                    for layers, number in polynomial(both(where, condition)).items():
                        terms.setdefault((first, second, layers), [0, 0])[budget] += times * number
        self._compile(terms)
        ones = torch.ones(gates.count, dtype=torch.float64)
        self.whole = {budget: float(self.expected(ones, budget)) for budget in BUDGETS}

    def expected(self, theta: Tensor, budget: str = "parameters") -> Tensor:
        """The expected cost, in parameters or multiply-accumulates of one sample.

        Parameters
        ----------
        theta
            The chance of each gate to be open, (count,); gradients pass. A vector of 0 and 1 gives the cost of that
            network.
        budget
            ``"parameters"`` or ``"macs"``.

        Returns
        -------
        Tensor
            float64, of no dimension.
        """
        if budget not in BUDGETS:
            raise unknown_name("budget", budget, BUDGETS)
        return self._sum(theta, self._coefficients[BUDGETS.index(budget)])

    def relative(self, theta: Tensor, alpha: float) -> Tensor:
        """alpha * macs / macs of the whole + (1 - alpha) * parameters / parameters of the whole; float64."""
        return self._sum(theta, self._blend(alpha))

    def gradient(self, theta: Tensor, alpha: float) -> Tensor:
        """The derivative of `relative` in each gate, float64 (count,): what its structure costs while the others are
        as likely as theta says."""
        theta = theta.detach().double().cpu().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.relative(theta, alpha), theta)[0]

    def _blend(self, alpha: float) -> Tensor:
        parameters, macs = self._coefficients
        return macs * (alpha / self.whole["macs"]) + parameters * ((1 - alpha) / self.whole["parameters"])

    def _sum(self, theta: Tensor, coefficients: Tensor) -> Tensor:
        theta = theta.double().cpu()
        chances = torch.cat([theta, theta.new_ones(1), theta.new_zeros(1)])
        gate, profile, times = self._members
        sums = theta.new_zeros(len(self._rows)).index_add(0, profile, chances[gate] * times)
        if self._some:
            none = 1.0
            for branches in self._some:
                none = none * (1 - _product(chances, branches))
            chances = torch.cat([chances, 1 - none])
        return (coefficients * sums[self._first] * sums[self._second] * _product(chances, self._closing)).sum()

    def _compile(self, terms: dict[tuple[int, int, frozenset[Any]], list[int]]) -> None:
        """Terms and profiles as index tensors. After the gates come one that is always open, one that is never, and
        the conditions that hold when some branch is open."""
        always, never, layer = self.gates.count, self.gates.count + 1, len(self.gates.units)
        members, times = zip(*self._rows, strict=True)
        lengths = torch.tensor([len(gates) for gates in members])
        self._members = (
            torch.from_numpy(np.concatenate(members)),
            torch.repeat_interleave(lengths),
            torch.from_numpy(np.concatenate(times)).double(),
        )
        first, second, layers = zip(*terms, strict=True)
        self._first, self._second = torch.tensor(first), torch.tensor(second)
        some = {factor: None for factors in layers for factor in factors if not isinstance(factor, int)}
        number = {condition: never + 1 + place for place, condition in enumerate(some)}
        most = max(map(len, some), default=0)
        self._some = [
            _columns([[layer + g for g in sets[k]] if k < len(sets) else [never] for sets in map(list, some)], always)
            for k in range(most)
        ]
        closing = [[layer + f if isinstance(f, int) else number[f] for f in factors] for factors in layers]
        self._closing = _columns(closing, always)
        self._coefficients = torch.tensor(list(terms.values()), dtype=torch.float64).T

    def _counted(self) -> Iterator[tuple[str | None, Condition, list[tuple[Condition, int]]]]:
        """Every parameter, when it is alive, and for each use of it when that is, and how often it multiplies."""
        survival = self.gates.survival
        for name, value in self.gates.found.dag.state.items():
            if isinstance(value, nn.Parameter):
                uses = [(survival.arcs[arc], positions) for arc, positions in survival.uses.get(name, ())]
                yield name, survival.parameter(name), uses
        if self.gates.unread:
            yield None, ALWAYS, []

    def _rectangles(self, name: str | None) -> Iterator[tuple[int, int, Condition]]:
        """The parts of a parameter whose elements are left under one condition on layers, as pairs of profiles."""
        found = self.gates.found
        size = self.gates.unread if name is None else found.dag.state[name].numel()
        axes = [(axis, index) for axis, index in enumerate(found.axes.get(name, ())) if (index >= 0).any()]
        sides = [list(self._parts(name, axis, index.numpy())) for axis, index in axes]
        point = (np.array([self.gates.count]), np.array([1]), ALWAYS)
        left, right = [*sides, [point], [point]][:2]
        rest = size // math.prod(len(index) for _, index in axes)
        for (here, times, one), (there, others, other) in product(left, right):
            condition = both(one, other)
            yield self._profile(here, times * rest), self._profile(there, others), condition
            # A unit on both axes is in an element of the diagonal once, not squared.
            shared, mine, its = np.intersect1d(here, there, return_indices=True)
            for gate, number in zip(shared, times[mine] * others[its], strict=True):
                if gate < self.gates.count:
                    closed = self._profile(np.array([self.gates.count, gate]), np.array([1, -1]))
                    yield self._profile(np.array([gate]), np.array([number * rest])), closed, condition

    def _parts(self, name: str, axis: int, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, Condition]]:
        """The parts of an axis by the condition on layers under which their indices are left: the gates that they
        belong to, how many indices each of these has, and the condition."""
        survival, found = self.gates.survival, self.gates.found
        number, conditions = survival.units
        slots = survival.columns(name) if found.is_read_along(name, axis) else []
        slot = np.zeros(len(index), dtype=np.int64)
        for place, (_, columns) in enumerate(slots, start=1):
            slot[columns] = place
        kinds, kind = np.unique(np.stack([np.append(number, -1)[index], slot]), axis=1, return_inverse=True)
        parts: dict[Condition, np.ndarray] = {}
        for place, (group, filled) in enumerate(kinds.T):
            unit = conditions[group] if group >= 0 else ALWAYS
            condition = both(unit, slots[filled - 1][0]) if filled else unit
            mine = kind.reshape(-1) == place
            parts[condition] = parts[condition] | mine if condition in parts else mine
        gate = self.gates.of_unit.numpy()
        for condition, mine in parts.items():
            yield *np.unique(gate[index[mine]], return_counts=True), condition

    def _profile(self, gates: np.ndarray, times: np.ndarray) -> int:
        """The number of a sum of gates, each so many times."""
        key = gates.tobytes() + b"|" + times.tobytes()
        if key not in self._profiles:
            self._profiles[key] = len(self._rows)
            self._rows.append((gates, times))
        return self._profiles[key]


def _columns(rows: list[list[int]], fill: int) -> list[Tensor]:
    """Rows of different lengths, filled up, as their columns."""
    width = max(map(len, rows))
    return list(torch.tensor([row + [fill] * (width - len(row)) for row in rows], dtype=torch.int64).T)


def _product(chances: Tensor, columns: list[Tensor]) -> Tensor:
    """Column by column: the derivative of a product along an axis is slow, and must hold where chances are 0."""
    found: Any = 1.0
    for column in columns:
        found = found * chances[column]
    return found
