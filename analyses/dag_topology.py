"""What removing whole branches does to the topology of a network, against removing units at equal cost.

    python analyses/dag_topology.py [--model resnet20] [--epochs 8] [--sparsities 0.25 0.5 0.75] [--seeds 0 1 2]

Every seed trains a dense network on digits. The DAG pruner removes whole arcs until at most the share asked for is
left, and then, from the same dense network, channels, as filter norms do, until no more weights are left than after
the arcs. What is left is trained on, encoded and measured.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path

import pandas as pd
import torch

import topo
from topo.dag import coarsen, trace
from topo.dag.compaction.zero_branches import zero_arcs
from topo.dag.path_counts import PathCounts
from topo.plots.theme import HUES, figure, style
from topo.tables import write_table
from topo.training import evaluate, recipe, train

HERE = Path(__file__).resolve().parent
METHODS = {
    "arcs": ("dag", {"granularity": "arc"}),
    "channels": ("dag", {"granularity": "channel"}),
    "filters by norm": ("l1-filter", {}),
}
METRICS = {
    "log2_paths": "paths through the DAG (log2)",
    "effective_sparsity": "effective sparsity",
    "k_core": "mean coreness",
    "spectral_gap": "spectral gap",
    "one_hop": "mean neighbours",
    "accuracy": "test accuracy",
}


def measured(model: torch.nn.Module, masks: topo.Masks, example: torch.Tensor) -> dict[str, float]:
    """Paths of arcs that still pass something on, and the topometrics of the masked network."""
    dag = coarsen(trace(model, example).single())
    zero = zero_arcs(dag, masks)
    live = [i for i, arc in enumerate(dag.arcs) if arc not in zero]
    weights = {name: mask for name, mask in masks.items() if mask.ndim > 1}
    row = topo.measure(topo.encode(dag, weights), metrics=["k_core", "spectral_gap", "one_hop", "effective_sparsity"])
    cost = topo.cost(topo.compact(model, masks, example), example)
    return {
        "log2_paths": math.log2(PathCounts(dag, live).total),
        "compact_parameters": cost["parameters"],
        "compact_macs": cost["macs"],
        **row.to_dict(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.25, 0.5, 0.75])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=HERE / "results")
    a = parser.parse_args()
    data, plan = topo.datasets.load("digits", test=360), recipe("digits", epochs=a.epochs)
    example = torch.zeros(1, *data.input_shape)
    rows = []
    for seed in a.seeds:
        dense = topo.models.build(a.model, input_shape=data.input_shape, n_classes=data.n_classes, seed=seed)
        train(dense, data, plan, seed=seed, device="cpu", progress=False)
        for sparsity in a.sparsities:
            share = sparsity
            for method, (pruner, settings) in METHODS.items():
                masks = topo.prune(dense, pruner, sparsity=share, data=data, seed=seed, device="cpu", **settings)
                # Arcs go as a whole and may take more than was asked; the others are given what they have.
                share = masks.sparsity if method == "arcs" else share
                sparse = copy.deepcopy(dense)
                train(sparse, data, plan, masks=masks, seed=seed, device="cpu", progress=False)
                found = {"accuracy": evaluate(sparse, data, device="cpu")["accuracy"]}
                found |= measured(sparse.eval(), masks, example)
                rows.append({"method": method, "sparsity": sparsity, "seed": seed, "reached": masks.sparsity, **found})
                print(seed, sparsity, method, {k: round(float(rows[-1][k]), 4) for k in METRICS}, flush=True)
    table = pd.DataFrame(rows)
    a.results.mkdir(parents=True, exist_ok=True)
    name = f"dag_topology_{a.model}"
    write_table(a.results / f"{name}.csv", table, float_format="%.6g")
    drawn = draw(table)
    for kind in ("png", "svg"):
        drawn.savefig(a.results / f"{name}.{kind}")
    print(sentences(table))


def sentences(table: pd.DataFrame) -> str:
    """Three sentences, computed."""
    mean = table.groupby(["method", "sparsity"])[["reached", *METRICS]].mean()
    middle = sorted(table["sparsity"].unique())[table["sparsity"].nunique() // 2]
    arcs, channels, norm = (mean.loc[(method, middle)] for method in METHODS)
    return (
        f"With {arcs['reached']:.0%} of the weights gone, {2 ** arcs['log2_paths']:.0f} paths are left when arcs go "
        f"and {2 ** channels['log2_paths']:.0f} when channels go.\n"
        f"The effective sparsity is {arcs['effective_sparsity']:.3f}, {channels['effective_sparsity']:.3f} and "
        f"{norm['effective_sparsity']:.3f} for arcs, channels and filters by norm; the mean coreness "
        f"{arcs['k_core']:.1f}, {channels['k_core']:.1f} and {norm['k_core']:.1f}.\n"
        f"Test accuracy after training on is {arcs['accuracy']:.4f}, {channels['accuracy']:.4f} and "
        f"{norm['accuracy']:.4f}, means of {table['seed'].nunique()} seeds."
    )


def draw(table: pd.DataFrame):
    """A panel per measure: means over seeds against sparsity, one line per method, points the seeds."""
    with style():
        new = figure(7.6, 4.6)
        for i, (column, label) in enumerate(METRICS.items()):
            ax = new.add_axes((0.065 + (i % 3) * 0.325, 0.57 - (i // 3) * 0.47, 0.255, 0.32))
            for (method, part), color, width in zip(table.groupby("method", sort=False), HUES, (3.4, 2.2, 1.1)):
                ax.plot(part["reached"], part[column], "o", color=color, markersize=2.5, alpha=0.6, markeredgewidth=0)
                line = part.groupby("sparsity")[["reached", column]].mean()
                # Thinner from line to line, so that one that lies on another shows both.
                ax.plot(line["reached"], line[column], color=color, linewidth=width)
                if i == 0:
                    new.text(0.065 + 0.16 * list(METHODS).index(method), 0.965, f"● {method}", color=color, fontsize=9)
            ax.set_title(label)
            ax.set_xlim(table["reached"].min() - 0.03, table["reached"].max() + 0.03)
            ax.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
        new.text(0.995, 0.012, "share of weights removed", ha="right", fontsize=8.5)
    return new


if __name__ == "__main__":
    main()
