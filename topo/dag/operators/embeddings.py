"""Embeddings: rows of a table, looked up by whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..elements import Hole
from ..maps import AxisMaps, Chain, Gather, LinearMap, Weight
from .aten import CUT_ROWS, NUMBERS
from .composer import Composer
from .record import Call, define, rule
from .views import read_off

__all__ = ["one_hot_table", "token_columns"]

TABLES = {"modules": (nn.Embedding, nn.EmbeddingBag), "weights": (0,), "lookup": True}
SUM, MEAN = 0, 1


def token_columns(table: Weight, rows: Tensor | None = None) -> Weight:
    """A table as what it gives for a token that may be any: its columns, each with its norm.

    Parameters
    ----------
    table
        (tokens, columns).
    rows
        Numbers of the tokens over which norms are taken; all by default.

    Returns
    -------
    Weight
        (columns, 1); a column is kept that keeps a weight in any row.

    Examples
    --------
    >>> magnitude = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    >>> columns = token_columns(Weight(magnitude, magnitude != 0))
    >>> columns.magnitude.tolist(), columns.kept.tolist()
    ([[5.0], [0.0]], [[True], [False]])
    """
    chosen = table.effective if rows is None else table.effective[rows.to(table.kept.device)]
    return Weight(torch.linalg.vector_norm(chosen.double(), dim=0)[:, None], table.kept.any(dim=0)[:, None])


def one_hot_table(table: Weight, vocabulary: Tensor) -> Weight:
    """A table as what it gives for one-hot tokens.

    Parameters
    ----------
    table
        (tokens, columns).
    vocabulary
        Numbers of the tokens; those that the table does not have give nothing.

    Returns
    -------
    Weight
        (columns, tokens).
    """
    ids = vocabulary.to(table.kept.device)
    known = ids < len(table.kept)
    rows = ids.clamp(max=len(table.kept) - 1)
    return Weight(table.magnitude[rows].T, (table.kept[rows] & known[:, None]).T)


def _looked_up(call: Call) -> tuple[Weight, tuple[int, ...]]:
    """A table as the map of one position, and how many elements that has beside itself."""
    vocabulary = call.options.get("vocabulary")
    if vocabulary is not None:
        return one_hot_table(call.weight(0), vocabulary), (len(vocabulary),)
    rows = call.options.get("rows") or {}
    return token_columns(call.weight(0), rows.get(call.step)), (1,)


def _with_all_rows(compose: Composer, table: Any, indices: Any, largest: float, power: float) -> Any:
    """A table whose rows have a largest norm: all are cut to it, in place of those that are looked up."""
    return compose(CUT_ROWS, table, compose(NUMBERS, compose.length(table, 0)), largest, power)


define("embedding_renorm", composition=_with_all_rows)


@rule("embedding", **TABLES)
def _embedding(call: Call) -> LinearMap:
    """Every position reads the columns of the table; a table that is computed gives rows that a constant chooses."""
    table, indices = call.argument(0, "weight"), call.argument(1, "indices")
    if isinstance(table, Hole):
        if isinstance(indices, Hole):
            raise call.refusal("both its table and what is looked up there are computed from the input")
        return read_off(call)
    weight, tokens = _looked_up(call)
    source = (*call.source_shape, *tokens)
    columns = AxisMaps(source, call.target_shape, ((len(source) - 1, weight),))
    return columns if tokens != (1,) else Chain((Gather(call.source_shape, source), columns))


@rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only", **TABLES)
def _embedding_bag(call: Call) -> LinearMap:
    """Every bag reads the columns of the table for each of its positions, and their factors where they have some."""
    if isinstance(call.argument(2, "offsets"), Hole):
        raise call.refusal("where its bags begin is computed from the input")
    bag = _bags(call)
    count = len(bag)
    in_bag = torch.as_tensor(bag[None, :] == np.arange(call.target_shape[0])[:, None])
    shares = in_bag.double()
    if call.argument(4, "mode", SUM) == MEAN and call.options.get("weights") == "mean":
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1)
    weight, tokens = _looked_up(call)
    columns = AxisMaps((count, *tokens), call.target_shape, ((0, Weight(shares, in_bag)), (1, weight)))
    return columns if tokens != (1,) else Chain((Gather(call.source_shape, (count, 1)), columns))


def _bags(call: Call) -> np.ndarray:
    """The bag of every position."""
    offsets: Any = call.values[call.argument(2, "offsets").name]
    count = call.source_shape[0]
    return np.searchsorted(offsets.cpu().numpy(), np.arange(count), side="right") - 1
