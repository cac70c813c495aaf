"""The layer-wise published tables: our names, the join of the Ramanujan files, and what cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import counted
from .data_issues import DataIssues
from .published_columns import AS_THEY_ARE, LEFT_OUT, NAMES, RAMANUJAN, RAMANUJAN_AS_THEY_ARE, read_csv, without_repeats
from .schema import NETWORK, metric_columns, tidy_results

__all__ = ["RAMANUJAN_FOLDER", "layer_means", "read_layers"]

KEYS = [*NETWORK, "layer"]
RAMANUJAN_FOLDER = "ramanunjan_results"


def read_layers(folder: Path, names: Sequence[str], issues: DataIssues) -> pd.DataFrame | None:
    """One row a layer and encoding (rolled, rolled_channel, ramanujan), in the order of the files.

    The Ramanujan rows carry no pruner; they get that of the rolled row with the same dataset, model, sparsity, seed,
    accuracy, layer and number of weights; the few that share all of these are told apart by their order.

    Parameters
    ----------
    folder
        The folder of the published tables.
    names
        The folders in it that hold tables of layers, ``"rolled"`` first where it is there.
    issues
        The list that irregularities are added to.

    Returns
    -------
    DataFrame or None
        Identity of network and layer, encoding, metrics; None where no folder is named.

    Raises
    ------
    InputError
        A needed column is missing.
    """
    pieces: dict[str, list[pd.DataFrame]] = {name: [] for name in names}
    bipartite = (*NAMES, *AS_THEY_ARE, *LEFT_OUT)
    for name in names:
        wanted = (*RAMANUJAN, *RAMANUJAN_AS_THEY_ARE) if name == RAMANUJAN_FOLDER else bipartite
        for file in sorted((folder / name).glob("**/*.csv")):
            table = read_csv(file, wanted)
            where = file.relative_to(folder).as_posix()
            if name == RAMANUJAN_FOLDER:
                pieces[name].append(table.rename(columns=RAMANUJAN).assign(file=where))
            else:
                table = table.rename(columns=NAMES)
                table["pruner"] = table["pruner"].astype(str).str.lower()
                pieces[name].append(without_repeats(table, KEYS, where, issues).assign(file=where))
    tables = {name: pd.concat(each, ignore_index=True) for name, each in pieces.items()}
    of_graphs = [name for name in names if name != RAMANUJAN_FOLDER]
    for name in of_graphs:
        _bipartite_names(tables[name], name, issues)
    if RAMANUJAN_FOLDER in tables:
        _ramanujan_names(tables[RAMANUJAN_FOLDER], issues)
        if "rolled" not in tables:
            rows = len(tables.pop(RAMANUJAN_FOLDER))
            issues.add(f"{RAMANUJAN_FOLDER}/", "", rows, "rows name no algorithm, and rolled/ is not there", "left out")
    if not tables:
        return None
    _compare_names(tables, issues)
    for name in of_graphs:
        tables[name] = _usable(tables[name], name, issues)
    _layer_counts({name: tables[name] for name in of_graphs}, issues)
    if RAMANUJAN_FOLDER in tables:
        tables[RAMANUJAN_FOLDER] = _join(tables["rolled"], tables[RAMANUJAN_FOLDER], issues)
    encoded = [t.assign(encoding="ramanujan" if n == RAMANUJAN_FOLDER else n) for n, t in tables.items()]
    layers = tidy_results(pd.concat(encoded, ignore_index=True)).drop(columns=["file", "status", "reason"])
    first = [*KEYS[:3], "family", *KEYS[3:], "layer_name", "encoding", "accuracy", "layer_density"]
    return layers[[*first, *[c for c in layers.columns if c not in first]]]


def _bipartite_names(table: pd.DataFrame, name: str, issues: DataIssues) -> None:
    """Odd names of columns, and columns that say something else than their name."""
    count = len(table)
    issues.add(f"{name}/", "strenght_all, strenght_out", count, "names are misspelt", "renamed to strength")
    issues.add(
        f"{name}/",
        ", ".join(NAMES),
        count,
        "columns have names other than ours",
        f"renamed to {', '.join(NAMES.values())}",
    )
    issues.add(
        f"{name}/", "density_directed", count,
        "divides by the ordered pairs of all nodes of the layer, not by the pairs of a left and a right node",
        "kept under this name; layer_density is the share of the weights",
    )  # fmt: skip
    issues.add(
        f"{name}/", "motifs_count", count, "counts subgraphs on three nodes, not four",
        "renamed to motifs_of_three; not comparable with motifs",
    )  # fmt: skip


def _ramanujan_names(table: pd.DataFrame, issues: DataIssues) -> None:
    """Odd names of the folder, its files and its columns."""
    where, count = f"{RAMANUJAN_FOLDER}/", len(table)
    issues.add(where, "", count, "the folder's name is misspelt (Ramanujan)", "read as ramanujan")
    issues.add(where, "", count, "the files are named rolled-*.csv", "read as ramanujan")
    renamed = f"renamed to {', '.join(RAMANUJAN.values())}"
    issues.add(where, ", ".join(RAMANUJAN), count, "columns have names other than ours", renamed)


def _compare_names(tables: dict[str, pd.DataFrame], issues: DataIssues) -> None:
    """A column that says the opposite of its name, and networks that one file of layers has and another has not."""
    ramanujan = tables.get(RAMANUJAN_FOLDER)
    if ramanujan is not None:
        kept = ramanujan["kept_weights"] / ramanujan["total_weights"]
        if np.allclose(kept, ramanujan["layer_density"], atol=1e-6):
            for name, table in tables.items():
                issues.add(
                    f"{name}/", "layer_sparsity", len(table), "is the share of weights kept, not removed",
                    "renamed to layer_density",
                )  # fmt: skip
    if {"rolled", "rolled_channel"} <= tables.keys():
        absent = set(_networks_of(tables["rolled"])) ^ set(_networks_of(tables["rolled_channel"]))
        issues.add(
            "rolled_channel/", "", len(absent), "networks are in one of rolled/ and rolled_channel/ only", "kept"
        )


def _networks_of(table: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[KEYS[:5]].drop_duplicates())


def _usable(table: pd.DataFrame, name: str, issues: DataIssues) -> pd.DataFrame:
    """Without the columns that mean nothing; values that cannot be are missing."""
    for column, why in LEFT_OUT.items():
        rows, why_here = len(table), why
        if column in ("sink_nodes", "source_nodes"):
            negative = int((table[column] < 0).sum())
            why_here = f"{why}: {counted(negative, 'row')}, down to {table[column].min():g}"
        issues.add(f"{name}/", column, rows, why_here, "left out")
    table = table.drop(columns=list(LEFT_OUT))
    issues.add(f"{name}/", "edges", int((table["edges"] == 0).sum()), "layers have no edge left", "kept")
    issues.add(
        f"{name}/", "delta_r_undirected", len(table),
        "is divided by another bound than degree_bound: 2 sqrt(2 d - 1), d the mean degree of all nodes",
        "renamed to delta_r_mean_degree",
    )  # fmt: skip
    no_bound = (table["mean_degree"] <= 0.5) & table["delta_r_mean_degree"].notna()
    issues.add(
        f"{name}/", "delta_r_undirected", int(no_bound.sum()),
        "values where that bound is not real (d <= 1/2)", "taken as missing",
    )  # fmt: skip
    table["delta_r_mean_degree"] = table["delta_r_mean_degree"].mask(no_bound)
    no_bound = (table["max_degree"] <= 1) & table["delta_s_relative"].notna()
    issues.add(
        f"{name}/", "delta_s_undirected", int(no_bound.sum()),
        f"values are divided by a bound of zero (all degrees 1), down to {table['delta_s_relative'].min():.3g}",
        "taken as missing",
    )  # fmt: skip
    table["delta_s_relative"] = table["delta_s_relative"].mask(no_bound)
    for column in metric_columns(table):
        missing = int(table[column].isna().sum())
        issues.add(f"{name}/", column, missing, "values are missing", "left missing; means are over the other layers")
    return table


def _layer_counts(tables: dict[str, pd.DataFrame], issues: DataIssues) -> None:
    """Networks of one model with another number of layers than most."""
    for name, table in tables.items():
        counts = table.groupby(KEYS[:5]).size()
        usual = counts.groupby("model").transform(lambda c: c.mode().iloc[0])
        odd = int((counts != usual).sum())
        issues.add(f"{name}/", "layer_id", odd, "networks have more or fewer layers than their model", "kept")


def _join(rolled: pd.DataFrame, ramanujan: pd.DataFrame, issues: DataIssues) -> pd.DataFrame:
    """The Ramanujan rows with the pruner of the rolled row that has the same keys."""
    keys = ["dataset", "model", "sparsity", "seed", "layer", "layer_name", "accuracy", "kept_weights"]
    left = ramanujan.assign(accuracy=ramanujan["accuracy"].round(8), at=np.arange(len(ramanujan)))
    right = rolled.rename(columns={"edges": "kept_weights"})
    right = right.assign(accuracy=right["accuracy"].round(8), row_of_rolled=np.arange(len(right)))
    tied = left.duplicated(keys, keep=False)
    left["tie"], right["tie"] = left.groupby(keys).cumcount(), right.groupby(keys).cumcount()
    right = right[[*keys, "tie", "pruner", "layer_density", "row_of_rolled"]]
    joined = left.merge(right, on=[*keys, "tie"], how="left", suffixes=("", "_rolled"), validate="one_to_one")
    joined = joined.sort_values("at", ignore_index=True)
    where = f"{RAMANUJAN_FOLDER}/"
    matched = joined["pruner"].notna()
    issues.add(
        where, "pruning_algorithm", int(matched.sum()), "rows have no pruning algorithm",
        "taken from the row of rolled/ with equal dataset, model, sparsity, seed, layer, accuracy and weights",
    )  # fmt: skip
    issues.add(
        where, "pruning_algorithm", int(tied.sum()), "rows share all of these with another", "taken in their order"
    )
    issues.add(where, "pruning_algorithm", int((~matched).sum()), "rows match no row of rolled/", "left out")
    issues.add("rolled/", "", len(rolled) - int(matched.sum()), "rows match no row of ramanunjan_results/", "kept")
    far = matched & ((joined["layer_density"] - joined["layer_density_rolled"]).abs() > 1e-6)
    issues.add(where, "layer_sparsity", int(far.sum()), "differs from the joined row's by more than 1e-6", "kept")
    joined = joined[matched].drop(columns=["at", "row_of_rolled", "tie", "layer_density_rolled"]).reset_index(drop=True)
    infinite = np.isinf(joined["delta_r"])
    issues.add(where, "degree_bound", int(infinite.sum()), "values are infinite: the bound is zero", "taken as missing")
    joined["delta_r"] = joined["delta_r"].mask(infinite)
    for column in ("iwsg", "imdb", "delta_r"):
        missing = int(joined[column].isna().sum())
        issues.add(where, column, missing, "values are missing", "left missing; means are over the other layers")
    return joined


def layer_means(layers: pd.DataFrame) -> pd.DataFrame:
    """One row a network: means over layers as ``<encoding>__<metric>_mean``, and the weights kept.

    Means are over the layers that have a value; columns that no layer of an encoding has are not made.

    Parameters
    ----------
    layers
        What `read_layers` returns.

    Returns
    -------
    DataFrame
        Identity of the network, means, ``layer_density_mean``, ``_min`` and ``_max``, and, where the numbers of weights
        are known, ``reached_sparsity``.
    """
    network = KEYS[:5]
    pieces = []
    for encoding, part in layers.groupby("encoding", sort=False):
        metrics = [c for c in metric_columns(part) if part[c].notna().any()]
        means = part.groupby(network)[metrics].mean()
        pieces.append(means.rename(columns=lambda c, e=encoding: f"{e}__{c}_mean"))
    first = layers[layers["encoding"] == layers["encoding"].iloc[0]]  # rolled, where it is there
    density = first.groupby(network)["layer_density"].agg(["mean", "min", "max"])
    pieces.append(density.add_prefix("layer_density_"))
    if "total_weights" in layers.columns:
        weights = layers[layers["encoding"] == "ramanujan"].groupby(network)[["kept_weights", "total_weights"]].sum()
        pieces.append((1 - weights["kept_weights"] / weights["total_weights"]).to_frame("reached_sparsity"))
    return pd.concat(pieces, axis=1).reset_index()
