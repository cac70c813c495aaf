"""Read the published tables of sparse networks: two schemas, two joins, and every oddity listed.

``unrolled/unrolled.csv`` has one row a network (the multipartite graph); ``rolled/``, ``rolled_channel/`` and
``ramanunjan_results/`` have one row a layer; any of the folders will do. Values stay as published: what cannot be used
is left out or becomes a missing value, and either is listed. Files of the repository eliacunegatti/mge-snn, which
belong to Cunegatti, Bucur & Iacca, arXiv 2305.16886.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError, counted
from .collapsed import collapsed_networks
from .data_issues import DataIssues
from .labels import listed
from .published_columns import read_csv, without_repeats
from .published_layers import RAMANUJAN_FOLDER, layer_means, read_layers
from .schema import ALIASES, NETWORK, PAIR, tidy_results

__all__ = ["Published", "load_published"]

KEYS = list(NETWORK)
FILE = "unrolled/unrolled.csv"
# Folder: what is not known without it.
FOLDERS = {
    "unrolled": "metrics of whole networks",
    "rolled": "metrics of rolled layers",
    "rolled_channel": "metrics of rolled-channel layers",
    RAMANUJAN_FOLDER: "Ramanujan metrics with the sparsity reached",
}
# By dataset: the number of classes, and of the images that accuracies are shares of.
CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "Tiny-ImageNet": 200}
TESTED = dict.fromkeys(CLASSES, 10_000)
COLUMNS = (
    *("accuracy", "pruning", "sparsity", "model", "dataset", "seed", "nodes", "edges", "sink_nodes", "source_nodes"),
    *("disc_nodes", "r-out", "r-in", "2-hop_nei", "cut-edges", "motif", "no_connected_components"),
    *("mean_connected_components", "avg_node_strength", "1-hop_nei", "cut-nodes", "k-core", "spectral_gap"),
    "spectral_radius",
)


@dataclass(frozen=True)
class Published:
    """The published tables.

    Attributes
    ----------
    networks
        One row a network.
    layers
        One row a layer and encoding; None where no folder of layers is there.
    data_issues
        What was irregular, and what was done about it.
    missing
        One sentence on the folders that are not there; empty when all are.
    """

    networks: pd.DataFrame
    layers: pd.DataFrame | None
    data_issues: pd.DataFrame
    missing: str = ""

    def __repr__(self) -> str:
        return f"Published({counted(len(self.networks), 'network')}, {counted(len(self.data_issues), 'issue')})"


def load_published(folder: str | Path) -> Published:
    """Read the folders of published tables under `folder`, however many of the four are there.

    Parameters
    ----------
    folder
        Holds some of ``unrolled/``, ``rolled/``, ``rolled_channel/`` and ``ramanunjan_results/``.

    Returns
    -------
    Published
        `networks`: the rows of the multipartite file, with our names; its metrics are the published, normalised ones
        (divided by nodes or edges as in the topometrics' definitions). Layer-wise metrics are added as
        ``<encoding>__<metric>_mean`` over layers; `reached_sparsity` and `layer_density_mean`, `_min`, `_max` come
        from the layers too. Networks without layer files have NaN there. Without the multipartite file the networks
        are those that the layers belong to, and have the layer-wise metrics only.

    Raises
    ------
    InputError
        None of the folders is there, a needed column is missing, or a column holds text where numbers belong.
    """
    folder = Path(folder)
    there = [name for name in FOLDERS if any((folder / name).glob("**/*.csv"))]
    if (folder / "unrolled").is_dir() and not (folder / FILE).is_file():
        there = [name for name in there if name != "unrolled"]
    if not there:
        raise InputError(f"{folder} holds no published tables; name the folder that has {listed(_written(FOLDERS))}.")
    if there == [RAMANUJAN_FOLDER]:
        raise InputError(
            f"{folder} holds {RAMANUJAN_FOLDER}/ alone, whose rows do not name the algorithm; add rolled/, which does."
        )
    issues = DataIssues()
    networks = _networks(read_csv(folder / FILE, COLUMNS), issues) if "unrolled" in there else None
    layers = read_layers(folder, [name for name in there if name != "unrolled"], issues)
    if layers is not None:
        means = layer_means(layers)
        if networks is None:
            networks = layers.drop_duplicates(KEYS)[[*KEYS, "family", "accuracy"]]
            networks = tidy_results(networks.merge(means, on=KEYS, validate="one_to_one"))
        else:
            networks = networks.merge(means, on=KEYS, how="left", validate="one_to_one")
            _compare(networks, layers, issues)
    assert networks is not None  # one of the folders is there, and it is not that of the Ramanujan metrics alone
    return Published(_with_classes(networks), layers, issues.table(), _missing(there))


def _with_classes(networks: pd.DataFrame) -> pd.DataFrame:
    """With the numbers of classes and of test images, where the dataset is one of those published."""
    facts = {name: networks["dataset"].map(known) for name, known in (("classes", CLASSES), ("test_samples", TESTED))}
    return networks.assign(**facts)


def _missing(there: list[str]) -> str:
    """Which folders are not there, and what is not known for that."""
    gone = [name for name in FOLDERS if name not in there]
    if not gone:
        return ""
    unknown = [FOLDERS[name] for name in gone]
    if "rolled" in gone and RAMANUJAN_FOLDER in there:  # whose rows find their algorithm in rolled/
        unknown.append(FOLDERS[RAMANUJAN_FOLDER])
    return f"The published tables have no {listed(_written(gone))} here, so {listed(unknown)} are not known."


def _written(folders: Iterable[str]) -> list[str]:
    return [f"{name}/" for name in folders]


def _networks(table: pd.DataFrame, issues: DataIssues) -> pd.DataFrame:
    """The multipartite table with our names, checked."""
    renamed = {old: new for old, new in ALIASES.items() if old in table.columns}
    issues.add(
        FILE, ", ".join(renamed), len(table), "columns have names other than ours",
        f"renamed to {', '.join(renamed.values())}",
    )  # fmt: skip
    table = tidy_results(without_repeats(table, ["dataset", "model", "pruning", "sparsity", "seed"], FILE, issues))
    levels = [sorted(table[c].unique()) for c in KEYS]
    possible = len(list(product(*levels)))
    absent = possible - len(table)
    issues.add(FILE, ", ".join(KEYS), absent, f"networks of the full grid of {possible} are missing", "nothing")
    counts = pd.MultiIndex.from_product(levels, names=KEYS).difference(pd.MultiIndex.from_frame(table[KEYS]))
    for model, count in counts.to_frame()["model"].value_counts(sort=False).items():
        issues.add(FILE, "model", count, f"of them of model {model}", "nothing: read pooled numbers with it in mind")
    for column in table.columns[table.isna().any()]:
        rows = table[table[column].isna()]
        where = "; ".join(sorted({f"{r.pruner} {r.model} {r.dataset} {r.sparsity:g}" for r in rows.itertuples()}))
        issues.add(FILE, column, len(rows), f"values are missing ({where})", "left missing")
    metrics = [c for c in table.select_dtypes("number") if c not in (*KEYS, "accuracy")]
    for column in metrics:
        issues.add(FILE, column, int((table[column] < 0).sum()), "values are negative", "kept")
        if table[column].min() == table[column].max():
            issues.add(FILE, column, len(table), "the column is constant", "kept")
    near_chance = len(collapsed_networks(_with_classes(table)))
    issues.add(FILE, "accuracy", near_chance, "networks are near chance: collapsed", "kept")
    _identities(table, issues)
    _outliers(table, issues)
    for column in PAIR:
        written = ", ".join(sorted(table[column].unique()))
        issues.add(FILE, column, len(table), f"names are spelt otherwise than ours: {written}", "kept as published")
    return table


def _identities(table: pd.DataFrame, issues: DataIssues) -> None:
    """Columns that another column already says."""
    one_hop = (1 + table["edges"] / table["nodes"]) / table["edges"]
    if np.allclose(table["one_hop"], one_hop, rtol=1e-9):
        issues.add(FILE, "one_hop", len(table), "is (1 + E/N)/E exactly, a function of nodes and edges", "kept")
    if np.allclose(table["mean_component_size"] * table["connected_components"], 1, rtol=1e-9):
        issues.add(FILE, "mean_component_size", len(table), "is 1/connected_components exactly", "kept")


def _outliers(table: pd.DataFrame, issues: DataIssues) -> None:
    """Values far beyond those of the other networks of the same model: unstable training or a failed solver."""
    for column in ("strength", "spectral_gap", "spectral_radius", "motifs"):
        logs = np.log10(table[column].where(table[column] > 0))
        by_model = logs.groupby(table["model"])
        quarter, three = by_model.transform("quantile", 0.25), by_model.transform("quantile", 0.75)
        far = logs > three + 3 * (three - quarter)
        issues.add(FILE, column, int(far.sum()), "values lie far above those of the model (3 quartile ranges)", "kept")


def _compare(networks: pd.DataFrame, layers: pd.DataFrame, issues: DataIssues) -> None:
    """Networks that only one side knows, accuracies that differ, and sparsities other than asked for."""
    name = layers["encoding"].iloc[0]  # rolled, where it is there
    of_layers = layers[layers["encoding"] == name].drop_duplicates(KEYS)[[*KEYS, "accuracy"]]
    both = networks.reindex(columns=[*KEYS, "accuracy", "reached_sparsity"]).merge(
        of_layers, on=KEYS, how="outer", suffixes=("", "_layers"), indicator=True
    )
    only_here = both[both["_merge"] == "left_only"]
    for model, count in only_here["model"].value_counts(sort=False).items():
        issues.add(FILE, "model", count, f"networks of {model} have no rows in {name}/", "layer-wise metrics missing")
    only_layers = both[both["_merge"] == "right_only"]
    these = ", ".join(sorted({f"{r.pruner} {r.model} {r.dataset} {r.sparsity:g}" for r in only_layers.itertuples()}))
    issues.add(
        f"{name}/", ", ".join(KEYS), len(only_layers), f"networks have layers but no multipartite row ({these})",
        "in the layers, not among the networks",
    )  # fmt: skip
    shared = both[both["_merge"] == "both"]
    differ = (shared["accuracy"] - shared["accuracy_layers"]).abs() > 1e-9
    issues.add(FILE, "accuracy", int(differ.sum()), f"differs from the one in {name}/", "the one of unrolled.csv kept")
    gap = shared["reached_sparsity"] - shared["sparsity"]
    for pruner, off in gap[gap.abs() > 0.01].groupby(shared["pruner"]):
        issues.add(
            "ramanunjan_results/", "no_weights, no_params", len(off),
            f"{pruner} networks reached a sparsity more than .01 from the one asked for ({off.min():+.3f} to "
            f"{off.max():+.3f})", "kept; reached_sparsity has the share that was reached",
        )  # fmt: skip
