"""Time the pruner `dag`: a Taylor pass over one batch, the bookkeeping of paths; and the lifting of ResNet-50.

    python benchmarks/dag_pruning.py [--models resnet20 resnet56] [--threads 2] [--output FILE]

A pass is all of `topo.prune(model, "dag", rounds=1, ...)` on one batch of 128 random images of 32x32: tracing, units,
candidates, scores and dropping. Its floor is one forward and backward pass of the same batch, timed in the same
process; the ratio is what compares across machines. Bookkeeping is the recount of all paths after a drop, and its
share of one arc. Lifting is all of `topo.lift` at 224x224, over the tracing that it begins with.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import times, write_record
from torch.nn import functional as F

import topo
from topo.dag.path_counts import PathCounts
from topo.pruning.dag_pruning.candidates import candidates
from topo.pruning.dag_pruning.prunable_network import PrunableNetwork
from topo.pruning.dag_pruning.scores import Scoring, taylor
from topo.pruning.samples import Samples
from topo.pruning.task import Task

BATCH, SHAPE, CLASSES = 128, (3, 32, 32), 10


def row(name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    model = topo.models.build(name, input_shape=SHAPE, n_classes=CLASSES).eval()
    batch = torch.randn(BATCH, *SHAPE), torch.randint(0, CLASSES, (BATCH,))

    def step() -> None:
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        model.zero_grad()

    floor = min(times(step, 3))
    settings = {"samples": BATCH, "batch_size": BATCH, "budget": "macs", "score": "taylor", "rounds": 1}
    pruned = min(times(lambda: topo.prune(model, "dag", sparsity=0.5, data=batch, device="cpu", **settings), 2))
    traced = min(times(lambda: topo.trace(model, batch[0][:1]), 2))
    channels = topo.dag.coupled_channels(topo.trace(model, batch[0][:1]))
    network = PrunableNetwork(channels)
    known = candidates(network, "channel", np.zeros(channels.count, dtype=bool))
    generator = torch.Generator().manual_seed(0)
    task = Task(model, dict(model.named_parameters()), 0, Samples(batch, generator), generator, torch.device("cpu"))
    scoring = Scoring(task, network, network.intact(), known, BATCH, BATCH, 1, [None] * len(known))
    scored = min(times(lambda: taylor(scoring), 2))
    counts = PathCounts(network.dag)
    droppable = next(a for a in counts.live if counts.through(a) < counts.total) if counts.total > 1 else None
    recount = min(times(lambda: counts.copy().drop([] if droppable is None else [droppable]), 20))
    arcs = len(network.dag.arcs)
    return {
        "model": name,
        "arcs": arcs,
        "units": channels.count,
        "forward_backward_s": round(floor, 3),
        "prune_s": round(pruned, 2),
        "prune_per_forward_backward": round(pruned / floor, 1),
        "trace_s": round(traced, 2),
        "scores_s": round(scored, 2),
        "scores_per_forward_backward": round(scored / floor, 2),
        "recount_ms": round(1e3 * recount, 3),
        "recount_us_per_arc": round(1e6 * recount / arcs, 2),
    }


def lifting(name: str) -> dict[str, Any]:
    example = torch.zeros(1, 3, 224, 224)
    model = topo.models.build(name, input_shape=example.shape[1:], n_classes=1000).eval()
    traced = min(times(lambda: topo.trace(model, example), 2))
    lifted = min(times(lambda: topo.lift(model, example), 2))
    levels = topo.lift(model, example).levels
    return {
        "model": name,
        "levels": levels,
        "trace_s": round(traced, 2),
        "lift_s": round(lifted, 2),
        "lift_per_trace": round(lifted / traced, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56", "vgg16_bn", "densenet121"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "dag_pruning.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    machine = {"machine": platform.machine(), "threads": arguments.threads, "torch": torch.__version__}
    rows, lifted = [], lifting("resnet50")
    print(lifted, flush=True)
    for name in arguments.models:
        rows.append(row(name))
        print(rows[-1], flush=True)
        write_record(arguments.output, {**machine, "batch": BATCH, "lifting": lifted, "rows": rows})


if __name__ == "__main__":
    main()
