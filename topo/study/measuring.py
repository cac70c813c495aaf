"""More metrics of networks that a study has trained, from the masks and weights that it keeps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ..encoding import ENCODINGS
from ..errors import InputError
from ..features import measure
from ..features.measurement import column_names
from ..progress import progress as showing
from .config import EncodingChoice
from .study import Study
from .table_files import TableFiles

__all__ = ["measure_finished"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 60.0


def measure_finished(
    study: Study,
    metrics: str | Iterable[str],
    *,
    encodings: Iterable[str | dict[str, Any]] | None = None,
    progress: bool | None = False,
) -> pd.DataFrame:
    """The results of a study with more metrics of the networks that it holds; the study keeps them.

    Graphs are made from the masks that the study keeps, and from the trained weights where it keeps these
    (``save_weights: true``, and those of the dense networks). Where it does not, a metric that reads weights has the
    value that it had when the network was trained, or none. What was measured is written to ``measured.parquet`` every
    minute, and a run that was cut short goes on there; `Study.results` and reports have it from then on.

    Parameters
    ----------
    study
        One that has run, or a part of it.
    metrics
        Names of metrics or categories, or ``"all"``, as for `topo.measure`.
    encodings
        Names of encodings, or mappings with ``name`` and options as in a study file; those of the study unless given.
    progress
        A bar on a terminal and lines of the log elsewhere (None), or neither (False).

    Returns
    -------
    DataFrame
        `Study.results`, with the new columns. Rows without masks or, where the study does not measure dense networks,
        without a pruner have none.

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
    chosen = study.config.encodings if encodings is None else tuple(map(EncodingChoice.model_validate, encodings))
    if not chosen:
        raise InputError("the study has no encoding; name some, such as encodings=['multipartite'].")
    names: list[tuple[EncodingChoice, set[str], set[str]]] = []
    for choice in chosen:
        choice.check()
        layers = bool(ENCODINGS.entry(choice.name).info["layers"])
        of_all, of_masks = (
            {f"{choice.prefix}{name}" for name in column_names(wanted, layers=layers, reading_weights=reading)}
            for reading in (True, False)
        )
        names.append((choice, of_all, of_masks))
    table = study.results()
    measurable = table["status"].isin(["finished", "collapsed"])
    if not study.config.measure_dense:
        measurable &= table["pruner"] != "dense"
    files = TableFiles(study.folder)
    measured = files.read_measured()
    written = time.monotonic()
    with showing("networks measured", int(measurable.sum()), logger, shown=progress) as advance:
        for cell in table.loc[measurable, ["cell", "date"]].itertuples(index=False):
            row = measured.setdefault((cell.cell, cell.date), {})
            weights_known = study.store.state(cell.cell).promises("weights")
            for choice, of_all, of_masks in names:
                known = of_all if weights_known else of_masks
                if known and known.isdisjoint(name for name, value in row.items() if value == value):
                    graph = study.graph(cell.cell, choice.name, **choice.options)
                    values = measure(graph, metrics=wanted, on_failure="undefined").add_prefix(choice.prefix)
                    row.update(values[[name for name in values.index if name in known]].astype(float))
            if time.monotonic() - written > SECONDS_BETWEEN_WRITES:
                files.write_measured(measured)
                written = time.monotonic()
            advance()
    files.write_measured(measured)
    return study.results()
