"""Encode and measure ResNet-20 under the masks of every pruner: nodes, edges, seconds, peak memory.

    python benchmarks/encode_measure.py --data-root FOLDER [--output FILE] [--sparsities ...] [--pruners ...]

Rows of other cells that the file already has stay. FOLDER holds CIFAR-10 as Parquet files or in torchvision's
layout. No network is trained. Every cell runs in a process of its own, so that its peak memory is its own. The
floor of encoding is one sparse matrix-vector product with each of the graph's blocks, timed in the same process on
the same edges; the ratio to it is what compares across machines. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import peak_memory, times, write_record

import topo
from topo.features.preparation import prepare_kernels

SPARSITIES = (0.6, 0.8, 0.9, 0.95, 0.98)
REPEATS = 5


def cell(pruner: str, sparsity: float, data_root: str) -> dict[str, Any]:
    """One row of the table."""
    torch.set_num_threads(1)
    prepare_kernels()
    data = topo.datasets.load("cifar10", root=data_root, subset=50)
    model = topo.models.build("resnet20", input_shape=data.input_shape, n_classes=data.n_classes, seed=0)
    start = time.process_time()
    masks = topo.prune(model, pruner, sparsity=sparsity, data=data, seed=0)
    pruned = time.process_time()
    dag = topo.trace(model, data.input_shape)
    traced = time.process_time()
    before = peak_memory()
    encode_seconds = statistics.median(times(lambda: topo.encode(dag, masks), REPEATS, clock=time.process_time))
    encoded = peak_memory()
    graph = topo.encode(dag, masks)
    ones = [np.ones(block.matrix.shape[1], np.float32) for block in graph.blocks]

    def products() -> None:
        for block, x in zip(graph.blocks, ones, strict=True):
            block.matrix @ x

    product_seconds = statistics.median(times(products, 4 * REPEATS, clock=time.process_time))
    start_measure = time.process_time()
    row = topo.measure(graph)
    measure_seconds = time.process_time() - start_measure
    return {
        "pruner": pruner,
        "sparsity": sparsity,
        "reached_sparsity": masks.sparsity,
        "nodes": graph.n_nodes,
        "edges": graph.n_edges,
        "seconds_prune": pruned - start,
        "seconds_trace": traced - pruned,
        "seconds_encode": encode_seconds,
        "seconds_product": product_seconds,
        "encode_in_products": encode_seconds / product_seconds,
        "seconds_measure": measure_seconds,
        "measure_in_products": measure_seconds / product_seconds,
        "undefined_metrics": sorted(row.attrs["undefined"]),
        "peak_mib_before_encoding": before,
        "peak_mib_encoded": encoded,
        "peak_mib_measured": peak_memory(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True, help="folder of CIFAR-10")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "encode_measure.json")
    parser.add_argument("--pruners", nargs="*", default=list(topo.pruning.PRUNERS))
    parser.add_argument("--sparsities", nargs="*", type=float, default=SPARSITIES)
    options = parser.parse_args()
    rows = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for sparsity in sorted(options.sparsities, reverse=True):
            for pruner in options.pruners:
                row = pool.submit(cell, pruner, sparsity, options.data_root).result()
                rows = [r for r in rows if (r["pruner"], r["sparsity"]) != (pruner, sparsity)] + [row]
                rows.sort(key=lambda r: (-r["sparsity"], r["pruner"]))
                brief = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}
                print(json.dumps(brief), flush=True)
                result = {
                    "what": "ResNet-20, 3x32x32, CIFAR-10 batches for the scores, processor seconds, one thread",
                    "command": "python benchmarks/encode_measure.py --data-root FOLDER",
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                    "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
                    "rows": rows,
                }
                write_record(options.output, result)


if __name__ == "__main__":
    main()
