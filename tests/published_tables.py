"""A small folder in the schemas of the published tables, for tests of what reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from topo.results.published import COLUMNS
from topo.results.published_columns import AS_THEY_ARE, LEFT_OUT, NAMES, RAMANUJAN, RAMANUJAN_AS_THEY_ARE

MODELS = ("CONV-6", "Resnet-20")
PRUNERS = ("snip", "er", "rigl")
LAYERS = 3


def networks() -> pd.DataFrame:
    """One row a network, columns as in unrolled.csv."""
    generator = np.random.default_rng(0)
    keys = [
        (model, pruner, sparsity, seed)
        for model in MODELS
        for pruner in PRUNERS
        for sparsity in (0.6, 0.9)
        for seed in (0, 1)
    ]
    table = pd.DataFrame(keys, columns=["model", "pruning", "sparsity", "seed"]).assign(dataset="CIFAR-10")
    for column in COLUMNS:
        if column not in table:
            table[column] = generator.uniform(0.1, 1, len(table))
    table["accuracy"] = np.round(np.linspace(0.5, 0.9, len(table)), 4)
    table["nodes"], table["edges"] = 1000, generator.integers(5000, 9000, len(table))
    table["1-hop_nei"] = (1 + table["edges"] / table["nodes"]) / table["edges"]
    table["mean_connected_components"] = 1 / table["no_connected_components"]
    return table[list(COLUMNS)]


def layers(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Rows of rolled/, layers of every network of `table`."""
    generator = np.random.default_rng(seed)
    rows = table.loc[table.index.repeat(LAYERS), ["accuracy", "pruning", "sparsity", "model", "dataset", "seed"]]
    rows = rows.rename(columns={"pruning": "pruning_algorithm"}).reset_index(drop=True)
    rows["layer_id"] = np.tile(range(LAYERS), len(table))
    rows["layer_name"] = "conv" + rows["layer_id"].astype(str)
    for column in (*NAMES, *AS_THEY_ARE, *LEFT_OUT):
        if column not in rows:
            rows[column] = generator.uniform(0.1, 0.9, len(rows))
    rows["edges"] = generator.permutation(len(rows)) + 10
    rows["layer_sparsity"] = rows["edges"] / 1000
    rows["nodes"], rows["max_degree"], rows["avg_degree_all"] = 100, 9, 3.0
    return rows


def ramanujan(rolled: pd.DataFrame) -> pd.DataFrame:
    """Rows of ramanunjan_results/ that belong to those of rolled/, without the pruning algorithm."""
    generator = np.random.default_rng(1)
    table = rolled.assign(no_weights=rolled["edges"].astype(float), no_params=1000.0)
    for column in RAMANUJAN:
        if column not in table:
            table[column] = generator.uniform(0, 1, len(table))
    return table[[*RAMANUJAN, *RAMANUJAN_AS_THEY_ARE]]


def write(folder: Path, **changed: pd.DataFrame) -> Path:
    """Write the four folders; `unrolled`, `rolled`, `rolled_channel`, `ramanujan` replace a table."""
    unrolled = changed.get("unrolled", networks())
    rolled = changed.get("rolled", layers(networks()))
    channel = changed.get(
        "rolled_channel", layers(networks(), 2).assign(edges=rolled["edges"], layer_sparsity=rolled["layer_sparsity"])
    )
    expander_layers = changed.get("ramanujan", ramanujan(rolled))
    (folder / "unrolled").mkdir(parents=True)
    unrolled.to_csv(folder / "unrolled" / "unrolled.csv", index=False)
    for name, table in (("rolled", rolled), ("rolled_channel", channel), ("ramanunjan_results", expander_layers)):
        for (dataset, model), part in table.groupby(["dataset", "model"]):
            inside = folder / name / model if name == "ramanunjan_results" else folder / name
            inside.mkdir(parents=True, exist_ok=True)
            part.to_csv(inside / f"rolled-{dataset}-{model}.csv", index=False)
    return folder
