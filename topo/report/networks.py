"""What a report shows of the networks themselves: one drawn as a graph, and the density of every layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..encoding import LayerGraphs, MultipartiteGraph
from ..errors import InputError
from ..results.evidence import Evidence
from ..results.labels import percent
from ..results.layers import layer_table
from ..study import Study

__all__ = ["Drawn", "layer_densities", "network_to_draw"]

MOST_EDGES = 20_000_000


@dataclass(frozen=True)
class Drawn:
    """A graph to draw with its title, or why there is none.

    Attributes
    ----------
    graph
        The graph.
    title
        Its title.
    reason
        Why there is none.
    """

    graph: MultipartiteGraph | None = None
    title: str = ""
    reason: str = ""


def network_to_draw(evidence: Evidence) -> Drawn:
    """A network of the first study that can make one again.

    Of the middle sparsity, the largest graph that is not too large to make again, the most accurate one of its model.

    Parameters
    ----------
    evidence
        The tables, and the studies that they come from.

    Returns
    -------
    Drawn
        With a graph, or with the reason why there is none.
    """
    if not evidence.studies:
        return Drawn(
            reason="The source holds no graph to draw, for it has no masks; pass one: "
            "write_report(..., graph=topo.encode(...))."
        )
    reason = ""
    for name, folder in evidence.studies.items():
        table = evidence.networks[evidence.networks["study"] == name]
        key, reason = _cell_to_draw(table)
        if not key:
            continue
        row = table[table["cell"] == key].iloc[0]
        try:
            graph = _graph(Study.load(folder), key)
        except (InputError, OSError) as error:
            reason = f"the graph of cell {key} cannot be made again: {error}"
            continue
        assert isinstance(graph, MultipartiteGraph)  # which is what a study encodes unless told otherwise
        title = f"{row['model']}, {row['pruner']} at {percent(row['sparsity'])}, seed {row['seed']}"
        return Drawn(graph, f"{name}: {title}" if len(evidence.studies) > 1 else title)
    return Drawn(reason=reason)


def layer_densities(evidence: Evidence) -> pd.DataFrame | None:
    """Density of every masked tensor of every network whose masks are kept, or as published.

    Parameters
    ----------
    evidence
        The tables, and the studies that they come from.

    Returns
    -------
    DataFrame or None
        Identity of the network, layer, density; None where no masks are kept.
    """
    table = layer_table(evidence)
    return table if "density" in table.columns and len(table) else None


def _graph(study: Study, key: str) -> MultipartiteGraph | LayerGraphs:
    return study.with_own_code(lambda: study.graph(key))


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
