"""``topo study rerun``: compute a network of a study again and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import counted_of
from .options import DataRoot
from .output import say

__all__ = ["rerun"]


def rerun(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a study.")],
    cell: Annotated[str, typer.Argument(metavar="CELL", help="Key of a network, as in the column cell of the table.")],
    device: Annotated[str | None, typer.Option(help="In place of the device that it was computed on.")] = None,
    data_root: DataRoot = None,
) -> None:
    """Compute a network of a study again and say which of its numbers differ; the study stays as it is.

    \b
      topo study rerun studies/digits 0d3d3506279ea9db

    On the device that it was computed on, with the versions and threads of then, none should differ.
    """
    from ..study import Study
    from ..study.rerun import rerun as compute_again

    study = Study.load(folder, **({} if data_root is None else {"data_root": data_root}))
    found = compute_again(study, cell, device=device)
    for line in found.circumstances:
        say(line, err=True)
    for name, (before, now) in found.changed.items():
        say(f"{name}: {before} in the study, {now} now")
    if found.changed:
        say(f"Not the same: {counted_of(len(found.changed), found.compared, 'value')} of cell {found.cell}.")
        raise typer.Exit(1)
    kept = "and the masks and weights that it keeps are as they were"
    say(f"All {found.compared} values of cell {found.cell} are those of the study, {kept}.")
