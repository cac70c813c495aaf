"""``topo study measure``: more metrics of the networks that a study holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import counted
from .options import DataRoot, Imports
from .output import say

__all__ = ["measure"]


def measure(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a study.")],
    metrics: Annotated[
        list[str],
        typer.Option("--metrics", "-m", help="Metrics or categories, see topo list metrics; all for every metric."),
    ],
    encodings: Annotated[
        list[str] | None, typer.Option("--encoding", "-e", help="Those of the study unless given; may be repeated.")
    ] = None,
    data_root: DataRoot = None,
    imports: Imports = None,
) -> None:
    """Measure more of the networks that a study has trained, from the masks and weights that it keeps.

    \b
      topo study measure studies/digits --metrics channels,effective
      topo study measure studies/digits --metrics local --encoding unrolled

    The study keeps what was measured, in measured.parquet, also where this is stopped: its table and its report have it
    from then on. Metrics that read trained weights are measured only where these were saved (save_weights: true, and
    dense networks).
    """
    from ..study import Study, measure_finished

    study = Study.load(folder, **({} if data_root is None else {"data_root": data_root}))
    names = [name for text in metrics for name in text.split(",") if name]
    before = study.results()
    table = measure_finished(study, names, encodings=encodings or None, progress=None)
    study.store.write_table(table, study.store.journal.facts)
    values = int(table.notna().sum().sum() - before.notna().sum().sum())
    if not values:
        say(
            "Nothing new: what was asked for has been measured before, has no value (the column undefined of the table "
            "says why), or reads trained weights, which the study did not keep."
        )
        return
    new = f"{counted(values, 'new value')}, {counted(len(table.columns) - len(before.columns), 'new column')}"
    say(f"{new} in the table {study.store.table_file}; see it with: topo report {folder}")
