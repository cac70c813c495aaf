"""What encoding and every metric cost, in products: from a small perceptron to networks with 100 million edges.

    python benchmarks/topometrics.py [--cases ...] [--reference FOLDER] [--output FILE]
    python benchmarks/topometrics.py --without-edges [--devices cpu cuda] [--cases ...]
    python benchmarks/topometrics.py --figure FILE --table

Untrained networks with uniform random masks. A product is one float32 sparse matrix-vector product with each of the
graph's blocks, timed in the same process; the ratio to it is what compares across machines. The floor is one pass that
reads the graph's arrays. Seconds are of the processor, one thread. A metric pays for what it is the first to need
(degrees, the adjacency, the components). Small networks are also measured without compiled kernels: the routes take
turns, each keeps its best round, and their values are compared. Every network has a process of its own, so that its
peak memory is its own; the large ones need 8 GB and are best run alone. Rows of other cases that the file has stay.

With --reference, FOLDER is a clone of https://github.com/eliacunegatti/mge-snn, which is run on the same weights and
masks. With --without-edges, networks are measured by the engine that builds none, on every device that there is, with
all threads: seconds of the clock, and of the processor.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from cost_report import draw, markdown, routes
from measuring import peak_memory, write_record
from reference_topometrics import measured_by_reference

import topo
from topo.encoding import MultipartiteGraph
from topo.features.engines import graph_or_view
from topo.features.kernels import compiler
from topo.features.preparation import prepare_kernels
from topo.features.profiling import seconds_of_a_product, time_metrics
from topo.features.registry import select

LAYERED = ("multipartite", "rolled")


@dataclass(frozen=True)
class Case:
    """A network, its input and the share of its weights that is pruned."""

    model: str
    shape: tuple[int, ...]
    sparsity: float
    encodings: tuple[str, ...] = ("multipartite",)
    rounds: int = 3
    without_kernels: bool = True
    reference: tuple[str, dict[str, Any]] | None = None
    """What the reference calls it, and our settings for the same layers."""


PROJECTED = ("Resnet-20", {"shortcut": "projection"})
CASES = {
    "digits-mlp": Case("digits-mlp", (1, 8, 8), 0.9, LAYERED),
    "digits-cnn": Case("digits-cnn", (1, 8, 8), 0.9, LAYERED),
    "resnet20-98": Case("resnet20", (3, 32, 32), 0.98, ("multipartite", "unrolled"), rounds=2, reference=PROJECTED),
    "resnet20-90": Case("resnet20", (3, 32, 32), 0.9, rounds=1, reference=PROJECTED),
    "conv6-98": Case("conv6", (3, 32, 32), 0.98, rounds=1, reference=("CONV-6", {})),
    "resnet50-98": Case("torchvision:resnet50", (3, 224, 224), 0.98, rounds=1, without_kernels=False),
    "wrn-28-2-60": Case("wrn-28-2", (3, 32, 32), 0.6, rounds=1, without_kernels=False),
}


def masked_network(case: Case) -> tuple[torch.nn.Module, topo.Masks]:
    """The network of a case and its masks."""
    classes = 1000 if case.shape[-1] > 64 else 10
    model = topo.models.build(case.model, input_shape=case.shape, n_classes=classes, seed=0)
    return model, topo.prune(model, "uniform", sparsity=case.sparsity, seed=0)


def record_of(name: str, encoding: str) -> dict[str, Any]:
    """What encoding and each metric of a case cost."""
    torch.set_num_threads(1)
    prepare_kernels()
    case = CASES[name]
    model, masks = masked_network(case)
    return {"case": name, **record(case, topo.trace(model, case.shape), masks, encoding)}


def record(case: Case, dag: topo.Dag, masks: topo.Masks, encoding: str) -> dict[str, Any]:
    """What encoding and each metric of a network cost."""
    encoded = clock_encoded = math.inf
    for _ in range(case.rounds):
        clock, start = time.perf_counter(), time.process_time()
        graph = topo.encode(dag, masks, encoding=encoding)
        encoded = min(encoded, time.process_time() - start)
        clock_encoded = min(clock_encoded, time.perf_counter() - clock)
    layers = not isinstance(graph, MultipartiteGraph)
    graphs = list(graph.values()) if layers else [graph]
    best: dict[bool, dict[str, float]] = {}
    values: dict[bool, list[float]] = {}
    product = clock_measured = math.inf
    peak = 0
    for _ in range(case.rounds):
        for compiled in (True, False) if case.without_kernels else (True,):
            product = min(product, seconds_of_a_product(graphs))
            clock = time.perf_counter()
            with mock.patch.object(compiler, "available", lambda compiled=compiled: compiled):
                seconds, values[compiled] = time_metrics(graphs, select(None, layers=layers))
            kept = best.setdefault(compiled, seconds)
            best[compiled] = {metric: min(s, kept[metric]) for metric, s in seconds.items()}
            if compiled:
                clock_measured = min(clock_measured, time.perf_counter() - clock)
                peak = peak or peak_memory()
    rows = [
        {
            "metric": metric,
            "seconds": seconds,
            "products": seconds / product,
            **(
                {"seconds_without": best[False][metric], "products_without": best[False][metric] / product}
                if case.without_kernels
                else {}
            ),
        }
        for metric, seconds in best[True].items()
    ]
    totals = {key: sum(row[key] for row in rows) for key in rows[0] if key != "metric"}
    found: dict[str, Any] = {
        "model": case.model,
        "shape": case.shape,
        "sparsity": case.sparsity,
        "encoding": encoding,
        "nodes": sum(g.n_nodes for g in graphs),
        "edges": sum(g.n_edges for g in graphs),
        "seconds_product": product,
        "seconds_pass": seconds_of_a_pass(graphs),
        "seconds_encode": encoded,
        "products_encode": encoded / product,
        **totals,
        "clock_seconds": clock_encoded + clock_measured,
        "peak_mib": peak,
    }
    if case.without_kernels:
        one, other = np.array(values[False]), np.array(values[True])
        found["largest_relative_difference"] = float(np.nanmax(np.abs(one - other) / np.maximum(np.abs(one), 1e-9)))
        found["undefined_alike"] = bool((np.isnan(one) == np.isnan(other)).all())
    return {**found, "metrics": sorted(rows, key=lambda row: -row["seconds"])}


def seconds_of_a_pass(graphs: list[MultipartiteGraph]) -> float:
    """Seconds of the processor for reading every array of the graphs once, the least of five."""
    arrays = [part for g in graphs for b in g.blocks for part in (b.matrix.indptr, b.matrix.indices, b.matrix.data)]
    words = [array.view(np.uint8)[: array.nbytes // 8 * 8].view(np.int64) for array in arrays if array.nbytes >= 8]
    least = math.inf
    for _ in range(5):
        start = time.process_time()
        for word in words:
            word.max()
        least = min(least, time.process_time() - start)
    return least


def without_edges(name: str, device: str) -> dict[str, Any]:
    """What the engine without edges costs on a device: seconds of the clock by metric, and of the processor in all."""
    prepare_kernels()
    case = CASES[name]
    model, masks = masked_network(case)
    dag = topo.trace(model, case.shape)
    processor, clock = time.process_time(), time.perf_counter()
    with graph_or_view(dag, masks, None, engine="structure", device=device) as view:
        built = time.perf_counter() - clock
        seconds, values = time_metrics([view], select(None, layers=False), clock=time.perf_counter)
        processor = time.process_time() - processor
        return {
            "case": name,
            "device": device,
            "threads": torch.get_num_threads(),
            "nodes": view.n_nodes,
            "edges": view.n_edges,
            "seconds_product": seconds_of_a_product([view]),
            "clock_seconds": {"(encode)": built, **seconds},
            "processor_seconds": processor,
            "defined": sum(not math.isnan(value) for value in values),
            "peak_mib": peak_memory(),
        }


def in_a_process(function: Any, *arguments: Any) -> Any:
    """The result of a function that runs in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(function, *arguments).result()


def shown(found: dict[str, Any]) -> None:
    """Print a record, a line a metric."""
    unit = found["seconds_product"]
    print(
        f"{found['case']}, {found['encoding']}: {found['edges']:,} edges, product {1e3 * unit:.3g} ms, "
        f"peak {found['peak_mib']:,} MiB"
    )
    rows = [{"metric": "encode", "seconds": found["seconds_encode"], "products": found["products_encode"]}]
    for row in [*rows, *found["metrics"], {"metric": "all metrics", **found}]:
        without = f"{row['products_without']:9.1f} without" if "products_without" in row else ""
        print(f"  {row['metric']:<22} {row['products']:9.1f} products  {row['seconds']:9.3f} s {without}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "topometrics.json")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--reference", type=Path, help="clone of the reference implementation, run as well")
    parser.add_argument("--only-reference", action="store_true", help="run nothing else")
    parser.add_argument("--without-edges", action="store_true", help="the engine that builds no edges, and it alone")
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--devices", nargs="*", default=here, help="of that engine, in turn")
    parser.add_argument("--figure", type=Path, help="draw what the file has, and measure nothing")
    parser.add_argument("--table", action="store_true", help="print what the file has, and measure nothing")
    options = parser.parse_args()
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    if options.figure:
        draw(known, options.figure)
    if options.table:
        print(markdown(known), routes(known), sep="\n\n")
    if options.figure or options.table:
        return
    found: dict[str, Any] = {"cases": [], "reference": [], "without_edges": []}
    found |= {key: known[key] for key in found if key in known}
    for name in options.cases:
        case = CASES[name]
        fresh: dict[str, list[dict[str, Any]]] = {}
        if options.without_edges:
            fresh["without_edges"] = [in_a_process(without_edges, name, device) for device in options.devices]
            for found_there in fresh["without_edges"]:
                total = sum(found_there["clock_seconds"].values())
                print(f"{name}, {found_there['device']}: {total:.3g} s, {found_there['peak_mib']:,} MiB", flush=True)
        elif not options.only_reference:
            fresh["cases"] = []
            for encoding in case.encodings:
                fresh["cases"].append(in_a_process(record_of, name, encoding))
                shown(fresh["cases"][-1])
        if options.reference and case.reference and not options.without_edges:
            its_name, settings = case.reference
            arguments = (options.reference, its_name, case.model, settings, case.shape, case.sparsity)
            fresh["reference"] = [{"case": name, **in_a_process(measured_by_reference, *arguments)}]
            print(name, "reference", *fresh["reference"][0].items(), sep="\n  ", flush=True)
        for key, rows in fresh.items():
            same = [(row["case"], row.get("device")) for row in rows]
            found[key] = [row for row in found[key] if (row["case"], row.get("device")) not in same] + rows
            order = list(CASES)
            found[key].sort(key=lambda row: order.index(row["case"]))
        write_record(
            options.output,
            {
                "what": "untrained networks, uniform random masks, processor seconds of one thread, best of the rounds",
                "command": "python benchmarks/topometrics.py",
                "python": platform.python_version(),
                "numpy": np.__version__,
                "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores, which others used too",
                **found,
            },
        )


if __name__ == "__main__":
    main()
