"""More metrics of the networks of a study that has run, without training any of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from typing import Any

import pandas as pd

from ..encoding import LayerGraphs
from ..errors import InputError
from ..features import column_names, measure
from ..features.registry import metric_facts
from .entries import EncodingChoice
from .study import Study

__all__ = ["measure_finished"]


def measure_finished(
    study: Study, metrics: str | Iterable[str], *, encodings: Iterable[str | dict[str, Any]] | None = None
) -> pd.DataFrame:
    """The results of a study with more metrics of the networks that it holds.

    Graphs are made from the masks that the study keeps, and from the trained weights where it keeps these
    (``save_weights: true``, and those of the dense networks). Where it does not, a metric that reads weights has no
    value.

    Parameters
    ----------
    study
        One that has run, or a part of it.
    metrics
        Names of metrics or categories, or ``"all"``, as for `topo.measure`.
    encodings
        Names of encodings, or mappings with ``name`` and options as in a study file; those of the study unless given.

    Returns
    -------
    DataFrame
        As `Study.results`, with the new columns in the place of those of the same names. Rows without masks or, where
        the study does not measure dense networks, without a pruner have none.

    Raises
    ------
    InputError
        When a metric or an encoding is unknown, nothing has been computed yet, or there is no encoding.

    Examples
    --------
    >>> from topo.study import Study, measure_finished
    >>> table = measure_finished(Study.load("studies/digits"), "channels")  # doctest: +SKIP
    """
    wanted = metrics if isinstance(metrics, str) else list(metrics)
    column_names(wanted)
    chosen = study.config.encodings if encodings is None else tuple(map(EncodingChoice.model_validate, encodings))
    if not chosen:
        raise InputError("the study has no encoding; name some, such as encodings=['multipartite'].")
    for choice in chosen:
        choice.check()
    reading = {column for column, facts in metric_facts().items() if facts["reads_weights"]}
    table = study.results()
    rows: list[dict[str, float]] = []
    for key, status in zip(table["cell"], table["status"], strict=True):
        cell = study.cell(key)
        row: dict[str, float] = {}
        if status in ("finished", "collapsed") and (cell.pruner is not None or study.config.measure_dense):
            known = study.store.state(key).promises("weights")
            for choice in chosen:
                graph = study.graph(key, choice.name, **choice.options)
                values = measure(graph, metrics=wanted, on_failure="undefined")
                for name, value in values.items():
                    unknown = not known and _is_of(str(name), reading, isinstance(graph, LayerGraphs))
                    row[f"{choice.prefix}{name}"] = nan if unknown else float(value)
        rows.append(row)
    added = pd.DataFrame(rows, index=table.index)
    kept = table.drop(columns=[column for column in added.columns if column in table.columns])
    return kept.join(added)


def _is_of(column: str, names: set[str], layers: bool) -> bool:
    """Whether a column, of layers with the statistic over them at its end, is of one of these metrics."""
    bare = column.rpartition("_")[0] if layers else column
    return bare.removesuffix("_norm") in names
