"""More metrics of networks that a study has trained, from the masks and weights that it keeps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import pandas as pd
from pydantic import ValidationError

from ..errors import InputError, counted
from ..features import measure
from ..features.measurement import column_names
from ..features.registry import columns_of, select
from ..progress import progress as showing
from .config import EncodingChoice
from .study import Study
from .table import RESERVED
from .table_files import Measured, StudyError, TableFiles

__all__ = ["measure_finished"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 60.0
NO_WEIGHTS = "it reads trained weights, which the study did not keep"


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
    value that it had when the network was trained, or none. What was measured, and why a metric has no value, is
    written to ``measured.parquet`` every minute and at the end, also where the run is stopped, and a later run goes on
    there; `Study.results` and reports have it from then on. Several processes may measure one study. Networks whose
    files are damaged are passed over, which the log says.

    Parameters
    ----------
    study
        One that has run, or a part of it.
    metrics
        Names of metrics or categories, or ``"all"``, as for `topo.measure`.
    encodings
        Names or labels of encodings, or mappings with ``name`` and options as in a study file; those of the study
        unless given. What the study calls by that name has the options that it has there.
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
        When a metric or an encoding is unknown or would fill the columns of another, nothing has been computed yet, or
        there is no encoding.
    StudyError
        When ``measured.parquet`` cannot be read or written.

    Examples
    --------
    >>> from topo.study import Study, measure_finished
    >>> table = measure_finished(Study.load("studies/digits"), "channels")  # doctest: +SKIP
    """
    study.import_code()
    wanted = metrics if isinstance(metrics, str) else list(metrics)
    asked = [_asked(choice, wanted) for choice in _chosen(study, encodings)]
    table = study.results()
    measurable = table["status"].isin(["finished", "collapsed"])
    if not study.config.measure_dense:
        measurable &= table["pruner"] != "dense"
    kinds = table.loc[measurable, ["cell", "date"]].itertuples(index=False, name=None)
    states = {key: study.store.state(key[0]) for key in kinds}
    has_weights = any(state.promises("weights") for state in states.values())
    files = TableFiles(study.folder)
    files.add_measured({})  # a folder that cannot be written is said before anything is measured
    known, new = files.read_measured(), Measured()
    written = time.monotonic()
    damaged: list[str] = []
    try:
        with showing("networks measured", len(states), logger, shown=progress) as advance:
            for key, state in states.items():
                row = known.setdefault(key, {})
                try:
                    for one in asked:
                        row |= _measured(study, key[0], one, row, state.promises("weights"), has_weights)
                except StudyError as error:
                    damaged.append(str(error))
                new[key] = row
                if time.monotonic() - written > SECONDS_BETWEEN_WRITES:
                    files.add_measured(new)
                    written = time.monotonic()
                advance()
    except BaseException:
        with suppress(StudyError):
            files.add_measured(new)
        raise
    files.add_measured(new)
    if damaged:
        logger.warning("%s: %s", counted(len(damaged), "network", "was passed over", "were passed over"), damaged[0])
    return study.results()


class _Asked(NamedTuple):
    """An encoding, the columns of each metric that is asked for, and which of them read no trained weights."""

    choice: EncodingChoice
    columns: dict[str, tuple[str, ...]]
    of_masks: set[str]


def _asked(choice: EncodingChoice, metrics: str | list[str]) -> _Asked:
    layers = choice.is_layered
    columns = {entry.name: columns_of(entry, layers=layers) for entry in select(metrics, layers=layers)}
    if not choice.prefix and (taken := RESERVED & {name for names in columns.values() for name in names}):
        raise InputError(
            f"a metric fills the column {min(taken)!r}, which every table of results has already; rename the metric."
        )
    return _Asked(choice, columns, set(column_names(metrics, layers=layers, reading_weights=False)))


def _chosen(study: Study, encodings: Iterable[str | dict[str, Any]] | None) -> list[EncodingChoice]:
    """The encodings by what their columns begin with, which is never that of another one."""
    of_study = {choice.label: choice for choice in study.config.encodings}
    names = of_study if encodings is None else [encodings] if isinstance(encodings, str) else encodings
    chosen: dict[str, EncodingChoice] = {}
    for name in names:
        try:
            choice = of_study.get(name) if isinstance(name, str) else None
            choice = choice or EncodingChoice.model_validate(name)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(str(first.get("ctx", {}).get("error", first["msg"]))) from None
        choice.check()
        for other in (*of_study.values(), *chosen.values()):
            if other.prefix == choice.prefix and (other.name, other.options) != (choice.name, choice.options):
                raise InputError(
                    f"encoding {choice.label!r} would fill the columns of {other.label!r} with other options; give it "
                    "a label of its own."
                )
        chosen[choice.prefix] = choice
    if not chosen:
        raise InputError("the study has no encoding; name some, such as encodings=['multipartite'].")
    return list(chosen.values())


def _measured(
    study: Study, cell: str, asked: _Asked, row: dict[str, float | str], weights_known: bool, has_weights: bool
) -> dict[str, float | str]:
    """What `row` lacks of that which is asked for."""
    choice, prefix = asked.choice, asked.choice.prefix
    found: dict[str, float | str] = {}
    lacking: dict[str, list[str]] = {}
    for metric, names in asked.columns.items():
        for name in names:
            if f"{prefix}{name}" in row:
                continue
            if weights_known or name in asked.of_masks:
                lacking.setdefault(metric, []).append(name)
            elif has_weights:
                found[f"{prefix}{name}"] = NO_WEIGHTS
    if lacking:
        graph = study.graph(cell, choice.name, **choice.options)
        values = measure(graph, metrics=list(lacking), on_failure="undefined")
        reasons = values.attrs["undefined"]
        for name in (name for names in lacking.values() for name in names):
            value = float(values[name])
            found[f"{prefix}{name}"] = value if value == value else str(reasons.get(name, "it came out as no number"))
    return found
