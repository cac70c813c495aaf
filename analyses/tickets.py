"""Winning tickets of the DAG pruner: does its subnetwork train as well as the whole, from the same start?

    python analyses/tickets.py [--model digits-cnn] [--dataset digits] [--data-root FOLDER] [--sparsity 0.5]
        [--granularity mixed] [--epochs 15] [--seeds 0 1 2 3 4] [--device auto] [--results FOLDER]
    python analyses/tickets.py --dataset "{name: cifar10, size: 16, train: 10000}" --data-root FOLDER
        --model small-resnet --recipe small-images --epochs 8 --every 40

The protocol, for every seed: save the initial weights theta0; train the dense network for T iterations; prune it; set
the survivors back to theta0; train for at most T iterations on the same batches in the same order. Beside it run

- `fresh`: the same masks on another initialisation,
- `random`: in every set of coupled channels as many as the ticket has, drawn at random, so that every level costs what
  the ticket's does; branches that the ticket lost whole are gone here too, for no other of their level costs the same,
- `l1-filter`: channels by magnitude at equal cost, set back to theta0.

A network *reaches* the task when its loss on all training images, in evaluation mode, is at most a threshold: that of a
dense pilot run with a seed of its own after half of T. The pilot runs first, so the threshold is fixed before
anything is pruned. Labels are smoothed, so that the loss does not saturate at zero. A weak win is reaching the
threshold in no more iterations than the dense network of the same seed. Of a regression the loss is the mean squared
error, and R^2 stands in the place of accuracy.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from named_dataset import dataset_label, load_named
from torch import nn

import topo
from topo.dag import coupled_channels, trace
from topo.datasets import Dataset
from topo.plots.theme import HUES, INK, MUTED, figure, style
from topo.stats.means import mean_interval
from topo.study.yaml_file import parse_value
from topo.training import Callback, Recipe, TrainingState, batch_loss, evaluate, recipe, train

HERE = Path(__file__).resolve().parent
PILOT = 1_000
ARMS = ("dense", "ticket", "fresh", "random", "l1-filter")
WHAT = {
    "dense": "whole network",
    "ticket": "DAG ticket",
    "fresh": "its masks, fresh start",
    "random": "random, level by level",
    "l1-filter": "channels by magnitude",
}


class LossCurve(Callback):
    """Loss on all training images every few iterations."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.steps: list[int] = []
        self.losses: list[float] = []

    def on_step_end(self, state: TrainingState) -> None:
        if state.step % self.every:
            return
        state.model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for inputs, targets in state.dataset.batches("train", 512):
                loss, _ = batch_loss(state.model, inputs, targets, state.recipe)
                total, count = total + float(loss) * len(targets), count + len(targets)
        state.model.train()
        self.steps.append(state.step)
        self.losses.append(total / count)

    def reaches(self, threshold: float) -> float:
        """The first iteration with a loss of at most `threshold`; infinite when there is none."""
        return next((step for step, loss in zip(self.steps, self.losses) if loss <= threshold), np.inf)


def run(
    model: nn.Module, data: Dataset, plan: Recipe, seed: int, every: int, device: str, masks: topo.Masks | None = None
) -> tuple[LossCurve, float]:
    curve = LossCurve(every)
    train(model, data, plan, masks=masks, seed=seed, device=device, progress=False, callbacks=[curve])
    found = evaluate(model, data, device=device, loss=plan.loss)
    return curve, found["accuracy"] if "accuracy" in found else found["r2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits-cnn")
    parser.add_argument("--dataset", type=parse_value, default="digits", help="a name, or a mapping with settings")
    parser.add_argument("--data-root", type=Path, help="folder of the dataset's files, where it needs one")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--granularity", default="mixed", choices=["arc", "node", "channel", "mixed"])
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--every", type=int, default=3, help="iterations between two looks at the loss")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, help="where the record and the figures go")
    a = parser.parse_args()
    data = load_named(a.dataset, a.data_root)
    of_classes = data.train.has_classes  # labels are smoothed, numbers are not
    plan = recipe(a.recipe, epochs=a.epochs, label_smoothing=0.1 if of_classes else 0.0)

    def fresh(seed: int) -> nn.Module:
        return topo.models.build(a.model, input_shape=data.input_shape, n_classes=data.n_outputs, seed=seed)

    pilot, _ = run(fresh(PILOT), data, plan, PILOT, a.every, a.device)
    threshold = pilot.losses[len(pilot.losses) // 2]
    print(f"threshold {threshold:.4f}, from the pilot; {pilot.steps[-1]} iterations in all")
    rows, curves = [], []
    for seed in a.seeds:
        start = fresh(seed)
        dense = copy.deepcopy(start)
        results = {"dense": run(dense, data, plan, seed, a.every, a.device)}
        common = {"sparsity": a.sparsity, "data": data, "seed": seed, "device": a.device, "budget": "weights"}
        ticket = topo.prune(dense, "dag", granularity=a.granularity, **common)
        # A branch that goes as a whole may remove more than was asked; the controls are given what the ticket has.
        common["sparsity"] = 1 - ticket.density
        masks_of = {
            "ticket": ticket,
            "random": shuffled(dense, ticket, torch.zeros(1, *data.input_shape), seed),
            "l1-filter": topo.prune(dense, "l1-filter", **common),
        }
        masks_of["fresh"] = masks_of["ticket"]
        for arm in ARMS[1:]:
            # Another start for the control, the saved one for all others.
            network = fresh(PILOT + 1 + seed) if arm == "fresh" else copy.deepcopy(start)
            results[arm] = run(network, data, plan, seed, a.every, a.device, masks=masks_of[arm])
        for arm, (curve, accuracy) in results.items():
            density = 1.0 if arm == "dense" else masks_of[arm].density
            rows.append((seed, arm, density, curve.reaches(threshold), curve.losses[-1], accuracy))
            curves += [(seed, arm, step, loss) for step, loss in zip(curve.steps, curve.losses)]
            print(rows[-1], flush=True)
    columns = ["seed", "arm", "density", "iterations", "final_loss", "accuracy"]
    table = pd.DataFrame(rows, columns=columns)
    setting = {key: str(value) if isinstance(value, Path) else value for key, value in vars(a).items()}
    del setting["results"], setting["data_root"]
    name = f"tickets_{dataset_label(a.dataset)}_{a.model}_{a.granularity}"
    write(table, pd.DataFrame(curves, columns=["seed", "arm", "step", "loss"]), threshold, setting, name, a.results)


def shuffled(model: nn.Module, ticket: topo.Masks, example: torch.Tensor, seed: int) -> topo.Masks:
    """Masks that keep as many units of every group as the ticket, drawn at random, and lose what it lost whole."""
    channels = coupled_channels(trace(copy.deepcopy(model).cpu(), example))
    alive = channels.sums({name: mask.double() for name, mask in ticket.items()}) > 0
    groups = channels.groups()
    noise = torch.rand(channels.count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = torch.empty_like(alive)
    # Sorted by group both ways: once as they are, once in random order within each group.
    drawn[torch.from_numpy(np.lexsort((noise, groups)))] = alive[groups.argsort(stable=True)]
    masks = topo.Masks({name: mask & ticket[name].any() for name, mask in channels.masks(drawn, ticket).items()})
    kept, wanted = (m.counts().set_index("name")["kept"] for m in (masks, ticket))
    assert kept.equals(wanted), "every layer must keep as many weights as in the ticket"
    return masks


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per arm: how often it reached the threshold, iterations and accuracy against the dense network's.

    Differences are those of networks of one seed, with their 95% t-interval. Networks that never reached the threshold
    are left out of the mean of iterations and counted.
    """
    dense = table[table["arm"] == "dense"].set_index("seed")
    rows = []
    for arm in ARMS:
        part = table[table["arm"] == arm].set_index("seed")
        there = part.index[np.isfinite(part["iterations"]) & np.isfinite(dense["iterations"].reindex(part.index))]
        slower = (part["iterations"] - dense["iterations"]).loc[there]
        worse = part["accuracy"] - dense["accuracy"]
        wins = int(((part["iterations"] <= dense["iterations"]) & np.isfinite(part["iterations"])).sum())
        rows.append(
            {
                "arm": arm,
                "density": part["density"].mean(),
                "reached": int(np.isfinite(part["iterations"]).sum()),
                "seeds": len(part),
                "no_slower_than_dense": wins,
                **_interval("iterations_more", slower),
                "accuracy": part["accuracy"].mean(),
                **_interval("accuracy_more", worse),
            }
        )
    return pd.DataFrame(rows)


def _interval(name: str, values: pd.Series) -> dict[str, float]:
    mean, low, high = mean_interval(values)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def write(
    table: pd.DataFrame, curves: pd.DataFrame, threshold: float, setting: dict, name: str, into: Path | None
) -> None:
    """The record as JSON, the figure as PNG and SVG, the findings on the screen."""
    records, figures = (into, into) if into else (HERE.parent / "benchmarks" / "results", HERE / "results")
    records.mkdir(parents=True, exist_ok=True)
    arms = summary(table)
    record = {
        "run": "python analyses/tickets.py",
        "setting": setting,
        "threshold": round(threshold, 6),
        "arms": json.loads(arms.round(5).to_json(orient="records")),
        "networks": json.loads(table.round(5).to_json(orient="records")),
    }
    (records / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    drawn = draw(curves, threshold)
    for kind in ("png", "svg"):
        drawn.savefig(figures / f"{name}.{kind}")
    print(arms.to_string(index=False))
    ticket, control = (arms.set_index("arm").loc[arm] for arm in ("ticket", "fresh"))
    print(
        f"\nThe ticket keeps {ticket['density']:.0%} of the weights and is no slower than the dense network in "
        f"{ticket['no_slower_than_dense']:.0f} of {ticket['seeds']:.0f} seeds; {_slower(ticket)}.\n"
        f"Its accuracy differs by {ticket['accuracy_more']:+.4f} ({ticket['accuracy_more_low']:+.4f} to "
        f"{ticket['accuracy_more_high']:+.4f}).\n"
        f"The same masks on a fresh start: {_slower(control)}."
    )


def _slower(arm: pd.Series) -> str:
    """How many iterations more than the dense network it takes where both reach the threshold."""
    text = f"it reaches the threshold in {arm['reached']:.0f}"
    if arm["reached"]:
        text += f", after {arm['iterations_more']:+.0f} iterations"
    if np.isfinite(arm["iterations_more_low"]):
        text += f" ({arm['iterations_more_low']:+.0f} to {arm['iterations_more_high']:+.0f})"
    return text


def draw(curves: pd.DataFrame, threshold: float):
    """Mean training loss of each arm, the range over seeds shaded, the threshold dashed."""
    with style():
        new = figure(6.4, 3.8)
        ax = new.add_axes((0.1, 0.14, 0.6, 0.78))
        ends = {}
        for arm, color in zip(ARMS, (INK, *HUES)):
            loss = curves[curves["arm"] == arm].groupby("step")["loss"]
            mean = loss.mean()
            ax.fill_between(mean.index, loss.min(), loss.max(), color=color, alpha=0.12, linewidth=0)
            ax.plot(mean.index, mean, color=color)
            ends[arm] = (mean.iloc[-1], color)
        ax.axhline(threshold, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        ax.set_yscale("log")
        low, high = np.log10(ax.get_ylim())
        places = np.array(sorted(np.log10(value) for value, _ in ends.values()))
        gap = (high - low) * 0.065
        for i in range(1, len(places)):
            places[i] = max(places[i], places[i - 1] + gap)
        order = sorted(ends, key=lambda arm: ends[arm][0])
        for arm, place in zip(order, places, strict=True):
            ax.annotate(
                WHAT[arm],
                (curves["step"].max(), 10**place),
                (6, 0),
                textcoords="offset points",
                color=ends[arm][1],
                va="center",
                fontsize=8.5,
                annotation_clip=False,
            )
        ax.set_xlabel("iteration")
        ax.set_title("Loss on the training images, mean and range over seeds")
        place = ax.get_yaxis_transform()
        ax.text(0.01, threshold, "threshold", transform=place, va="bottom", color=MUTED, fontsize=8)
        ax.yaxis.set_minor_formatter("{x:g}")
        ax.yaxis.set_major_formatter("{x:g}")
    return new


if __name__ == "__main__":
    main()
