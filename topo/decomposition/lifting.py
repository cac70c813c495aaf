"""A network as the product of unit lower-triangular level factors: the DAG-DNN representation by lifting steps.

The idea is W.-L. Hwang's, *Representation and decomposition of functions in DAG-DNNs and structural network pruning*,
arXiv 2306.09707 (2023). **Of that paper only the abstract was available here.** From the abstract come: a network is a
directed acyclic graph with functions on its arcs; the level of a node is the largest number of hops from the input;
the functions of all sub-architectures derive from the network by a sequence of lower-triangular matrices, one a level,
each the transition of functions on sub-graphs up to the nodes of that level; the lifting structure of these matrices
makes structural pruning systematic for any architecture.

Everything else is an independent formulation that satisfies those sentences and is ours: the additive normal form
``z_v = sum of f_e(z_u)`` with fusion nodes, lazy factors ``L_k = I + N_k`` on the product of all node spaces, their
inverses as lifting steps, one shear an arc, the conventions for dead nodes, and the decompositions in
`topo.decomposition`. No criterion and no number of the paper is claimed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..dag.coarsening import coarsen
from ..dag.dag import Dag
from ..dag.example import Example
from ..dag.path_counts import PathCounts, checked_arcs, count_paths
from ..dag.tracing import traced
from ..errors import InputError, counted, unknown_name
from ..validation import whole_number
from .arc_labels import arc_labels, description
from .factor import Factor
from .normal_form import normal_form
from .state import BatchInterpreter, State, minus

__all__ = ["Lifting", "lift"]


def lift(model: nn.Module | Dag, example: Example | None = None, *, coarse: bool = True) -> Lifting:
    """Represent a network as the product of its level factors, T = L_L ... L_1.

    Parameters
    ----------
    model
        A module that `topo.trace` can follow, or a `Dag`.
    example
        The model's input, as for `topo.trace`; not needed with a `Dag`.
    coarse
        Whether chains of non-parametric operations are one arc (see `topo.dag.coarsen`), or every operation is its own.

    Returns
    -------
    Lifting
        With ``torch.equal(T(x), model(x))`` for the model in evaluation mode.

    Raises
    ------
    InputError
        When the model cannot be traced: its graph is cyclic or depends on values.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> class Block(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.f1, self.f2 = nn.Linear(2, 3), nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return torch.tanh(x + self.f2(self.f1(x)))
    >>> block = Block()
    >>> T = lift(block, torch.zeros(1, 2))
    >>> T
    Lifting(4 nodes, 4 arcs, 3 levels, 2 paths)
    >>> print(T.describe())
    level  node    is
        0  input   the input
        1  f1      f1(input)
        2  f2      input + f2(f1)
        3  output  tanh(f2)
    >>> T.factor(1).rows(), T.factor(2).rows()
    ({'f1': ['f1', 'I', '0', '0']}, {'f2': ['I', 'f2', 'I', '0']})
    >>> x = torch.randn(5, 2)
    >>> torch.equal(T(x), block(x))
    True
    """
    dag = traced(model, example, "topo.lift")
    return Lifting(coarsen(dag) if coarse else dag)


class Lifting:
    """The network as a map T of the product of all its node spaces: unit lower-triangular in the order of levels.

    With ``N_k(z)_v`` the sum of ``f_e(z_u)`` over the arcs e = (u -> v) if v is at level k, else 0:
    ``L_k = I + N_k``, ``T = L_L ... L_1``, and the network is ``y = pick_t T(embed_s x)``. The source s is the
    product of the inputs, the nodes of level 0; the sink t is the last node. Reading below level k and writing level
    k only, every L_k is inverted by ``I - N_k``, whatever its functions are.

    Entries are functions and stay so: ``f(a + b)`` is not ``f(a) + f(b)``, so the product is never multiplied out,
    except where that is exact (see `topo.decomposition`).

    Parameters
    ----------
    dag
        The network.

    Attributes
    ----------
    dag
        The network in additive normal form with one sink (see `topo.decomposition.normal_form`); arcs are named by
        their place in
        ``dag.arcs``.
    levels
        L, the number of factors.
    """

    def __init__(self, dag: Dag) -> None:
        self.original = dag
        self.dag = normal_form(dag)
        (self._sink,) = (output.node for output in self.dag.outputs if output.node is not None)
        self.levels = self.dag.depth
        nodes = self.dag.nodes
        self.order = tuple(sorted(range(len(nodes)), key=lambda i: (nodes[i].level, i)))
        self._factors = tuple(Factor(self.dag, k) for k in range(1, self.levels + 1))

    def __repr__(self) -> str:
        paths = count_paths(self.dag)
        count = counted(paths, "path") if paths < 10**12 else f"{paths:.2e} paths"
        parts = (len(self.dag.nodes), "node"), (len(self.dag.arcs), "arc"), (self.levels, "level")
        return f"Lifting({', '.join(counted(*part) for part in parts)}, {count})"

    @property
    def sink(self) -> int:
        """The index of t, the node that the network returns."""
        return self._sink

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What each arc is called: its steps from the last to the first, ``I`` for an identity."""
        return arc_labels(self.dag)

    def describe(self) -> str:
        """A table of all nodes: level, name, and the sum of functions that it is."""
        return description(self.dag, self.order, self.labels)

    # Evaluation

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The network's output, equal to the model's own in evaluation mode."""
        return self.pick(self.apply(self.embed(*inputs, **keywords)))

    def embed(self, *inputs: Any, **keywords: Any) -> State:
        """The state with the inputs at level 0 and zero above.

        Parameters
        ----------
        inputs, keywords
            The batch, as the model takes it.

        Returns
        -------
        State
            On as many samples.
        """
        tensors = self.dag.input_tensors(*inputs, **keywords)
        batch = BatchInterpreter(self.dag, tensors)
        return State(batch, self.order, dict(zip(self.dag.inputs, tensors, strict=True)))

    def pick(self, z: State) -> Any:
        """The network's output in the state `z`, put together as the model returns it.

        Parameters
        ----------
        z
            A state.

        Returns
        -------
        object
            In the form in which the model returns it.
        """
        return self.output_of(z.at(self.sink))

    def output_of(self, value: Any) -> Any:
        """The network's output, put together as the model returns it, when `value` is that of the sink.

        Parameters
        ----------
        value
            A tensor, or for several outputs a tuple of tensors.

        Returns
        -------
        object
            In the form in which the model returns it.
        """
        leaves = iter(value if self.dag.nodes[self.sink].kind == "product" else (value,))
        flat = [output.constant if output.node is None else next(leaves) for output in self.original.outputs]
        return self.original.rebuilt_output(flat)

    def state(self, *inputs: Any, level: int | None = None, **keywords: Any) -> State:
        """The state after factors 1 to `level` (all by default): final up to that level, zero above.

        Parameters
        ----------
        inputs, keywords
            The batch, as the model takes it.
        level
            From 0 to `levels`.

        Returns
        -------
        State
            One value for each node.
        """
        level = self.levels if level is None else whole_number("level", level, minimum=0, maximum=self.levels)
        z = self.embed(*inputs, **keywords)
        for factor in self._factors[:level]:
            z = factor(z)
        return z

    def apply(self, z: State) -> State:
        """T(z), for any state.

        Parameters
        ----------
        z
            A state.

        Returns
        -------
        State
            A new one.
        """
        for factor in self._factors:
            z = factor(z)
        return z

    def inverse(self, z: State) -> State:
        """The state that T takes to `z`: ``z - sum of N_k(z)``, every factor read at `z` itself.

        Parameters
        ----------
        z
            A state.

        Returns
        -------
        State
            A new one.
        """
        changes: dict[int, Any] = {}
        for factor in self._factors:
            changes |= {node: minus(z.at(node), value) for node, value in factor.added(z).items()}
        return z.written(changes)

    def state_of(self, values: Mapping[str, Any]) -> State:
        """A state from values by node name; the inputs must be among them, other nodes left out are zero.

        Parameters
        ----------
        values
            Name of a node -> its value, the samples along the first axis.

        Returns
        -------
        State
            On as many samples.

        Raises
        ------
        InputError
            When a name is unknown, or an input is missing.
        """
        index = {node.name: i for i, node in enumerate(self.dag.nodes)}
        for name in values:
            if name not in index:
                raise unknown_name("node", name, index)
        missing = [self.dag.nodes[i].name for i in self.dag.inputs if self.dag.nodes[i].name not in values]
        if missing:
            raise InputError(f"the state has no value for input {missing[0]!r}, so its number of samples is unknown.")
        batch = BatchInterpreter(self.dag, [values[self.dag.nodes[i].name] for i in self.dag.inputs])
        return State(batch, self.order, {index[name]: value for name, value in values.items()})

    # Factors

    def factor(self, level: int, arcs: Iterable[int] | None = None) -> Factor:
        """L_k; with `arcs`, only those of its shears (pruning an arc replaces its shear by the identity).

        Parameters
        ----------
        level
            From 1 to `levels`.
        arcs
            Places in ``dag.arcs`` of arcs that end at this level.

        Returns
        -------
        Factor
            A map of states.
        """
        whole_number("level", level, minimum=1, maximum=self.levels)
        return self._factors[level - 1] if arcs is None else Factor(self.dag, level, arcs)

    def shear(self, arc: int) -> Factor:
        """``I + N_e`` for one arc e, by its place in ``dag.arcs``; those of one level commute.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.

        Returns
        -------
        Factor
            A map of states.
        """
        (arc,) = checked_arcs(self.dag, (arc,))
        return Factor(self.dag, self.dag.nodes[self.dag.arcs[arc].target].level, (arc,))

    def path_counts(self, live: Iterable[int] | None = None) -> PathCounts:
        """Exact path counts with these arcs live, all by default.

        Parameters
        ----------
        live
            Places in ``dag.arcs``.

        Returns
        -------
        PathCounts
            A new one.
        """
        return PathCounts(self.dag, live)

    # Derivatives, for networks small enough to write them down

    def arc_jacobian(self, *inputs: Any, limit: int = 4096, **keywords: Any) -> Tensor:
        """J_N at T(embed x): the derivative of every node by the nodes it reads, strictly lower-triangular.

        Rows and columns are the entries of ``T.state(x).flatten()``; `limit` is the most of them.

        Parameters
        ----------
        inputs, keywords
            The batch, as the model takes it.
        limit
            The most rows.

        Returns
        -------
        Tensor
            (entries, entries).

        Raises
        ------
        InputError
            When there are more entries than `limit`, or nodes of whole numbers.
        """
        z = self.state(*inputs, **keywords)
        where = z.slices()
        size = sum(s.stop - s.start for s in where.values())
        if size > limit:
            raise InputError(
                f"the state has {size:,} entries, so its derivative would have {size:,} x {size:,}; for networks as "
                f"large use topo.decomposition, or raise limit (now {limit:,})."
            )
        z = State(z.batch, z.order, {i: pytree.tree_map(Tensor.detach, z.at(i)) for i in z.order})
        entries = [entry for i in z.order for entry in (z.at(i) if isinstance(z.at(i), tuple) else (z.at(i),))]
        if not all(entry.is_floating_point() for entry in entries):
            raise InputError("the network has nodes of whole numbers, which have no derivative.")
        jacobian = torch.zeros(size, size, dtype=entries[-1].dtype, device=entries[-1].device)
        for index in z.order:
            places = self.dag.places_into[index]
            if not places:
                continue
            sources = list(dict.fromkeys(self.dag.arcs[place].source for place in places))
            leaves = [pytree.tree_map(lambda t: t.clone().requires_grad_(), z.at(u)) for u in sources]
            read = dict(zip(sources, leaves, strict=True))
            value = z.batch.brought(index, places, read.__getitem__)
            flat = torch.cat([t.reshape(-1) for t in (value if isinstance(value, tuple) else (value,))])
            variables = pytree.tree_leaves(leaves)
            row = where[self.dag.nodes[index].name]
            columns = [torch.arange(size, device=flat.device)[where[self.dag.nodes[u].name]] for u in sources]
            for offset in range(flat.numel()):
                if flat[offset].requires_grad:
                    pulled = torch.autograd.grad(flat[offset], variables, retain_graph=True, materialize_grads=True)
                    jacobian[row.start + offset, torch.cat(columns)] = torch.cat([g.reshape(-1) for g in pulled])
        return jacobian

    def jacobian(self, *inputs: Any, limit: int = 4096, **keywords: Any) -> Tensor:
        """The derivative of T at ``embed(x)``: ``(I - J_N)^-1``, unit lower-triangular, so its determinant is 1.

        Parameters
        ----------
        inputs, limit, keywords
            As for `arc_jacobian`.

        Returns
        -------
        Tensor
            (entries, entries).

        Examples
        --------
        >>> import torch
        >>> T = lift(torch.nn.Linear(2, 1, bias=False), torch.zeros(1, 2))
        >>> _ = torch.nn.init.constant_(T.dag.state["weight"], 0.5)
        >>> T.jacobian(torch.zeros(1, 2)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 1.0]]
        """
        arcs = self.arc_jacobian(*inputs, limit=limit, **keywords)
        unit = torch.eye(len(arcs), dtype=arcs.dtype, device=arcs.device)
        return torch.linalg.solve_triangular(unit - arcs, unit, upper=False, unitriangular=True)
