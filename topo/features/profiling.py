"""What each metric of a graph or a network costs, in seconds and in sparse matrix-vector products."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..dag import Dag, trace
from ..dag.example import Example
from ..encoding.graph import BipartiteGraph, LayerGraphs, MultipartiteGraph
from ..errors import InputError
from ..progress import progress
from ..registry import Entry
from .engines import choices_said_once, graph_or_view
from .graph_view import GraphView
from .mask_files import fitting_masks
from .preparation import prepare_kernels
from .registry import Metric, Undefined, select
from .structural_view import StructuralView

__all__ = ["ENCODE", "VIEW", "profile", "profile_mask_files", "seconds_of_a_product", "time_metrics"]

logger = logging.getLogger(__name__)

ENCODE = "(encode)"
"""The row of encoding a network that is traced."""
VIEW = "(view)"
"""The row of what is done before the first metric."""
REPEATS = 20
ENOUGH_SECONDS = 2.0


def profile(
    graph: MultipartiteGraph | LayerGraphs | nn.Module | Dag,
    masks: Mapping[str, Any] | None = None,
    *,
    example: Example | None = None,
    encoding: str = "multipartite",
    options: Mapping[str, Any] | None = None,
    engine: str = "auto",
    device: str | torch.device = "auto",
    metrics: str | Iterable[str] | None = None,
    imdb_rule: str = "mean_degree",
) -> pd.DataFrame:
    """Time every metric of a graph, of all graphs of a network's layers, or of a network, with what encoding it takes.

    A metric pays for what it is the first to need, such as the adjacency. Compiled code is made ready before, and a
    network is traced before.

    Parameters
    ----------
    graph, masks, example, encoding, options, engine, device, metrics, imdb_rule
        As for `topo.measure`.

    Returns
    -------
    DataFrame
        A row a metric, by its name: ``seconds`` of the processor (with a GPU, of the clock), and ``products``, how many
        float32 matrix-vector products with all blocks of the graph take as long, the unit in which costs compare across
        machines. Without edges the product is one with the network's own layers. ``table.attrs``:
        ``"seconds_product"``, that unit; ``"edges"``, how many there are; ``"engine"``.

    Raises
    ------
    InputError
        As `topo.measure`.

    Examples
    --------
    >>> from scipy import sparse
    >>> from topo.encoding import BipartiteGraph
    >>> graph = BipartiteGraph(sparse.csr_array(np.ones((2, 3), dtype=np.float32)))
    >>> table = profile(graph, metrics=["edges", "two_hop"])
    >>> table.index.tolist(), table.columns.tolist()
    (['(view)', 'edges', 'two_hop'], ['seconds', 'products'])
    """
    prepare_kernels()
    if not isinstance(graph, nn.Module | Dag):
        return _profiled(graph, metrics, imdb_rule)
    metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    dag = trace(graph, example)
    start = time.process_time()
    with graph_or_view(dag, masks, None, encoding=encoding, options=options, engine=engine, device=device) as found:
        encoded = time.process_time() - start
        table = _profiled(found, metrics, imdb_rule)
    unit = table.attrs["seconds_product"]
    first = pd.DataFrame({"seconds": encoded, "products": encoded / unit}, index=[ENCODE])
    both = pd.concat([first, table]).rename_axis("metric")
    both.attrs = table.attrs
    return both


def _profiled(
    found: MultipartiteGraph | LayerGraphs | StructuralView, metrics: str | Iterable[str] | None, imdb_rule: str
) -> pd.DataFrame:
    graphs: list[MultipartiteGraph | StructuralView]
    graphs = list(found.values()) if isinstance(found, LayerGraphs) else [found]
    unit = seconds_of_a_product(graphs)
    layers = all(isinstance(one, BipartiteGraph) for one in graphs)
    # A GPU works while the processor waits.
    clock = time.perf_counter if _on_gpu(graphs) else time.process_time
    seconds, _ = time_metrics(graphs, select(metrics, layers=layers), imdb_rule=imdb_rule, clock=clock)
    table = pd.DataFrame({"seconds": seconds}).rename_axis("metric")
    table["products"] = table["seconds"] / unit
    table.attrs["seconds_product"] = unit
    table.attrs["edges"] = sum(one.n_edges for one in graphs)
    table.attrs["engine"] = "structure" if isinstance(found, StructuralView) else "edges"
    return table


def profile_mask_files(
    model: nn.Module | Dag, files: Sequence[str | Path], *, verbose: bool | None = None, **settings: Any
) -> pd.DataFrame:
    """What each metric of a model costs on average over the masks of many files, one file after the other.

    Parameters
    ----------
    model
        Its masks are in the files.
    files
        What `topo.Masks.save` has written.
    verbose
        Whether to show how far it has come; None where there is a terminal.
    settings
        As for `profile`.

    Returns
    -------
    DataFrame
        The mean of what `profile` returns. ``table.attrs``: means of ``"seconds_product"`` and ``"edges"``;
        ``"engine"``, all that measured one, joined by ``" and "``; ``"networks"``, over how many the mean is;
        ``"failed"``, file -> why it has none.

    Raises
    ------
    InputError
        When an option is wrong or no file can be measured.

    Examples
    --------
    >>> import tempfile, topo
    >>> net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "er.safetensors"
    ...     _ = topo.prune(net, "er", sparsity=0.9, seed=0).save(file)
    ...     table = profile_mask_files(net, [file, "none.safetensors"], example=(1, 8, 8), metrics=["edges"])
    >>> table.index.tolist(), table.attrs["networks"], list(table.attrs["failed"])
    (['(encode)', '(view)', 'edges'], 1, ['none.safetensors'])
    """
    dag = trace(model, settings.pop("example", None))
    tables: list[pd.DataFrame] = []
    failed: dict[str, str] = {}
    with choices_said_once(), progress("files", len(files), logger, shown=verbose) as advance:
        for file in files:
            try:
                tables.append(profile(dag, fitting_masks(dag, file), **settings))
            except InputError as error:
                failed[str(file)] = str(error)
            advance()
    if not tables:
        file, why = next(iter(failed.items()), ("", "there is no file of masks."))
        raise InputError(f"no file was measured; {file}: {why}" if file else why)
    whole = pd.concat(tables)
    mean = whole.groupby(level=0, sort=False).mean()
    attributes = [table.attrs for table in tables]
    for name in ("seconds_product", "edges"):
        mean.attrs[name] = float(np.mean([one[name] for one in attributes]))
    mean.attrs["engine"] = " and ".join(dict.fromkeys(one["engine"] for one in attributes))
    mean.attrs |= {"networks": len(tables), "failed": failed}
    return mean


def time_metrics(
    graphs: Sequence[MultipartiteGraph | StructuralView],
    entries: Sequence[Entry[Metric]],
    *,
    imdb_rule: str = "mean_degree",
    clock: Callable[[], float] = time.process_time,
) -> tuple[dict[str, float], list[float]]:
    """Seconds of the processor that each metric takes over all graphs, and every value in order, NaN where it has none.

    Parameters
    ----------
    graphs
        The graphs, one after the other, or a network's view without edges.
    entries
        Metrics, as `topo.features.registry.select` returns them.
    imdb_rule
        As for `topo.measure`.
    clock
        What counts the seconds, where it is not the processor, as with a GPU.

    Returns
    -------
    tuple
        Name -> seconds, and the values.
    """
    seconds = {VIEW: 0.0, **{entry.name: 0.0 for entry in entries}}
    values: list[float] = []
    for graph in graphs:
        start = clock()
        view = graph if isinstance(graph, StructuralView) else GraphView(graph, imdb_rule=imdb_rule)
        seconds[VIEW] += clock() - start
        for entry in entries:
            start = clock()
            try:
                measured: Any = entry.item(view)
            except Undefined as reason:
                measured = dict.fromkeys(entry.info["columns"], reason)
            seconds[entry.name] += clock() - start
            found = measured.values() if isinstance(measured, Mapping) else [measured]
            values += [nan if isinstance(value, Undefined) else float(value) for value in found]
    return seconds, values


def seconds_of_a_product(graphs: Sequence[MultipartiteGraph | StructuralView]) -> float:
    """Seconds of the processor for a float32 product of every block of the graphs with ones, the least of some.

    Parameters
    ----------
    graphs
        The graphs; of a network's view without edges the product is one with its own layers.

    Returns
    -------
    float
        Seconds.
    """
    products: list[Any] = []
    for graph in graphs:
        if isinstance(graph, StructuralView):
            products.append((graph.adjacency.rounded.into, np.ones(graph.n_nodes)))
        else:
            products += [(block.matrix.dot, np.ones(block.matrix.shape[1], np.float32)) for block in graph.blocks]
    clock = time.perf_counter if _on_gpu(graphs) else time.process_time
    least, spent = inf, 0.0
    for _ in range(REPEATS):
        start = clock()
        for product, vector in products:
            product(vector)
        seconds = clock() - start
        least, spent = min(least, seconds), spent + seconds
        if spent > ENOUGH_SECONDS:
            break
    return least


def _on_gpu(graphs: Sequence[MultipartiteGraph | StructuralView]) -> bool:
    return any(isinstance(graph, StructuralView) and graph.adjacency.device.type != "cpu" for graph in graphs)
