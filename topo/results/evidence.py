"""What questions are asked of: a tidy table of networks, one of their layers where known, and what was odd in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from .data_issues import Anomalies
from .published import load_published
from .schema import metric_columns, ordered_metrics, tidy_results

__all__ = ["ENCODINGS", "Evidence", "together"]

ENCODINGS = ("rolled", "rolled_channel", "unrolled", "ramanujan")
IDENTITY = ("dataset", "model", "pruner", "sparsity", "seed")
# Further columns that may tell two networks apart.
ALSO_IDENTITY = ("recipe", "stage", "cell")


@dataclass(frozen=True)
class Evidence:
    """Tables to ask questions of.

    Parameters
    ----------
    name
        Where the tables come from, for titles.
    networks
        One row a network: dataset, model, pruner, family, sparsity, seed, accuracy (and dense_accuracy where known),
        whole-network metrics under bare names, layer-wise ones as ``<encoding>__<metric>_mean``.
    layers
        One row a layer and encoding, or None: the identity columns, layer, encoding, layer_density and metrics.
    anomalies
        What was odd in the files: file, column, rows, what, done.
    folder
        Where the tables lie, if in a folder.
    studies
        Folder of every study that the column `study` of `networks` names: there are the masks.

    Examples
    --------
    >>> from topo.results import example_results
    >>> evidence = Evidence.of(example_results())
    >>> len(evidence.networks), len(evidence.sparse), evidence.whole_network_metrics[:2]
    (50, 48, ['nodes', 'edges'])
    """

    name: str
    networks: pd.DataFrame
    layers: pd.DataFrame | None = None
    anomalies: pd.DataFrame = field(default_factory=lambda: Anomalies().table())
    folder: Path | None = None
    studies: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pd.DataFrame, *, name: str = "results table", layers: pd.DataFrame | None = None) -> Evidence:
        """Evidence from a results table; rows that repeat a network are set aside and listed among the anomalies.

        Raises
        ------
        InputError
            The table has no rows, or no accuracy, pruner or sparsity.
        """
        networks = tidy_results(table)
        if networks.empty:
            raise InputError(f"the {name} has no rows, so there is nothing to ask.")
        found = Anomalies()
        measured = networks[metric_columns(networks)].select_dtypes("float")
        for column in measured.columns[np.isinf(measured).any()]:
            rows = int(np.isinf(measured[column]).sum())
            found.add(name, column, rows, "values are infinite", "taken as missing")
            networks[column] = networks[column].replace([np.inf, -np.inf], np.nan)
        keys = [c for c in (*IDENTITY, *ALSO_IDENTITY) if c in networks.columns]
        keys += [c for c in networks.columns if c.startswith(("setting_", "settings_"))]
        again = networks.duplicated(keys)
        found.add(
            name,
            ", ".join(keys),
            int(again.sum()),
            "rows repeat a network",
            "the first row of each kept, others left out",
        )
        lost = int(networks["accuracy"].isna().sum())
        found.add(name, "accuracy", lost, "networks have no accuracy", "left out wherever accuracy is needed")
        return cls(name, networks[~again].reset_index(drop=True), layers, found.table())

    @classmethod
    def open(
        cls, *, study: str | Path | Sequence[str | Path] | None = None, published: str | Path | None = None
    ) -> Evidence:
        """Evidence from a study's folder (or a results table, .parquet or .csv), from several of them, or from the
        published tables' folder.

        Raises
        ------
        InputError
            None or both are given, or what is given cannot be read.
        """
        if (study is None) == (published is None):
            raise InputError("give either a study or the folder of the published tables.")
        if published is not None:
            tables = load_published(published)
            return cls("published tables", tables.networks, tables.layers, tables.anomalies, Path(published))
        paths = [Path(study)] if isinstance(study, str | Path) else [Path(s) for s in study or ()]
        return together([cls._of_path(path) for path in paths])

    @classmethod
    def _of_path(cls, path: Path) -> Evidence:
        found = cls.of(_results(path), name=path.resolve().stem)
        studies = {found.name: path} if (path / "study.yaml").exists() else {}
        networks = found.networks.assign(study=found.name) if studies else found.networks
        return cls(found.name, networks, None, found.anomalies, path if path.is_dir() else path.parent, studies)

    @cached_property
    def sparse(self) -> pd.DataFrame:
        """The networks that are not dense and have an accuracy."""
        networks = self.networks
        return networks[(networks["pruner"] != "dense") & networks["accuracy"].notna()].reset_index(drop=True)

    @cached_property
    def whole_network_metrics(self) -> list[str]:
        """Metric columns of the multipartite graph, by category; the normalised ones where there are both."""
        return ordered_metrics(c for c in metric_columns(self.networks) if "__" not in c)

    def layer_metrics(self, encoding: str) -> list[str]:
        """Metric columns of one layer-wise encoding, their means over layers only."""
        head = f"{encoding}__"
        return ordered_metrics(
            c for c in metric_columns(self.networks) if c.startswith(head) and c.endswith("_mean")
        )  # fmt: skip


def together(pieces: Sequence[Evidence]) -> Evidence:
    """One evidence of several; where two hold networks of the same dataset and model, the model takes on the name of
    its study, so that what was trained by different recipes stays in different groups.

    Raises
    ------
    InputError
        There is none, or two have the same name.
    """
    if not pieces:
        raise InputError("no study is given; give the folder of one, or several.")
    if len(pieces) == 1:
        return pieces[0]
    names = [piece.name for piece in pieces]
    if len(set(names)) < len(names):
        raise InputError(f"two studies are called {max(names, key=names.count)!r}; rename the folder of one.")
    pairs = [set(piece.networks[["dataset", "model"]].itertuples(index=False, name=None)) for piece in pieces]
    found, tables = Anomalies(), []
    for i, piece in enumerate(pieces):
        shared = pairs[i] & set().union(*pairs[:i], *pairs[i + 1 :])
        table = piece.networks
        here = pd.Series(list(zip(table["dataset"], table["model"], strict=True))).isin(shared).to_numpy(bool)
        found.add(
            piece.name, "model", int(here.sum()), "networks of a dataset and model that another study has too",
            "the study's name added to the model's: no group holds both, but neither model is unseen to the other",
        )  # fmt: skip
        tables.append(table.assign(model=table["model"].where(~here, table["model"] + f" ({piece.name})")))
    anomalies = [piece.anomalies for piece in pieces] + [found.table()]
    layers = [piece.layers for piece in pieces if piece.layers is not None]
    return Evidence(
        ", ".join(names),
        pd.concat(tables, ignore_index=True),
        pd.concat(layers, ignore_index=True) if len(layers) == len(pieces) else None,
        pd.concat(anomalies, ignore_index=True),
        studies={name: path for piece in pieces for name, path in piece.studies.items()},
    )


def _results(path: Path) -> pd.DataFrame:
    """The results table of a study's folder or of a file."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give a study's folder, or a results table as .parquet or .csv.")
    if (path / "study.yaml").exists():
        from ..study import Study  # brings torch with it, which a table does not need

        return Study.load(path).results()
    file = path / "results.parquet" if path.is_dir() else path
    try:
        if file.suffix == ".csv":
            return pd.read_csv(file)
        if file.suffix == ".parquet" and file.exists():
            return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if path.is_dir():
        raise InputError(f"{path} is no study: it holds neither study.yaml nor results.parquet.")
    raise InputError(f"{path} is neither a .parquet nor a .csv file nor a study's folder.")
