"""Does pruning while training save time? Variational pruning against dense training of the same network.

    python benchmarks/variational.py [--model resnet20] [--dataset digits] [--epochs 20] [--nu 0.3 1 3] [--output FILE]

Both trainings take the same recipe, seeds and number of epochs, in one process and in turn, and each is timed whole:
finding gates, extra forward passes, rebuilding the network and measuring batch norms anew included. `training_macs` are
the multiply-accumulates of the forward passes on training images as the network stood in each epoch, without the extra
ones of the estimator, which only the wall time holds. Inference is the median time of a batch, the two networks in
turn. Ratios are pruned over dense, and below 1 where pruning is ahead; accuracy is a difference.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import times, write_record
from torch import Tensor, nn

import topo
from topo.device import resolve_device
from topo.pruning.variational import train as train_pruning
from topo.training import evaluate, recipe, train


def inference(models: list[nn.Module], batch: Tensor, repeats: int) -> list[float]:
    """Median seconds of a batch for each model, run in turn, after two calls that do not count."""
    seconds: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for _ in range(repeats + 2):
            for model, of_model in zip(models, seconds, strict=True):
                of_model += times(lambda model=model: model(batch), 1, batch.device)
    return [float(np.median(of_model[2:])) for of_model in seconds]


def compared(a: argparse.Namespace, data: topo.datasets.Dataset, seed: int) -> list[dict[str, Any]]:
    """One row for each nu, beside the dense training of the same seed."""
    plan, device = recipe(a.recipe, epochs=a.epochs), resolve_device(a.device)
    batch = torch.zeros(a.batch, *data.input_shape, device=device)
    options = {"seed": seed, "device": device, "progress": False}

    def fresh() -> nn.Module:
        return topo.models.build(a.model, input_shape=data.input_shape, n_classes=data.n_classes, seed=seed)

    start = time.perf_counter()
    dense = fresh()
    train(dense, data, plan, **options)
    dense_seconds = time.perf_counter() - start
    dense_cost, samples = topo.cost(dense.cpu(), data.input_shape), len(data.train)
    accuracy = evaluate(dense, data, device=device)["accuracy"]
    rows = []
    for nu in a.nu:
        start = time.perf_counter()
        pruned = train_pruning(fresh(), data, plan, nu=nu, kappa=a.kappa, alpha=a.alpha, **options)
        seconds = time.perf_counter() - start
        small_cost = topo.cost(pruned.model.cpu(), data.input_shape)
        small_accuracy = evaluate(pruned.model, data, device=device)["accuracy"]
        before, after = inference([m.to(device).eval() for m in (dense, pruned.model)], batch, a.repeats)
        spent = float(pruned.record["training_macs"].sum())
        rows.append(
            {
                "nu": nu,
                "seed": seed,
                "dense": {
                    "accuracy": accuracy,
                    "seconds": dense_seconds,
                    "training_macs": float(dense_cost["macs"]) * samples * a.epochs,
                    "inference_s": before,
                    **dense_cost,
                },
                "pruned": {
                    "accuracy": small_accuracy,
                    "seconds": seconds,
                    "training_macs": spent,
                    "inference_s": after,
                    **small_cost,
                },
            }
        )
        ratios = {k: rows[-1]["pruned"][k] / rows[-1]["dense"][k] for k in rows[-1]["dense"] if k != "accuracy"}
        rows[-1]["ratios"] = {k: round(v, 4) for k, v in ratios.items()}
        print(f"seed {seed}, nu {nu:g}: accuracy {small_accuracy - accuracy:+.4f},", rows[-1]["ratios"], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path, help="folder of the dataset's files, where it needs one")
    parser.add_argument("--subset", type=int, help="images of each class to train on; all by default")
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--nu", type=float, nargs="+", default=[0.3, 1.0, 3.0])
    parser.add_argument("--kappa", type=float, default=0.5)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch", type=int, default=256, help="images of a batch whose inference is timed")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    data = topo.datasets.load(a.dataset, root=a.data_root, subset=a.subset)
    output = a.output or Path(__file__).parent / "results" / f"variational_{a.dataset}_{a.model}.json"
    device = resolve_device(a.device)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, {a.threads} threads"
    settings = {
        name: getattr(a, name) for name in ("model", "dataset", "subset", "recipe", "epochs", "kappa", "alpha", "batch")
    }
    rows: list[dict[str, Any]] = []
    for seed in a.seeds:
        rows += compared(a, data, seed)
        write_record(output, {"machine": machine, "torch": torch.__version__, **settings, "rows": rows})


if __name__ == "__main__":
    main()
