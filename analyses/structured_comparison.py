"""Which way to a small network keeps most accuracy at equal cost: pruning while training, after it, or not at all?

    python analyses/structured_comparison.py [--dataset digits] [--model digits-cnn] [--epochs 20] [--seeds 0 1 2 3 4]

All networks see the same number of epochs in total. Variational pruning takes one training, for every nu, with units
and layers, with units only and with layers only. Filter norms, Taylor, group norms and the DAG pruner are given a
network trained for half of the epochs, slimming one that it trains itself for as long, and the pruned network is
trained for the other half. Small dense networks are the same architecture with every group of channels narrowed alike
before any training (to those with the largest initial norms), and then trained for all epochs. Costs are those of the
compact networks; shares are of the full network.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import nn

import topo
from topo.device import resolve_device
from topo.errors import InputError
from topo.plots.theme import HUES, INK, MUTED, figure, style
from topo.pruning.variational import train as train_pruning
from topo.results.labels import percent
from topo.tables import write_table
from topo.training import Recipe, evaluate, recipe, train

HERE = Path(__file__).resolve().parent
BALANCES = {"variational": 0.5, "variational, units only": 0.0, "variational, layers only": 1.0}
TRAINED = {"filter norms": "l1-filter", "Taylor": "taylor", "group norms": "group-norm", "DAG": "dag"}
COSTS = {"macs": "remaining multiply-accumulates", "parameters": "remaining parameters"}
METHODS = (*BALANCES, *TRAINED, "slimming", "small dense")
MARKERS = "oo" + "osD^v" + "Xs"


class Comparison:
    """All networks of one seed."""

    def __init__(self, a: argparse.Namespace, data: topo.datasets.Dataset, seed: int) -> None:
        self.a, self.data, self.seed = a, data, seed
        self.options = {"seed": seed, "device": resolve_device(a.device), "progress": False}
        self.full_plan, self.half_plan = recipe(a.recipe, epochs=a.epochs), recipe(a.recipe, epochs=a.epochs // 2)

    def fresh(self) -> nn.Module:
        return topo.models.build(
            self.a.model, input_shape=self.data.input_shape, n_classes=self.data.n_classes, seed=self.seed
        )

    def trained(self, model: nn.Module, plan: Recipe) -> nn.Module:
        train(model, self.data, plan, **self.options)
        return model

    def pruned(self, model: nn.Module, pruner: str, sparsity: float, **settings: Any) -> nn.Module:
        """The compact network that a pruner leaves of a network."""
        masks = topo.prune(
            model,
            pruner,
            sparsity=sparsity,
            data=self.data,
            seed=self.seed,
            device=self.options["device"],
            budget="macs",
            **settings,
        )
        return topo.compact(masks.apply(copy.deepcopy(model)).cpu(), masks, self.data.input_shape)

    def networks(self) -> Iterator[tuple[str, float, nn.Module]]:
        """(method, setting, network), trained to the end."""
        yield "dense", 0.0, self.trained(self.fresh(), self.full_plan)
        for method, kappa in BALANCES.items():
            for nu in self.a.nu:
                knobs = {"nu": nu, "kappa": kappa, "alpha": self.a.alpha}
                try:
                    run = train_pruning(self.fresh(), self.data, self.full_plan, **knobs, **self.options)
                except InputError as error:  # everything would be pruned, or no layer can be: there is no such point
                    print(f"seed {self.seed}, {method}, nu {nu:g}: {error}", flush=True)
                else:
                    yield method, nu, run.model
        start = self.trained(self.fresh(), self.half_plan).cpu()
        for sparsity in self.a.sparsities:
            for method, pruner in TRAINED.items():
                yield method, sparsity, self.trained(self.pruned(start, pruner, sparsity), self.half_plan)
            slim = self.pruned(self.fresh(), "slimming", sparsity, recipe=self.half_plan)
            yield "slimming", sparsity, self.trained(slim, self.half_plan)
            narrow = self.pruned(self.fresh(), "l1-filter", sparsity, scope="group")
            yield "small dense", sparsity, self.trained(narrow, self.full_plan)

    def rows(self) -> Iterator[dict[str, Any]]:
        for method, setting, model in self.networks():
            accuracy = evaluate(model, self.data, device=self.options["device"])["accuracy"]
            cost = topo.cost(model.cpu().eval(), self.data.input_shape)
            yield {"method": method, "setting": setting, "seed": self.seed, "accuracy": accuracy, **cost}


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy with its 95% t-interval over seeds, and mean shares of cost, by method and setting."""
    dense = table[table["method"] == "dense"].set_index("seed")
    table = table.assign(**{f"{c}_share": table[c] / table["seed"].map(dense[c]) for c in COSTS})
    by = table.groupby(["method", "setting"], sort=False)
    averages = by[["accuracy", *(f"{c}_share" for c in COSTS)]].mean()
    count, deviation = by.size(), by["accuracy"].std(ddof=1)
    averages["interval"] = stats.t.ppf(0.975, np.maximum(count - 1, 1)) * deviation / np.sqrt(count)
    return averages.assign(seeds=count).reset_index()


def draw(table: pd.DataFrame) -> Figure:
    """Test accuracy against both costs: a line for every method through its settings, with intervals over seeds."""
    averages = means(table)
    dense = averages[averages["method"] == "dense"].iloc[0]
    pruned = averages[averages["method"] != "dense"]
    low = float(pruned["accuracy"].quantile(0.15))  # one or two collapsed networks would squeeze the rest
    with style():
        new = figure(7.6, 4.0)
        for i, (cost, label) in enumerate(COSTS.items()):
            ax = new.add_axes((0.085 + 0.47 * i, 0.32, 0.42, 0.58))
            ax.axhline(dense["accuracy"], color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
            for method, color, marker in zip(METHODS, HUES, MARKERS):
                part = pruned[pruned["method"] == method].sort_values(f"{cost}_share")
                is_variational = method in BALANCES
                x, y = part[f"{cost}_share"], part["accuracy"]
                ax.plot(
                    x,
                    y,
                    color=color,
                    marker=marker,
                    markersize=4.5 if is_variational else 3.5,
                    linewidth=1.8 if is_variational else 0.9,
                    label=method,
                    zorder=3 if is_variational else 2,
                )
                ax.vlines(x, y - part["interval"], y + part["interval"], color=color, linewidth=0.5, alpha=0.5)
            ax.set_xscale("log")
            ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if t >= 0.8 * pruned[f"{cost}_share"].min()]
            ax.set_xticks(ticks, [percent(t) for t in ticks])
            ax.set_xticks([], minor=True)
            ax.set_ylim(low - 0.01, min(1.001, float(averages["accuracy"].max()) + 0.01))
            ax.grid(axis="y")
            ax.set_xlabel(label)
            if i == 0:
                ax.set_ylabel("test accuracy")
                ax.set_title("Accuracy against computation")
            else:
                ax.set_yticklabels([])
                ax.set_title("... and against size")
            ax.annotate(
                "dense",
                (ax.get_xlim()[0], dense["accuracy"]),
                xytext=(3, 3),
                textcoords="offset points",
                color=MUTED,
                fontsize=8,
            )
        handles, labels = new.axes[0].get_legend_handles_labels()
        new.legend(handles, labels, loc="lower center", ncols=4, bbox_to_anchor=(0.5, 0.0))
    return new


def at_share(table: pd.DataFrame, share: float) -> pd.DataFrame:
    """Accuracy of every method where `share` of the computation remains, one row a seed and one column a method.

    Between the two settings of a method around it, linear in the logarithm of the computation; missing where all its
    networks are larger or all are smaller.
    """
    dense = table[table["method"] == "dense"].set_index("seed")["macs"]
    table = table.assign(log_share=np.log(table["macs"] / table["seed"].map(dense)))
    accuracies: dict[str, dict[int, float]] = {}
    for (method, seed), part in table[table["method"] != "dense"].groupby(["method", "seed"], sort=False):
        part = part.sort_values("log_share")
        value = np.interp(np.log(share), part["log_share"], part["accuracy"], left=np.nan, right=np.nan)
        accuracies.setdefault(method, {})[seed] = float(value)
    return pd.DataFrame(accuracies)


def sentences(table: pd.DataFrame, share: float = 0.5) -> str:
    """Three sentences, computed, about half of the computation."""
    dense, accuracies = table[table["method"] == "dense"]["accuracy"].mean(), at_share(table, share)
    complete = accuracies.dropna(axis=1).mean().sort_values(ascending=False)
    listed = ", ".join(f"{method} {value:.4f}" for method, value in complete.items()) or "none"
    lines = [
        f"The dense network reaches {dense:.4f} (mean of {table['seed'].nunique()} seeds).",
        f"With {share:.0%} of the computation remaining: {listed}.",
    ]
    if {"variational", "small dense"} <= set(complete.index) and len(accuracies) > 1:
        gap = accuracies["variational"] - accuracies["small dense"]
        half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap))
        lines.append(
            f"There, variational pruning is {gap.mean():+.4f} ({gap.mean() - half:+.4f} to {gap.mean() + half:+.4f}) "
            "against small dense networks trained from scratch, paired by seed."
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path, help="folder of the dataset's files, where it needs one")
    parser.add_argument("--subset", type=int, help="images of each class; all by default")
    parser.add_argument("--model", default="digits-cnn")
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--nu", type=float, nargs="+", default=[0.1, 0.3, 1.0, 2.0])
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.85], help="of computation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--read", action="store_true", help="draw the stored table and run nothing")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    a.results.mkdir(parents=True, exist_ok=True)
    name = a.results / f"structured_comparison_{a.dataset}_{a.model}"
    if not a.read:
        data = topo.datasets.load(a.dataset, root=a.data_root, subset=a.subset)
        rows: list[dict[str, Any]] = []
        for seed in a.seeds:
            for row in Comparison(a, data, seed).rows():
                rows.append(row)
                print(row, flush=True)
            write_table(f"{name}.csv", pd.DataFrame(rows))
    table = pd.read_csv(f"{name}.csv")
    drawn = draw(table)
    for kind in ("png", "svg"):
        drawn.savefig(f"{name}.{kind}")
    print(sentences(table))


if __name__ == "__main__":
    main()
