"""``topo study``: run a grid of networks and see how far it has come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import counted
from .command import Command
from .options import DataRoot, Imports
from .output import say, say_table
from .rerun import rerun
from .study_measuring import measure

if TYPE_CHECKING:
    import pandas as pd

    from ..study import Study

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Run a grid of networks and follow it.")
app.command(cls=Command)(rerun)
app.command(cls=Command)(measure)

SHOWN = 10
MOST_RUNNING = 20
SILENT = 10  # seconds without a sign of life that are worth a word


@app.command(cls=Command)
def run(
    file: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A study file, or the folder of a study to go on with.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "--into", "-o", help="Folder of the study; studies/NAME unless given.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one a core unless given, one on a GPU.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    data_root: DataRoot = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler whose workers compute.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="KIND", help="A Dask cluster to start for the run: local or slurm.")
    ] = None,
    cluster_options: Annotated[
        list[str] | None,
        typer.Option("--cluster-option", metavar="KEY=VALUE", help="Of that cluster, such as queue=gpu; repeatable."),
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="How long a network may take, such as '30 min'; one that takes longer fails.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="How much memory a network may take, such as '4 GiB'; one that takes more fails.")
    ] = None,
    imports: Imports = None,
) -> None:
    """Run every cell of a study that has no result yet; stop and go on as you like.

    \b
      topo study run examples/digits.yaml
      topo study run study.yaml --output studies/big --workers 8
      topo study run studies/big                      go on, or retry what failed
      topo study run study.yaml --import my_code.py   as imports: my_code.py in the file does
      topo study run study.yaml --scheduler tcp://10.0.0.5:8786
      topo study run study.yaml --cluster slurm --workers 20 --cluster-option walltime=04:00:00

    The smallest study file:

    \b
      models: digits-cnn
      pruners:
        - snip
        - magnitude
      sparsities:
        - 0.9
    """
    from ..errors import InputError
    from ..study import Study
    from ..study.signals import ToldToStop

    given = {"data_root": data_root, "time_limit": time_limit, "memory_limit": memory_limit}
    overrides = {name: value for name, value in given.items() if value is not None}
    if file.is_dir():
        if output is not None:
            raise InputError(f"{file} is the folder of a study already; leave out --output to go on with it.")
        study = Study.load(file, **overrides)
    else:
        study = Study.read(file, output, **overrides)
    study = study.importing(imports or [])
    try:
        study.run(
            scheduler=scheduler,
            cluster=cluster,
            cluster_options=_options(cluster_options or []),
            workers=workers,
            device=device,
        )
    except (KeyboardInterrupt, ToldToStop) as stop:
        status = study.status()
        done = int((~status["status"].isin(["missing", "failed", "damaged"])).sum())
        _say_failures(status, study)
        cause = f" by {stop.name}" if isinstance(stop, ToldToStop) else ""
        again = " ".join(["topo study run", str(study.folder), *(["--scheduler", scheduler] if scheduler else [])])
        say(
            f"Stopped{cause}; {done} of {counted(len(status), 'cell')} finished and kept. Go on with: {again}",
            err=True,
        )
        raise typer.Exit(stop.code if isinstance(stop, ToldToStop) else 130) from None
    status = study.status()
    failed = _say_failures(status, study)
    say(f"{_counted(status)}. The table is in {study.store.table_file}; see it with: topo report {study.folder}")
    if failed:
        raise typer.Exit(1)


@app.command(cls=Command)
def status(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a study.")],
    cells: Annotated[bool, typer.Option("--cells", help="One line for every cell.")] = False,
    imports: Imports = None,
) -> None:
    """Say how many cells of a study are finished, failed or yet to come.

    \b
      topo study status studies/digits
      topo study status studies/digits --cells
    """
    from ..study import Study

    study = Study.load(folder)
    table = study.status()
    if cells:
        for row in table.itertuples():
            accuracy = "" if row.accuracy != row.accuracy else f"  {row.accuracy:.3f}"
            name = f"{row.dataset} {row.model} {row.pruner} {row.sparsity:g} seed {row.seed}"
            say(f"{row.cell}  {row.status:<9}  {name}{accuracy}{'  ' + row.reason if row.reason else ''}")
        return
    counts = table.pivot_table(
        index=["dataset", "model", "pruner"], columns="status", values="cell", aggfunc="count", fill_value=0, sort=False
    )
    order = [n for n in ("finished", "collapsed", "diverged", "failed", "damaged", "missing") if n in counts]
    say_table(
        [*counts.index.names, *order], ([*index, *(row[name] for name in order)] for index, row in counts.iterrows())
    )
    _say_failures(table, study)
    say(f"{_counted(table)}.")
    _say_runs(study)


def _options(given: list[str]) -> dict[str, Any]:
    """Options KEY=VALUE, values that are written as numbers or lists as such."""
    import yaml

    from ..errors import InputError

    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--cluster-option {text!r} is not of the form KEY=VALUE.")
        # Times such as 04:00:00 are texts to Dask, but numbers to YAML.
        options[name] = value if ":" in value else yaml.safe_load(value)
    return options


def _say_runs(study: Study) -> None:
    """Say which runs work on the study now, and on which cells."""
    from ..study.claims import active_runs
    from ..study.limits import duration

    for run in active_runs(study.folder):
        left = "" if run.seconds_left is None else f", about {duration(run.seconds_left)} left"
        silent = f", not heard of for {duration(run.silent)}" if run.silent > SILENT else ""
        say(f"Running on {run.host}, process {run.process}: {run.done} of {counted(run.total, 'cell')}{left}{silent}.")
        for cell in run.cells[:MOST_RUNNING]:
            where = f"for {duration(cell.seconds)} in {cell.where}" if cell.where else "waits for a worker"
            say(f"  {cell.cell}  {cell.name}: {where}")
        if len(run.cells) > MOST_RUNNING:
            say(f"  and {len(run.cells) - MOST_RUNNING} more")


def _say_failures(status: pd.DataFrame, study: Study) -> bool:
    """Print why cells failed and where one of them did, each reason once; whether any did."""
    failed = status[status["status"] == "failed"]
    reasons = failed["reason"].value_counts(sort=False)
    for reason, count in list(reasons.items())[:SHOWN]:
        example = failed[failed["reason"] == reason].iloc[0]
        file = study.store.traceback_file(example.cell)
        where = f" (see {file})" if file.is_file() else ""
        say(f"{count} failed: {reason}{where}", err=True, color="yellow")
    if len(reasons) > SHOWN:
        say(f"... and for {counted(len(reasons) - SHOWN, 'more reason')}.", err=True, color="yellow")
    return bool(len(failed))


def _counted(status: pd.DataFrame) -> str:
    counts = status["status"].value_counts(sort=False)

    return f"{counted(len(status), 'cell')}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
