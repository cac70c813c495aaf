"""What a report is written from: studies, a results table, or the published tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..encoding.graph import MultipartiteGraph
from ..errors import InputError
from ..masks import Masks
from ..study import Study
from .evidence import Evidence, together
from .labels import percent
from .schema import tidy_results

__all__ = ["Source", "load_published_source", "load_source", "load_sources"]

MOST_EDGES = 20_000_000


@dataclass
class Source:
    """A tidy results table and what is known beside it."""

    name: str
    table: pd.DataFrame
    folder: Path | None = None
    settings: str = ""
    undefined: dict[str, str] = field(default_factory=dict)
    layers: pd.DataFrame | None = None
    graph: MultipartiteGraph | None = None
    graph_title: str = ""
    no_graph: str = "the source holds no graph to draw; pass one: write_report(..., graph=topo.encode(...))."
    notes: list[str] = field(default_factory=list)

    @cached_property
    def evidence(self) -> Evidence:
        """What questions are asked of."""
        found = Evidence.of(self.table, name=self.name)
        if self.folder is None or not (self.folder / "study.yaml").exists():
            return found
        networks = found.networks.assign(study=self.name)
        return replace(found, networks=networks, folder=self.folder, studies={self.name: self.folder})


def load_source(source: Any) -> Source:
    """Read a study, its folder, a DataFrame, or a parquet or CSV file.

    Raises
    ------
    InputError
        The source is none of these, does not exist, cannot be read or holds no rows.
    """
    if isinstance(source, pd.DataFrame):
        return _from_table(source, "results table")
    if isinstance(source, Study):
        return _from_study(source)
    if not isinstance(source, str | Path):
        raise InputError(
            f"a report is written from a study, its folder, a DataFrame or a .parquet or .csv file; "
            f"got {type(source).__name__}."
        )
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a study folder, or a results table as .parquet or .csv.")
    return _from_folder(path) if path.is_dir() else _from_table(_read(path), path.stem)


def load_sources(sources: Sequence[Any]) -> Source:
    """Several sources as one; a dataset and model that two of them hold becomes two models.

    Raises
    ------
    InputError
        As `load_source`; also when there is none, or two have the same name.
    """
    pieces = [load_source(source) for source in sources]
    evidence = together([piece.evidence for piece in pieces])
    table = evidence.networks.drop(columns="study", errors="ignore")
    joined = Source(evidence.name, table, undefined={k: v for p in pieces for k, v in p.undefined.items()})
    joined.evidence = evidence
    joined.settings = "\n".join(f"# {p.name}\n{p.settings}" for p in pieces if p.settings)
    joined.notes = [f"{p.name}: {note}" for p in pieces for note in p.notes]
    shared = {model for model in table["model"] if any(model.endswith(f" ({p.name})") for p in pieces)}
    layers = []
    for piece in pieces:
        if piece.layers is not None and "model" in piece.layers.columns:
            named = piece.layers["model"] + f" ({piece.name})"
            layers.append(piece.layers.assign(model=piece.layers["model"].where(~named.isin(shared), named)))
    joined.layers = pd.concat(layers, ignore_index=True) if layers else None
    for piece in pieces:
        if piece.graph is not None and joined.graph is None:
            joined.graph, joined.graph_title = piece.graph, f"{piece.name}: {piece.graph_title}"
    return joined


def load_published_source(folder: str | Path) -> Source:
    """The published tables (`topo.results.load_published`)."""
    evidence = Evidence.open(published=folder)
    source = Source("Published tables", evidence.networks)
    source.evidence = evidence
    source.no_graph = "The published tables hold no masks, so there is no graph to draw."
    layers = evidence.layers
    if layers is not None:
        first = layers[layers["encoding"] == "rolled"].sort_values("layer")
        source.layers = first.assign(layer=first["layer_name"], density=first["layer_density"])
    return source


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    raise InputError(f"{path} is neither a .parquet nor a .csv file nor a study folder.")


def _from_table(table: pd.DataFrame, name: str) -> Source:
    if table.empty:
        raise InputError(f"the {name} has no rows, so there is nothing to report.")
    return Source(name, tidy_results(table), undefined=_recorded_reasons(table))


def _recorded_reasons(table: pd.DataFrame) -> dict[str, str]:
    """Reasons of undefined metrics by column.

    They come from the column `undefined`: texts ``"metric, metric: reason; ..."`` or JSON objects.
    """
    reasons: dict[str, str] = dict(table.attrs.get("undefined", {}))
    if "undefined" not in table.columns:
        return reasons
    columns = set(table.columns)
    for text in table["undefined"].dropna().astype(str).unique():
        if text.startswith("{"):
            reasons = json.loads(text) | reasons
            continue
        names: list[str] = []
        for piece in text.split("; "):
            head, _, reason = piece.partition(": ")
            found = head.split(", ")
            if set(found) <= columns:
                names = [n for n in found if n not in reasons]
                reasons.update(dict.fromkeys(names, reason))
            else:  # a reason that holds the separator itself
                reasons.update({n: f"{reasons[n]}; {piece}" for n in names})
    return reasons


def _from_folder(folder: Path) -> Source:
    settings, results = folder / "study.yaml", folder / "results.parquet"
    if settings.exists():
        return _from_study(Study.load(folder))
    if not results.exists():
        raise InputError(f"{folder} is no study (no study.yaml) and holds no results.parquet to report on.")
    source = _from_table(_read(results), folder.resolve().name)
    source.folder = folder
    return source


def _from_study(study: Study) -> Source:
    table = study.results()
    source = _from_table(table, study.config.name)
    source.folder = study.folder
    source.settings = study.config.to_yaml()
    waiting = int((study.status()["status"] == "missing").sum())
    if waiting:
        source.notes.append(f"The study is not complete: {waiting} of {len(study.cells)} networks have not run yet.")
    source.layers = _layer_densities(study, source.table)
    key, reason = _cell_to_draw(source.table)
    if not key:
        source.no_graph = reason
        return source
    row = source.table[source.table["cell"] == key].iloc[0]
    try:
        graph = study.graph(key)
        source.graph = graph if isinstance(graph, MultipartiteGraph) else None
        source.graph_title = f"{row['model']}, {row['pruner']} at {percent(row['sparsity'])}, seed {row['seed']}"
    except (InputError, OSError) as error:
        source.no_graph = f"the graph of cell {key} cannot be made again: {error}"
    return source


def _layer_densities(study: Study, table: pd.DataFrame) -> pd.DataFrame | None:
    """Density of every masked tensor of every network whose masks are kept."""
    pieces = []
    for row in table[table["pruner"] != "dense"].itertuples():
        file = study.folder / "cells" / row.cell / "masks.safetensors"
        if file.exists():
            counts = Masks.load(file).counts()
            pieces.append(
                pd.DataFrame(
                    {
                        "dataset": row.dataset,
                        "model": row.model,
                        "pruner": row.pruner,
                        "sparsity": row.sparsity,
                        "seed": row.seed,
                        "layer": counts["name"],
                        "density": counts["density"],
                    }
                )
            )
    return pd.concat(pieces, ignore_index=True) if pieces else None


def _cell_to_draw(table: pd.DataFrame) -> tuple[str, str]:
    """Key of the network to draw, or why there is none.

    Of the middle sparsity, the largest graph that is not too large to make again, the most accurate one of its model.
    """
    sparse = table[(table["pruner"] != "dense") & table["accuracy"].notna()]
    if sparse.empty:
        return "", "no sparse network finished, so there is no graph to draw."
    if "edges" in sparse.columns:
        sparse = sparse[~(sparse["edges"] > MOST_EDGES)]
        if sparse.empty:
            return "", f"every graph has more than {MOST_EDGES:,} edges; draw one with topo.plots.draw_graph."
    sparsities = np.sort(sparse["sparsity"].unique())
    middle = sparse[sparse["sparsity"] == sparsities[len(sparsities) // 2]]
    if "nodes" in middle.columns and middle["nodes"].notna().any():
        middle = middle[middle["nodes"] == middle["nodes"].max()]
    return str(middle.loc[middle["accuracy"].idxmax(), "cell"]), ""
