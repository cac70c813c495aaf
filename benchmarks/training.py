"""Time training against a plain loop written by hand that does the same work, with masks, in turns in one process.

    python benchmarks/training.py [--images 4000] [--repeats 5] [--output FILE]

Both loops hold the data on the device as tensors, shuffle, crop and mirror, keep pruned weights at zero, add up loss
and accuracy and evaluate at the end of an epoch, in the same memory layout and with the same optimizer. Times are those
of the processor, which other processes on the machine do not lengthen much; the least of the repeats of each loop
counts. What channels-last memory and fused steps are worth is the ratio of the hand-written loop's times without and
with them.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import write_record
from torch import nn
from torch.nn import functional

import topo
from topo.datasets import Augmentation, Dataset, Split, make_dataset
from topo.training import Recipe

CASES = {
    "small-plain": ((3, 16, 16), "small-images"),
    "small-resnet": ((3, 16, 16), "small-images"),
    "small-depthwise": ((3, 16, 16), "small-images"),
    "digits-cnn": ((1, 8, 8), "digits"),
    "digits-mlp": ((1, 8, 8), "digits"),
}
PADDING = 2


def dataset(shape: tuple[int, ...], images: int) -> Dataset:
    """Random uint8 images in ten classes, as many to evaluate on as to train on."""
    generator = torch.Generator().manual_seed(0)
    splits = [
        Split(torch.randint(0, 256, (images, *shape), generator=generator).to(torch.uint8), torch.arange(images) % 10)
        for _ in range(2)
    ]
    return make_dataset("random", *splits, 10, Augmentation(PADDING))


def by_hand(model: nn.Module, data: Dataset, masks: dict[str, torch.Tensor], recipe: Recipe) -> None:
    """What one would write for this training run and no other."""
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model.to(memory_format=layout)
    images, classes = data.train.inputs, data.train.targets
    count, _, height, width = images.shape
    held = [(model.get_parameter(name), mask.float()) for name, mask in masks.items()]
    held = [(weight, mask.to(memory_format=layout) if mask.ndim == 4 else mask) for weight, mask in held]
    optimizer = torch.optim.SGD(
        model.parameters(),
        recipe.learning_rate,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=recipe.fused or None,
    )
    steps = recipe.epochs * -(-count // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for weight, mask in held:
        weight.data.mul_(mask)
    for _ in range(recipe.epochs):
        model.train()
        total_loss, right = 0.0, 0
        for index in torch.randperm(count).split(recipe.batch_size):
            x, y = images[index], classes[index]
            if recipe.augment:
                windows = functional.pad(x, (PADDING,) * 4).unfold(2, height, 1).unfold(3, width, 1)
                rows, columns = torch.randint(0, 2 * PADDING + 1, (2, len(x)))
                x = windows[torch.arange(len(x)), :, rows, columns]
                x = torch.where((torch.rand(len(x)) < 0.5)[:, None, None, None], x.flip(3), x)
            x = ((x.float() - data.mean) / data.std).contiguous(memory_format=layout)
            logits = model(x)
            loss = functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            for weight, mask in held:
                weight.grad.mul_(mask)
            optimizer.step()
            schedule.step()
            for weight, mask in held:
                weight.data.mul_(mask)
            total_loss += loss.item() * len(y)
            right += (logits.argmax(1) == y).sum().item()
        model.eval()
        with torch.no_grad():
            for x, y in zip(data.test.inputs.split(500), data.test.targets.split(500)):
                logits = model(((x.float() - data.mean) / data.std).contiguous(memory_format=layout))
                total_loss += functional.cross_entropy(logits, y).item()
                right += (logits.argmax(1) == y).sum().item()


def seconds(function: Callable[[], Any]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def row(name: str, images: int, repeats: int) -> dict[str, Any]:
    shape, usual = CASES[name]
    data = dataset(shape, images)
    recipe = topo.training.recipe(usual, epochs=1, evaluate_every=1, label_smoothing=0.0)
    plain = topo.training.recipe(recipe, channels_last=False, fused=False)
    fast = topo.training.recipe(recipe, channels_last=True, fused=True)

    def fresh() -> nn.Module:
        return topo.models.build(name, input_shape=shape, n_classes=10, seed=0)

    masks = topo.prune(fresh(), "erk", sparsity=0.9)
    found: dict[str, list[float]] = {key: [] for key in ("hand", "topo", "hand_plain", "hand_fast")}
    for _ in range(repeats + 1):
        found["hand"].append(seconds(lambda: by_hand(fresh(), data, dict(masks), recipe)))
        found["topo"].append(
            seconds(lambda: topo.training.train(fresh(), data, recipe, masks=masks, device="cpu", progress=False))
        )
        found["hand_plain"].append(seconds(lambda: by_hand(fresh(), data, dict(masks), plain)))
        found["hand_fast"].append(seconds(lambda: by_hand(fresh(), data, dict(masks), fast)))
    least = {key: min(values[1:]) for key, values in found.items()}
    return {
        "model": name,
        "recipe": usual,
        "steps": -(-images // recipe.batch_size),
        "hand_s": round(least["hand"], 3),
        "topo_s": round(least["topo"], 3),
        "topo_per_hand": round(least["topo"] / least["hand"], 3),
        "hand_plain_per_fast": round(least["hand_plain"] / least["hand_fast"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "training.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in CASES:
        rows.append(row(name, arguments.images, arguments.repeats))
        print(rows[-1], flush=True)
    machine = {"machine": platform.machine(), "threads": 1, "torch": torch.__version__}
    write_record(arguments.output, {**machine, "images": arguments.images, "repeats": arguments.repeats, "rows": rows})


if __name__ == "__main__":
    main()
