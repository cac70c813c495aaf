"""What metrics cost through edges and without them, in products, and how far their values differ.

    python benchmarks/engines.py [--device auto] [--dense] [--output FILE]

ResNet-20 on 3x32x32 inputs with random masks at three sparsities. A product is one float32 product of a vector with the
blocks of the graph. With --dense also ResNet-50 on 3x224x224 inputs without masks, whose graph has billions of edges
and cannot be built to compare: there a product is one with the network's own layers, forward and transposed.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import torch
from measuring import peak_memory, write_record

import topo
from topo.features import GraphView, Undefined
from topo.features.engines import graph_or_view
from topo.features.preparation import prepare_kernels
from topo.features.profiling import seconds_of_a_product
from topo.features.registry import select

METRICS = ("general", "local", "one_hop", "strength", "expansion", "paths", "sparsity")


def costs(view: GraphView) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds of each metric, and the values that there are."""
    seconds, values = {}, {}
    for entry in select(METRICS, layers=False):
        start = time.process_time()
        try:
            measured: Any = entry.item(view)
        except Undefined:
            continue
        seconds[entry.name] = time.process_time() - start
        found = measured if isinstance(measured, dict) else {entry.name: measured}
        values |= {name: float(value) for name, value in found.items() if not isinstance(value, Undefined)}
        print(f"  {entry.name:<20} {seconds[entry.name]:9.3f} s", flush=True)
    return seconds, values


def compared(sparsity: float, device: str) -> dict[str, Any]:
    """Both engines on one network."""
    model = topo.models.build("resnet20", input_shape=(3, 32, 32), seed=0)
    masks = topo.prune(model, "er", sparsity=sparsity, seed=0)
    dag = topo.trace(model, (3, 32, 32))
    graph = topo.encode(dag, masks)
    edges, values = costs(GraphView(graph))
    start = time.process_time()
    with graph_or_view(dag, masks, None, engine="structure", device=device) as view:
        built = time.process_time() - start
        without, others = costs(view)
    shared = [name for name in others if name in values]
    product = seconds_of_a_product([graph])
    return {
        "model": "resnet20",
        "sparsity": sparsity,
        "edges": graph.n_edges,
        "seconds_product": product,
        "products_edges": {name: edges[name] / product for name in without},
        "products_structure": {name: seconds / product for name, seconds in without.items()},
        "products_structure_view": built / product,
        "largest_relative_difference": max(abs(others[n] - values[n]) / max(abs(values[n]), 1e-12) for n in shared),
    }


def dense(device: str) -> dict[str, Any]:
    """ResNet-50 at full resolution, every weight kept."""
    model = topo.models.build("torchvision:resnet50", input_shape=(3, 224, 224), n_classes=1000, seed=0)
    start = time.process_time()
    with graph_or_view(model, None, (3, 224, 224), engine="structure", device=device) as view:
        built = time.process_time() - start
        product = seconds_of_a_product([view])
        seconds, values = costs(view)
    return {
        "model": "torchvision:resnet50",
        "edges": view.n_edges,
        "nodes": view.n_nodes,
        "seconds_product": product,
        "processor_seconds": {"(view)": built, **seconds},
        "values": values,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "engines.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepare_kernels()
    rows = [compared(sparsity, options.device) for sparsity in (0.5, 0.9, 0.98)]
    if options.dense:
        rows.append(dense(options.device))
    record = {
        "what": "metrics through edges and without, one thread, processor seconds",
        "command": "python benchmarks/engines.py",
        "machine": platform.machine(),
        "device": options.device,
        "peak_mib": peak_memory(),
        "rows": rows,
    }
    write_record(options.output, record)


if __name__ == "__main__":
    main()
