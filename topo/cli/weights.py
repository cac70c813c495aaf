"""``topo weights``: what the parameters of a network are, and which of them pruning may remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError, counted
from .network import NamedNetwork
from .options import Checkpoint, Classes, DataFolder, DatasetName, Example, Imports, Model, ModelSettings, Seed
from .output import say

__all__ = ["weights"]


def weights(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the table to this .csv or .parquet file.")
    ] = None,
    checkpoint: Checkpoint = None,
    dataset: DatasetName = None,
    data: DataFolder = None,
    example: Example = None,
    classes: Classes = None,
    seed: Seed = 0,
    model_set: ModelSettings = None,
    imports: Imports = None,
) -> None:
    """List the parameters of a network: which are weights, of which layers, and why others are not pruned.

    \b
      topo weights resnet20
      topo weights digits-cnn --dataset digits -o weights.csv
      topo weights my-net --example 3,64,64 --import my_code.py
    """
    from ..dag import weights as table_of
    from ..tables import write_table

    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise InputError(f"{output} must end in .csv or .parquet.")
    network = NamedNetwork(model, checkpoint, dataset, data, example, classes, seed, model_set)
    table = table_of(network.model, network.example)
    if output is None:
        rows = table.assign(shape=["x".join(map(str, shape)) for shape in table["shape"]])
        say(rows[["name", "shape", "number", "role", "pruned"]].to_string(index=False), lines=True)
    else:
        write_table(output, table.assign(shape=[list(shape) for shape in table["shape"]]))
    pruned = table.loc[table["pruned"], "number"].sum()
    say(f"Pruning may remove {pruned:,} of {counted(table['number'].sum(), 'parameter')}.")
