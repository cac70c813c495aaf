"""What each metric costs with compiled kernels and without, in sparse products: ResNet-20 and a digits network.

    python benchmarks/topometrics.py [--output FILE] [--cases ...]

The floor is one float32 sparse matrix-vector product with each of the graph's blocks, timed in the same process; the
ratio to it is what compares across machines. Seconds are of the processor, one thread. A metric pays for what it is
the first to need (degrees, the adjacency, the components); the routes take turns, and each keeps its best round. The
values of both routes are compared; their largest relative difference is in the record.
"""

from __future__ import annotations

import argparse
import math
import platform
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from measuring import peak_memory, write_record

import topo
from topo.encoding import MultipartiteGraph
from topo.features.kernels import compiler
from topo.features.preparation import prepare_kernels
from topo.features.profiling import seconds_of_a_product, time_metrics
from topo.features.registry import select

CASES = {
    "resnet20": ((3, 32, 32), ("multipartite", "unrolled")),
    "digits-cnn": ((1, 8, 8), ("multipartite", "unrolled", "rolled", "rolled-channel")),
    "digits-mlp": ((1, 8, 8), ("multipartite", "unrolled", "rolled", "rolled-channel")),
}
SPARSITY = 0.9
ROUNDS = 3


def case(name: str, encoding: str, graph: Any) -> dict[str, Any]:
    """The record of one network in one encoding."""
    layers = not isinstance(graph, MultipartiteGraph)
    graphs = list(graph.values()) if layers else [graph]
    best: dict[bool, dict[str, float]] = {}
    values: dict[bool, list[float]] = {}
    floor = math.inf
    for _ in range(ROUNDS):
        for compiled in (False, True):
            floor = min(floor, seconds_of_a_product(graphs))
            with mock.patch.object(compiler, "available", lambda compiled=compiled: compiled):
                seconds, values[compiled] = time_metrics(graphs, select(None, layers=layers))
            kept = best.setdefault(compiled, seconds)
            best[compiled] = {metric: min(s, kept[metric]) for metric, s in seconds.items()}
    one, other = np.array(values[False]), np.array(values[True])
    differences = np.abs(one - other) / np.maximum(np.abs(one), 1e-9)
    rows = [
        {
            "metric": metric,
            "seconds_without": best[False][metric],
            "seconds": best[True][metric],
            "products_without": best[False][metric] / floor,
            "products": best[True][metric] / floor,
        }
        for metric in best[True]
    ]
    totals = {f"seconds{suffix}": sum(row[f"seconds{suffix}"] for row in rows) for suffix in ("_without", "")}
    return {
        "model": name,
        "encoding": encoding,
        "edges": sum(g.n_edges for g in graphs),
        "seconds_product": floor,
        **totals,
        "products_without": totals["seconds_without"] / floor,
        "products": totals["seconds"] / floor,
        "largest_relative_difference": float(np.nanmax(differences)),
        "undefined_alike": bool((np.isnan(one) == np.isnan(other)).all()),
        "metrics": sorted(rows, key=lambda row: -row["seconds_without"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "topometrics.json")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepare_kernels()
    records = []
    for name in options.cases:
        shape, encodings = CASES[name]
        model = topo.models.build(name, input_shape=shape, seed=0)
        masks = topo.prune(model, "erk", sparsity=SPARSITY, seed=0)
        dag = topo.trace(model, shape)
        for encoding in encodings:
            record = case(name, encoding, topo.encode(dag, masks, encoding=encoding))
            records.append(record)
            print(f"{name}, {encoding}: {record['edges']:,} edges, product {1e3 * record['seconds_product']:.3f} ms")
            for row in [*record["metrics"], {"metric": "all", **record}]:
                print(
                    f"  {row['metric']:<22} {row['products_without']:9.1f} -> {row['products']:8.1f} products  "
                    f"{1e3 * row['seconds_without']:9.2f} -> {1e3 * row['seconds']:8.2f} ms",
                    flush=True,
                )
    result = {
        "what": f"untrained networks, ERK masks at sparsity {SPARSITY}, one thread, best of {ROUNDS} rounds",
        "command": "python benchmarks/topometrics.py",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "peak_mib": peak_memory(),
        "cases": records,
    }
    write_record(options.output, result)


if __name__ == "__main__":
    main()
