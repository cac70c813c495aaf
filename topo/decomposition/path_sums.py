"""A network at a fixed input as sums over paths: exact for un-rectified (piecewise linear) networks and for Jacobians.

Multiplying non-linear factors out is not allowed, multiplying linear ones is. At a fixed input x every arc has a
derivative J_e at the value it reads, and then

* for any differentiable network, the Jacobian is the sum over all paths of the product of their J_e;
* for a piecewise linear network (a ReLU being a diagonal matrix of zeros and ones at x, as in W.-L. Hwang's
  un-rectifying analysis, arXiv 2206.05997), each arc is ``f_e(z) = J_e z + b_e`` near the value it reads, and the
  output is the sum over paths from the input, of products applied to x, plus that over paths from a constant b_e;
* for a linear network the J_e do not depend on x.

Sums over all paths with one count in common (how many take a residual branch) come from one backward sweep, so they
need no list of paths. The formulation is ours (see `topo.decomposition.lifting`).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..dag.blocks import residual_blocks
from ..dag.operators import is_piecewise_affine
from ..dag.path_counts import count_paths_by_weight
from ..errors import InputError, counted
from .lifting import Lifting

__all__ = ["Linearisation", "PathTerm", "jacobian_by_block", "jacobian_by_branches", "unrectified_terms"]


class Linearisation:
    """The derivatives of all arcs at the values they read when the network runs on one batch.

    Parameters
    ----------
    lifting
        The network.
    inputs
        What it runs on.

    Attributes
    ----------
    z
        The state of the network, detached.
    """

    def __init__(self, lifting: Lifting, *inputs: Any) -> None:
        self.lifting, self.dag = lifting, lifting.dag
        with torch.no_grad():
            self.z = lifting.state(*inputs)
        self.batch = self.z.batch

    def function(self, arc: int) -> Callable[[Any], Any]:
        """What an arc alone brings its target, as a function of its source: at a fusion node, its slot with zeros.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.

        Returns
        -------
        callable
            From a value of its source to a value of its target.
        """
        return lambda value: self.batch.brought(self.dag.arcs[arc].target, (arc,), lambda _: value)

    def push(self, arc: int, tangent: Any) -> Any:
        """J_e v: where the arc takes a change `tangent` of its source.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.
        tangent
            Of the shape of its source's value.

        Returns
        -------
        Tensor or tuple
            Of the shape of its target's value.
        """
        at = self.z.at(self.dag.arcs[arc].source)
        return torch.func.jvp(self.function(arc), (at,), (tangent,))[1]

    def constant(self, arc: int) -> Any:
        """b_e = f_e(z) - J_e z.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.

        Returns
        -------
        Tensor or tuple
            Of the shape of its target's value.
        """
        at = self.z.at(self.dag.arcs[arc].source)
        pair: Any = torch.func.jvp(self.function(arc), (at,), (at,))
        value, linear = pair
        return pytree.tree_map(torch.sub, value, linear)

    def pull(self, arc: int, cotangents: Any) -> Any:
        """``w^T J_e`` for several w at once: `cotangents` and the result have an axis of them in front.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.
        cotangents
            (count, ...), then the shape of its target's value.

        Returns
        -------
        Tensor or tuple
            (count, ...), then the shape of its source's value.
        """
        one = self.dag.arcs[arc]
        if not one.steps and self.dag.nodes[one.target].kind == "sum":
            return cotangents
        at = self.z.at(one.source)
        leaves = pytree.tree_map(lambda t: t.detach().requires_grad_(), at)
        with torch.enable_grad():
            value = self.function(arc)(leaves)
        ends = [t for t in pytree.tree_leaves((value, cotangents)) if isinstance(t, Tensor)]
        half = len(ends) // 2
        joined = [(v, w) for v, w in zip(ends[:half], ends[half:], strict=True) if v.requires_grad]
        variables = pytree.tree_leaves(leaves)
        gradients = torch.autograd.grad(
            [v for v, _ in joined], variables, [w for _, w in joined], is_grads_batched=True, allow_unused=True
        )
        count = len(ends[half])
        filled = [
            f if f is not None else t.new_zeros((count, *t.shape)) for f, t in zip(gradients, variables, strict=True)
        ]
        return tuple(filled) if isinstance(at, tuple) else filled[0]

    def along(self, path: Sequence[int], tangent: Any) -> Any:
        """The product of the derivatives along `path`, applied to a change of where it starts.

        Parameters
        ----------
        path
            Places in ``dag.arcs``, from the first arc on.
        tangent
            Of the shape of the value that the path starts from.

        Returns
        -------
        Tensor or tuple
            Of the shape of the value that the path ends at.
        """
        for arc in path:
            tangent = self.push(arc, tangent)
        return tangent

    def seeds(self, outputs: Sequence[int] | None = None, limit: int = 256) -> Any:
        """One cotangent of the sink per output element of a sample: ones there for all samples at once.

        Parameters
        ----------
        outputs
            Elements of a sample's flattened output; all by default.
        limit
            The most of them.

        Returns
        -------
        Tensor or tuple
            (outputs, ...), then the shape of the sink's value.

        Raises
        ------
        InputError
            When there are more than `limit`, or one does not exist.
        """
        value = self.z.at(self.lifting.sink)
        entries = value if isinstance(value, tuple) else (value,)
        sizes = [entry[0].numel() for entry in entries]
        chosen = range(sum(sizes)) if outputs is None else list(outputs)
        if len(chosen) > limit:
            raise InputError(
                f"the network has {counted(len(chosen), 'output')} a sample, each of which takes a sweep; choose at "
                f"most {limit} with outputs=."
            )
        wrong = [o for o in chosen if not 0 <= o < sum(sizes)]
        if wrong:
            raise InputError(f"there is no output {wrong[0]}; a sample has outputs 0 to {sum(sizes) - 1}.")
        rows = torch.zeros(len(chosen), sum(sizes), dtype=entries[0].dtype, device=entries[0].device)
        rows[range(len(chosen)), list(chosen)] = 1
        made = [
            part.reshape(len(chosen), 1, *entry.shape[1:]).expand(-1, *entry.shape).contiguous()
            for part, entry in zip(rows.split(sizes, dim=1), entries, strict=True)
        ]
        return tuple(made) if isinstance(value, tuple) else made[0]

    def jacobians_by_count(
        self, weight: Mapping[int, int], *, outputs: Sequence[int] | None = None, live: Iterable[int] | None = None
    ) -> dict[int, tuple[Tensor, ...]]:
        """The Jacobian as a sum over paths, those with the same count together.

        Parameters
        ----------
        weight
            What an arc adds to the count of a path, by the arc's place; arcs left out add nothing.
        outputs
            Elements of a sample's flattened output; all by default.
        live
            Arcs that paths may take; all by default.

        Returns
        -------
        dict
            Count -> for every input, a tensor (outputs, ...), then the shape of the input: entry [o, n, ...] is the
            derivative of output o of sample n by the input of sample n, samples being independent of each other. Their
            sum over all counts is the Jacobian.
        """
        seeds = self.seeds(outputs)
        kept = self.lifting.path_counts(live).live
        leaving: dict[int, list[int]] = defaultdict(list)
        for arc in kept:
            leaving[self.dag.arcs[arc].source].append(arc)
        swept: dict[int, dict[int, Any]] = defaultdict(dict)
        swept[self.lifting.sink][0] = seeds
        for node in sorted(leaving, reverse=True):
            for arc in leaving[node]:
                after = swept[self.dag.arcs[arc].target]
                stacked = pytree.tree_map(lambda *parts: torch.cat(parts), *after.values())
                pulled = self.pull(arc, stacked)
                parts = [t.chunk(len(after)) for t in pytree.tree_leaves(pulled)]
                for count, *leaves in zip(after, *parts, strict=True):
                    part = tuple(leaves) if isinstance(pulled, tuple) else leaves[0]
                    sums, total = swept[node], count + weight.get(arc, 0)
                    sums[total] = part if total not in sums else pytree.tree_map(torch.add, sums[total], part)
        jacobians: dict[int, tuple[Tensor, ...]] = {}
        counts = sorted({count for index in self.dag.inputs for count in swept[index]})
        rows = len(pytree.tree_leaves(seeds)[0])
        for count in counts:
            zero = {i: self.z.at(i).new_zeros((rows, *self.z.at(i).shape)) for i in self.dag.inputs}
            jacobians[count] = tuple(swept[i].get(count, zero[i]) for i in self.dag.inputs)
        return jacobians


@dataclass(frozen=True, eq=False)
class PathTerm:
    """What one path adds to the output.

    Attributes
    ----------
    arcs
        The path. One from a constant starts with the arc whose constant it is.
    origin
        ``"input"`` or ``"constant"``.
    value
        The addend of the output: a tensor, or a tuple of them when the network has several outputs.
    """

    arcs: tuple[int, ...]
    origin: str
    value: Any


def unrectified_terms(lifting: Lifting, *inputs: Any, limit: int = 20_000) -> list[PathTerm]:
    """The output of a piecewise linear network as a sum over paths, exact at this input.

    Parameters
    ----------
    lifting
        A network of linear operations, ReLU and the like, max-pooling; no products, sigmoids, softmax or attention.
    inputs
        What it runs on.
    limit
        The most terms.

    Returns
    -------
    list of PathTerm
        Their values add up to the network's output: one term a path from the input, and one for every path from the
        constant (bias, shift of a batch norm) of an arc.

    Raises
    ------
    InputError
        When an operation is not piecewise linear, or there are more than `limit` terms.

    Examples
    --------
    >>> import torch, topo
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(5, 3)
    >>> terms = unrectified_terms(topo.lift(model, x), x)
    >>> [(term.arcs, term.origin) for term in terms]
    [((0, 1), 'input'), ((0, 1), 'constant'), ((1,), 'constant')]
    >>> torch.allclose(sum(term.value for term in terms), model(x), atol=1e-6)
    True
    """
    check_piecewise_linear(lifting)
    counts = lifting.path_counts()
    dag = lifting.dag
    with torch.no_grad():
        at = Linearisation(lifting, *inputs)
        constants = {}
        for arc in counts.live:
            value = at.constant(arc) if dag.arcs[arc].steps or _has_constant(lifting, arc) else None
            if value is not None and any(bool(t.any()) for t in pytree.tree_leaves(value)):
                constants[arc] = value
        number = counts.total + sum(counts.backward[dag.arcs[arc].target] for arc in constants)
        if number > limit:
            raise InputError(
                f"the output is a sum of {number:,} path terms, more than {limit:,}; for a network as deep use "
                "jacobian_by_branches, or raise the limit."
            )
        leaving: dict[int, list[int]] = defaultdict(list)
        for arc in counts.live:
            leaving[dag.arcs[arc].source].append(arc)

        def walk(node: int, value: Any, path: tuple[int, ...], origin: str) -> Iterator[PathTerm]:
            waiting = [(node, value, path)]
            while waiting:
                node, value, path = waiting.pop()
                if node == lifting.sink:
                    yield PathTerm(path, origin, value)
                for arc in reversed(leaving[node]):
                    waiting.append((dag.arcs[arc].target, at.push(arc, value), (*path, arc)))

        terms = [term for i in dag.inputs for term in walk(i, at.z.at(i), (), "input")]
        for arc, value in constants.items():
            terms += walk(dag.arcs[arc].target, value, (arc,), "constant")
    return terms


def _has_constant(lifting: Lifting, arc: int) -> bool:
    combine = lifting.dag.nodes[lifting.dag.arcs[arc].target].combine
    return combine is not None and bool(combine.values)


def check_piecewise_linear(lifting: Lifting) -> None:
    """Raise `InputError` for the first operation that is not piecewise linear in what it reads."""
    for arc in lifting.dag.arcs:
        for step in arc.steps:
            if not is_piecewise_affine(step):
                where = f"module {step.module!r}" if step.module else "the model"
                raise InputError(
                    f"{where} applies {step.name!r}, which is not piecewise linear, so the output is no exact sum over "
                    "paths; use jacobian_by_branches (the Jacobian always is one) or moebius_decomposition."
                )


def jacobian_by_branches(
    lifting: Lifting, *inputs: Any, outputs: Sequence[int] | None = None, weight: Mapping[int, int] | None = None
) -> pd.DataFrame:
    """The Jacobian split into paths that take 0, 1, 2, ... residual branches; exact, however many paths there are.

    Parameters
    ----------
    lifting
        Any differentiable network; without residual blocks all paths are in one row.
    inputs
        The batch; results are means over its samples.
    outputs
        Elements of a sample's flattened output; all by default.
    weight
        Another count: what each arc adds to it.

    Returns
    -------
    DataFrame
        branches (count); paths (Python integer); norm, the size of that part of the Jacobian relative to all of it
        (Frobenius); share, its projection on the Jacobian relative to it: shares add up to one, norms do not.
    """
    if weight is None:
        weight = {arc: 1 for block in residual_blocks(lifting.dag) for arc in block.branches}
    parts = Linearisation(lifting, *inputs).jacobians_by_count(weight, outputs=outputs)
    number = count_paths_by_weight(lifting.dag, weight)
    jacobian = [sum(entry) for entry in zip(*parts.values(), strict=True)]
    rows = [(count, number[count], *_size_and_share(part, jacobian)) for count, part in parts.items()]
    return pd.DataFrame(rows, columns=["branches", "paths", "norm", "share"])


def jacobian_by_block(lifting: Lifting, *inputs: Any, outputs: Sequence[int] | None = None) -> pd.DataFrame:
    """For every residual block, the paths that take one of its branches against those that skip it, in the Jacobian.

    Parameters
    ----------
    lifting
        A differentiable network.
    inputs
        The batch; results are means over its samples.
    outputs
        Elements of a sample's flattened output; all by default.

    Returns
    -------
    DataFrame
        block; branch_paths and skip_paths; branch_norm and skip_norm; branch_share and skip_share, as in
        `jacobian_by_branches`: the two shares of a block add up to one.

    Raises
    ------
    InputError
        When the network has no residual blocks, or an output does not exist.
    """
    blocks = residual_blocks(lifting.dag)
    if not blocks:
        raise InputError("the network has no residual blocks: nodes that all paths pass, with a direct arc between.")
    at = Linearisation(lifting, *inputs)
    rows = []
    for block in blocks:
        weight = dict.fromkeys(block.branches, 1)
        parts = at.jacobians_by_count(weight, outputs=outputs)
        number = count_paths_by_weight(lifting.dag, weight)
        jacobian = [sum(entry) for entry in zip(*parts.values(), strict=True)]
        (branch, branch_share), (skip, skip_share) = (_size_and_share(parts[k], jacobian) for k in (1, 0))
        rows.append((block.name, number[1], number[0], branch, skip, branch_share, skip_share))
    names = ["branch_paths", "skip_paths", "branch_norm", "skip_norm", "branch_share", "skip_share"]
    return pd.DataFrame(rows, columns=["block", *names])


def _size_and_share(part: Sequence[Tensor], jacobian: Sequence[Tensor]) -> tuple[float, float]:
    """Of a part of the Jacobian relative to all of it, means over samples: (outputs, samples, ...) per input."""

    def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        products = [(x.double() * y.double()).transpose(0, 1).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]
        return functools.reduce(torch.add, products)

    total = dot(jacobian, jacobian)
    return float((dot(part, part) / total).sqrt().mean()), float((dot(part, jacobian) / total).mean())
