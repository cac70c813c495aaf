"""What sets of arcs do together and none of their subsets does: the Moebius terms of a network, exact for any network.

With phi_K the function of the sub-architecture of the arcs K (trimmed; zero without a path), the network is
``phi_E = sum over H of Delta_H``, where ``Delta_H = sum over K in H of (-1)^(|H| - |K|) phi_K``. A term vanishes unless
H is a sub-architecture itself: an arc of H on no path of H changes no phi_K, so the K with and without it cancel.
Terms of one path are what the path computes alone; all others are interactions, which a linear network has not. The
formulation is ours (see `topo.decomposition.lifting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..dag.path_counts import checked_arcs
from ..errors import InputError, counted
from .lifting import Lifting
from .subarchitectures import SubNetwork, count_subarchitectures, iterate_subarchitectures

__all__ = ["Moebius", "moebius_decomposition"]


@dataclass(frozen=True, eq=False)
class Moebius:
    """The Moebius terms of a network on a batch.

    Attributes
    ----------
    sets
        H of each term: places of arcs; with groups, places of groups.
    paths
        The number of paths in each H (with groups: in H and the arcs of no group).
    terms
        Delta_H of each, (terms, samples, outputs of a sample), in double precision; they add up to the output.
    """

    sets: tuple[tuple[int, ...], ...]
    paths: tuple[int, ...]
    terms: Tensor
    grouped: bool

    def __repr__(self) -> str:
        return f"Moebius({counted(len(self.sets), 'term')})"

    @property
    def output(self) -> Tensor:
        """The sum of all terms, (samples, outputs of a sample)."""
        return self.terms.sum(0)

    def table(self) -> pd.DataFrame:
        """One row a term: set, order (its size), paths, kind, norm and share, both relative to the output.

        norm is the mean over samples of the term's length by the output's; share, of its projection on the output,
        so shares add up to one.
        """
        output = self.output
        square = (output * output).sum(1)
        norm = ((self.terms * self.terms).sum(2) / square).sqrt().mean(1)
        share = ((self.terms * output).sum(2) / square).mean(1)
        order = [len(h) for h in self.sets]
        if self.grouped:
            kinds = ["base" if k == 0 else "single" if k == 1 else "interaction" for k in order]
        else:
            kinds = ["path" if p == 1 else "interaction" for p in self.paths]
        columns = {"set": self.sets, "order": order, "paths": self.paths, "kind": kinds}
        return pd.DataFrame(columns | {"norm": norm.tolist(), "share": share.tolist()})

    def shares(self) -> pd.Series:
        """The share of the output by kind of term: how much is paths, how much is interaction."""
        return self.table().groupby("kind")["share"].sum()


def moebius_decomposition(
    lifting: Lifting,
    *inputs: Any,
    groups: Sequence[Iterable[int]] | None = None,
    limit: int = 1024,
    **keywords: Any,
) -> Moebius:
    """The Moebius terms of a network on a batch.

    Parameters
    ----------
    lifting
        Any network.
    inputs, keywords
        The batch, as the network takes it.
    groups
        Sets of arcs that are switched together, such as ``[block.branches for block in residual_blocks(lifting.dag)]``;
        arcs in no group stay on. There are 2^groups terms then, and the empty one is the network without any group.
        Left out, every arc is on its own, and terms are the sub-architectures.
    limit
        The most terms, each of which takes a run of the network.

    Returns
    -------
    Moebius
        The sets of arcs, and the term of each.

    Raises
    ------
    InputError
        When there are more than `limit` terms, or groups overlap.

    Examples
    --------
    >>> import torch, topo
    >>> class Residual(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.f, self.g = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    ...     def forward(self, x):
    ...         x = x + torch.tanh(self.f(x))
    ...         return x + torch.tanh(self.g(x))
    >>> x = torch.randn(4, 3)
    >>> terms = moebius_decomposition(topo.lift(Residual(), x), x)
    >>> table = terms.table()
    >>> table[table["norm"] > 1e-6]["kind"].value_counts().to_dict()
    {'path': 4, 'interaction': 1}
    """
    dag = lifting.dag
    every = frozenset(range(len(dag.arcs)))
    if groups is None:
        number = count_subarchitectures(dag)
        if number > limit:
            raise InputError(
                f"the network has {number:,} sub-architectures, more than {limit:,}; switch arcs together with groups= "
                "(such as the branches of each residual block), or raise the limit."
            )
        sets = sorted(iterate_subarchitectures(dag), key=len)
        kept: list[Iterable[int]] = list(sets)
    else:
        members = [checked_arcs(dag, group) for group in groups]
        if 2 ** len(members) > limit:
            raise InputError(
                f"the subsets of {counted(len(members), 'group')} are 2^{len(members)}, more than {limit:,}; "
                "take fewer, or raise the limit."
            )
        if sum(map(len, members)) > len(frozenset().union(*members)):
            raise InputError("groups share an arc; each arc belongs to one group at most.")
        fixed = every.difference(*members)
        chosen = [tuple(i for i in range(len(members)) if k >> i & 1) for k in range(2 ** len(members))]
        sets = sorted(chosen, key=len)
        kept = [fixed.union(*(members[i] for i in h)) for h in sets]
    with torch.no_grad():
        values = torch.stack([_flat(SubNetwork(lifting, arcs)(*inputs, **keywords)) for arcs in kept])
    masks = [sum(1 << i for i in h) for h in sets]
    subset = torch.tensor([[float(k & h == k) for k in masks] for h in masks], dtype=torch.float64)
    # phi_H is the sum of Delta_K over K in H: unit lower-triangular in the order of size.
    terms = torch.linalg.solve_triangular(subset, values.flatten(1).cpu(), upper=False, unitriangular=True)
    paths = tuple(lifting.path_counts(arcs).total for arcs in kept)
    return Moebius(tuple(sets), paths, terms.reshape(values.shape), groups is not None)


def _flat(outputs: Any) -> Tensor:
    leaves = [t for t in pytree.tree_leaves(outputs) if isinstance(t, Tensor)]
    return torch.cat([t.double().flatten(1) for t in leaves], dim=1)
