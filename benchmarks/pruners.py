"""Time every pruning algorithm on ResNet-20 and ResNet-50, and the global selection alone.

    python benchmarks/pruners.py [--output FILE] [--models resnet20 resnet50] [--pruners NAME ...] [--device cuda]

Rows of other cells that the file already has stay. Random images of 32x32 pixels, 90% sparsity, no dataset needed.
Every cell runs in a process of its own on one thread, so that its peak memory is its own, and is
stopped after --limit seconds. The floor of an algorithm is one gradient of the loss on a batch, of 128 for ResNet-20
and of 32 for ResNet-50, timed in the same process; the ratio to it is what compares across machines. Of an algorithm
that works during training, the row says what a step costs with it, an update of the masks at every step, over a step
with fixed masks. Those that train the network themselves (imp, slimming with a penalty, l0) cost trainings, not
scores, and are left out.
"""

from __future__ import annotations

import argparse
import inspect
import json
import multiprocessing
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import peak_memory, times, write_record

import topo
from topo.datasets import Split, make_dataset
from topo.pruning import PRUNERS
from topo.pruning.allocation import keep_largest
from topo.training import Recipe, train

SPARSITY = 0.9
TRAINING_THEMSELVES = ("imp", "l0", "slimming")
SHAPE, CLASSES = (3, 32, 32), 10
BATCHES = {"resnet20": 128, "resnet50": 32}


def network(name: str) -> torch.nn.Module:
    return topo.models.build(name, input_shape=SHAPE, n_classes=CLASSES, seed=0)


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *SHAPE, generator=generator), torch.arange(count) % CLASSES


def prune_cell(model_name: str, pruner: str, device: str) -> dict[str, Any]:
    """Seconds to find the masks once, and those of one gradient."""
    model, data = network(model_name).to(device), images(512)
    batch = BATCHES[model_name]
    x, y = (tensor[:batch].to(device) for tensor in data)

    def gradient() -> None:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()

    gradient()
    floor = min(times(gradient, 2, device))
    before = peak_memory()
    (seconds,) = times(lambda: topo.prune(model, pruner, sparsity=SPARSITY, data=data, device=device), 1, device)
    return {
        "seconds": seconds,
        "floor_seconds": floor,
        "ratio": seconds / floor,
        "peak_MiB": peak_memory() - before,
        "of": f"finding masks once, over one gradient on a batch of {batch}",
    }


def training_cell(model_name: str, pruner: str, device: str) -> dict[str, Any]:
    """Seconds of a training step with an update at every step, and of one with fixed masks."""
    batch, steps = BATCHES[model_name] // 2, 4
    x, y = images(batch * steps)
    data = make_dataset("random", Split(x, y), Split(x[:batch], y[:batch]), n_classes=CLASSES)
    recipe = Recipe(epochs=1, batch_size=batch, augment=False, learning_rate=0.01)
    # Updates during the whole short run, whatever the algorithm calls its settings.
    known = inspect.signature(PRUNERS[pruner]).parameters
    settings = {key: value for key, value in (("interval", 1), ("stop", 1.0)) if key in known}

    def run(sparse: bool) -> None:
        model = network(model_name)
        callback = topo.pruning.sparse_training_callback(model, pruner, sparsity=SPARSITY, device=device, **settings)
        callbacks = [callback] if sparse else []
        train(
            network(model_name), data, recipe, masks=callback.masks, callbacks=callbacks, device=device, progress=False
        )

    run(False)
    floor, seconds = (times(lambda sparse=sparse: run(sparse), 1, device)[0] / steps for sparse in (False, True))
    return {
        "seconds": seconds,
        "floor_seconds": floor,
        "ratio": seconds / floor,
        "peak_MiB": peak_memory(),
        "of": f"a training step on a batch of {batch} that updates the masks, over one with fixed masks",
    }


def selection_cell(model_name: str, pruner: str, device: str) -> dict[str, Any]:
    """Seconds and memory of keeping the largest tenth of random scores, and those of sorting them."""
    weights = topo.masks.prunable_parameters(network(model_name))
    scores = {name: torch.rand(p.shape, device=device) for name, p in weights.items()}
    total = sum(s.numel() for s in scores.values())
    before = peak_memory()
    (seconds,) = times(lambda: keep_largest(scores, total // 10), 1, device)
    peak = peak_memory() - before
    (floor,) = times(lambda: torch.cat([s.flatten() for s in scores.values()]).sort(), 1, device)
    return {
        "seconds": seconds,
        "floor_seconds": floor,
        "ratio": seconds / floor,
        "peak_MiB": peak,
        "peak_over_scores": peak * 2**20 / (4 * total),
        "scores": total,
        "of": "global selection of a tenth of all scores, over sorting them; memory beyond the scores",
    }


def isolated(work: Callable[..., dict[str, Any]], arguments: tuple, limit: float) -> dict[str, Any]:
    """What `work` returns in a process of its own, or why there is nothing."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        result = receiver.recv() if receiver.poll(limit) else {"reason": f"stopped after {limit:.0f} s"}
    except EOFError:
        result = {"reason": "its process ended without a result, most likely for lack of memory"}
    process.kill()
    process.join()
    return result


def _send(sender: Any, work: Callable[..., dict[str, Any]], arguments: tuple) -> None:
    # Threads that wait for each other on a shared machine would take most of the time.
    torch.set_num_threads(1)
    try:
        sender.send(work(*arguments))
    except Exception as error:
        sender.send({"reason": f"{type(error).__name__}: {str(error).splitlines()[0]}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "pruners.json")
    parser.add_argument("--models", nargs="+", choices=list(BATCHES), default=list(BATCHES))
    parser.add_argument("--pruners", nargs="+", help="all unless given; 'selection' is the global selection")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a cell may take")
    arguments = parser.parse_args()
    rows = json.loads(arguments.output.read_text())["rows"] if arguments.output.is_file() else []
    names = arguments.pruners or ["selection", *(n for n in PRUNERS if n not in TRAINING_THEMSELVES)]
    for model_name in arguments.models:
        for name in names:
            during = name != "selection" and PRUNERS.entry(name).info["stage"] == "training"
            work = selection_cell if name == "selection" else training_cell if during else prune_cell
            result = isolated(work, (model_name, name, arguments.device), arguments.limit)
            rounded = {key: round(v, 4) if isinstance(v, float) else v for key, v in result.items()}
            key = {"model": model_name, "pruner": name, "device": arguments.device}
            rows = [row for row in rows if {k: row[k] for k in key} != key] + [{**key, **rounded}]
            print(json.dumps(rows[-1]), flush=True)
            write(arguments.output, rows)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    write_record(path, {"run": "python benchmarks/pruners.py", "sparsity": SPARSITY, "machine": machine, "rows": rows})


if __name__ == "__main__":
    main()
