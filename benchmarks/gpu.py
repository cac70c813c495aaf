"""What benchmarks/gpu.sh does in Python: every pruner and training on a GPU against the CPU, and the study's file.

Tolerances, for two devices sum in different orders and only equal inputs give equal scores:

- pruners that need no data and train nothing draw on the CPU, so their masks must be equal;
- pruners by scores: scores within 1% of the largest, and masks that differ in at most 2% of the kept weights;
- pruners that train or search: as many kept weights as on the CPU, to within 2% for those of whole units;
- training in float32, without TF32: the loss of the first epoch within 1% of that on the CPU; with bfloat16,
  channels-last memory, fused steps or all within 5%; pruned weights are exactly zero after every run;
- metrics from the structure of the network: within a part in 10,000.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from measuring import times, write_record
from torch import nn

import topo
from topo.datasets import Augmentation, Dataset, Split, make_dataset
from topo.pruning import PRUNERS
from topo.training import Recipe, recipe, train

SPARSITY = 0.8
SCORES, MASKS, UNITS, LOSS, ROUNDED_LOSS, METRICS = 0.01, 0.02, 0.02, 0.01, 0.05, 1e-4
SHAPE = (3, 16, 16)


class Clock:
    """What is left of the seconds given."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._end - time.monotonic()


def images(count: int, shape: tuple[int, int, int] = SHAPE) -> Dataset:
    """Images of noise around a pattern of their class, so that there is something to learn."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(10, *shape, generator=generator)
    classes = torch.arange(count) % 10
    pixels = 255 * (0.5 * patterns[classes] + 0.5 * torch.rand(count, *shape, generator=generator))
    split = Split(pixels.to(torch.uint8), classes)
    return make_dataset("patterns", split, split, 10, Augmentation(shape[-1] // 8))


def fresh(name: str = "small-resnet", shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    return topo.models.build(name, input_shape=shape, n_classes=10, seed=0)


def pruned(name: str, data: Dataset, device: str, short: Recipe) -> topo.Masks:
    return topo.prune(fresh(), name, sparsity=SPARSITY, data=data, device=device, recipe=short)


def differing(first: topo.Masks, second: topo.Masks) -> float:
    """Weights that one keeps and the other does not, as a share of the kept ones."""
    kept = sum(int(mask.sum()) for mask in first.values())
    return sum(int((first[name] ^ second[name]).sum()) for name in first) / 2 / max(kept, 1)


def check_pruner(name: str, data: Dataset, device: str, short: Recipe) -> dict[str, Any]:
    """Masks, and scores where there are some, on both devices."""
    entry, masks, seconds = PRUNERS.entry(name), [], []
    for place in ("cpu", device):
        started = time.perf_counter()
        masks.append(pruned(name, data, place, short))
        seconds.append(round(time.perf_counter() - started, 3))
    first, second = masks
    row: dict[str, Any] = {"pruner": name, "cpu_s": seconds[0], "device_s": seconds[1]}
    row["masks_differ"] = round(differing(first, second), 5)
    kept = [sum(int(mask.sum()) for mask in of_device.values()) for of_device in masks]
    trains = entry.info["stage"] == "training" or first.state is not None
    if hasattr(PRUNERS[name], "score") and not trains:
        try:
            pair = [topo.pruning.score(fresh(), name, data=data, device=place) for place in ("cpu", device)]
        except topo.errors.InputError:
            pair = []  # scores that need settings of the pruner
        if pair:
            largest = max(float(s[s.isfinite()].abs().max()) for s in pair[0].values() if s.isfinite().any())
            gaps = [
                float((a - b)[a.isfinite() & b.isfinite()].abs().max())
                for a, b in ((pair[0][key], pair[1][key]) for key in pair[0])
                if (a.isfinite() & b.isfinite()).any()
            ]
            row["scores_differ"] = round(max(gaps) / max(largest, 1e-30), 6)
    if trains or entry.family == "structured":
        row["ok"] = abs(kept[0] - kept[1]) <= (UNITS * kept[0] if entry.family == "structured" else 0)
    elif not entry.info.get("needs_data", True):
        row["ok"] = row["masks_differ"] == 0
    else:
        row["ok"] = row["masks_differ"] <= MASKS and row.get("scores_differ", 0) <= SCORES
    return row


def check_training(data: Dataset, device: str, epochs: int) -> list[dict[str, Any]]:
    """Runs of one seed with masks: float32, bfloat16, channels-last, both, next to the CPU."""
    masks = topo.prune(fresh(), "erk", sparsity=0.9)
    rows: list[dict[str, Any]] = []
    plain = recipe("small-images", epochs=epochs, evaluate_every=1, channels_last=False, fused=False)
    for place, changes in (
        ("cpu", {}),
        (device, {}),
        (device, {"channels_last": True}),
        (device, {"fused": True}),
        (device, {"bf16": True}),
        (device, {"bf16": True, "channels_last": True, "fused": True}),
    ):
        net = fresh()
        run = train(net, data, recipe(plain, **changes), masks=masks, device=place, progress=False)
        seconds = run.history["seconds"].iloc[1:].min() if epochs > 1 else run.history["seconds"].iloc[0]
        first = float(run.history["train_loss"].iloc[0])
        zero = all(bool((net.get_parameter(name).cpu()[~mask] == 0).all()) for name, mask in masks.items())
        row = {"device": place, **changes, "first_loss": round(first, 5), "pruned_are_zero": zero}
        row |= {
            "last_accuracy": round(float(run.history["test_accuracy"].iloc[-1]), 4),
            "images_per_s": round(2 * len(data.train) / seconds),
        }
        reference = rows[0]["first_loss"] if rows else first
        row["loss_differs"] = round(abs(first - reference) / reference, 5)
        row["ok"] = zero and row["loss_differs"] <= (ROUNDED_LOSS if changes else LOSS)
        rows.append(row)
    return rows


def speed(name: str, shape: tuple[int, int, int], count: int, device: str) -> list[dict[str, Any]]:
    """Images a second in training, as the recipe for CIFAR trains, without and with bfloat16 and channels-last."""
    rows = []
    data = images(count, shape)
    for changes in ({"bf16": False, "channels_last": False}, {"bf16": True, "channels_last": True}):
        settings = recipe("cifar-short", epochs=1, **changes)
        net = fresh(name, shape)

        def run(net: nn.Module = net, settings: Recipe = settings) -> None:
            train(net, data, settings, device=device, progress=False)

        run()  # the first makes the plans of convolutions
        rows.append({"model": name, "device": device, **changes, "images_per_s": round(count / min(times(run, 2)))})
    return rows


def check_metrics(device: str) -> dict[str, Any]:
    """Metrics from the structure of a network, on both devices."""
    net = fresh("resnet20", (3, 32, 32))
    masks = topo.prune(net, "erk", sparsity=0.9)
    wanted = ["degrees", "strength", "paths", "local", "expansion"]
    found = []
    seconds = []
    for place in ("cpu", device):
        started = time.perf_counter()
        found.append(topo.measure(net, masks, example=(3, 32, 32), engine="structure", device=place, metrics=wanted))
        seconds.append(round(time.perf_counter() - started, 2))
    gap = float(((found[0] - found[1]).abs() / found[0].abs().clip(lower=1e-12)).max())
    return {"relative_difference": gap, "cpu_s": seconds[0], "device_s": seconds[1], "ok": gap <= METRICS}


def check(arguments: argparse.Namespace) -> int:
    """All checks that fit into the time; 1 when one failed."""
    device = "cpu" if arguments.dry_run else "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    clock = Clock(arguments.seconds)
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    record: dict[str, Any] = {"device": name, "torch": torch.__version__, "dry_run": arguments.dry_run}
    data = images(200 if arguments.dry_run else 2000)
    short = recipe("small-images", epochs=1 if arguments.dry_run else 3)
    record["training"] = check_training(data, device, epochs=1 if arguments.dry_run else 3)
    record["metrics"] = {"ok": True} if arguments.dry_run else check_metrics(device)
    record["speed"] = speed("small-resnet", SHAPE, 200, device) if arguments.dry_run else []
    for model in () if arguments.dry_run else ("resnet20", "resnet56"):
        record["speed"] += speed(model, (3, 32, 32), 10_000, device)
    for row in (*record["training"], record["metrics"], *record["speed"]):
        print(json.dumps(row), flush=True)
    record["pruners"], record["not_run"] = [], []
    for pruner in PRUNERS:
        if clock.left < 0:
            record["not_run"].append(pruner)
            continue
        try:
            row = check_pruner(pruner, data, device, short)
        except Exception as error:
            row = {"pruner": pruner, "ok": False, "error": f"{type(error).__name__}: {error}".splitlines()[0]}
        record["pruners"].append(row)
        print(json.dumps(row), flush=True)
        write_record(arguments.out / "gpu.json", record)
    write_record(arguments.out / "gpu.json", record)
    failed = [row for row in (*record["training"], record["metrics"], *record["pruners"]) if not row["ok"]]
    print(f"{len(failed)} checks failed, {len(record['not_run'])} pruners did not fit into the time.")
    return int(bool(failed))


def write_study(arguments: argparse.Namespace) -> None:
    """The study's file: CIFAR-10 whole with ResNet-20 and -56, or what stands for it."""
    study: dict[str, Any] = {
        "datasets": ["cifar10"],
        "models": ["resnet20", "resnet56"],
        "pruners": ["uniform", "erk", "snip", "synflow", "random-allocation", "rigl", "magnitude"],
        "sparsities": [0.9, 0.95, 0.98],
        "seeds": [0],
        "recipe": {"name": "cifar-short", "epochs": 5, "fused": True, "evaluate_every": 5},
        "encodings": ["rolled", "rolled-channel"],
        "save_weights": True,
    }
    if arguments.data_root:
        study["data_root"] = str(Path(arguments.data_root).resolve())
    else:
        study["datasets"] = [{"name": "shapes", "train": 900, "test": 900}]
    if arguments.dry_run:
        reduced = {"name": "cifar10", "size": 8, "train": 200, "test": 200}
        study["datasets"] = [reduced if arguments.data_root else {"name": "shapes", "train": 100, "test": 100}]
        study |= {"models": ["digits-cnn"], "pruners": ["erk", "snip"], "sparsities": [0.9]}
        study["recipe"]["epochs"] = 1
    # JSON is YAML.
    (arguments.out / "study.yaml").write_text(json.dumps(study, indent=1) + "\n", encoding="utf-8")


def summarise(arguments: argparse.Namespace) -> None:
    """Means of the networks that fitted."""
    table = topo.study.Study.load(arguments.out / "study").results()
    done = table[table["status"] != "missing"] if "status" in table else table
    columns = ["model", "pruner", "sparsity"]
    print(done.groupby(columns)[["accuracy", "seconds"]].mean().round(4).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--seconds", type=float, default=360)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu")
    parser.add_argument("--study", action="store_true", help="only write the study's file")
    parser.add_argument("--data-root", default="")
    parser.add_argument("--summary", action="store_true", help="only print what the study found")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.study:
        write_study(arguments)
    elif arguments.summary:
        summarise(arguments)
    else:
        raise SystemExit(check(arguments))


if __name__ == "__main__":
    main()
