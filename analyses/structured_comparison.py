"""Which way to a small network keeps most accuracy at equal cost: pruning while training, after it, or not at all?

    python analyses/structured_comparison.py [--dataset digits] [--model digits-cnn] [--epochs 20] [--seeds 0 1 2 3 4]
    python analyses/structured_comparison.py --dataset "{name: cifar10, size: 16, train: 10000}" --data-root FOLDER
        --recipe small-images --model small-plain small-resnet [--epochs 8 20] [--choose]

All networks see the same number of epochs in total. Variational pruning takes one training, for every nu, with units
and layers, with units only and with layers only. Filter norms, Taylor, group norms and the DAG pruner are given a
network trained for half of the epochs, slimming one that it trains itself for as long, and the pruned network is
trained for the other half. Small dense networks are the same architecture with every group of channels narrowed alike
before any training (`topo.pruning.narrowed`), and then trained for all epochs. Costs are those of the compact networks;
shares are of the full network. Of several numbers of epochs each is a comparison of its own: a method may need a long
training to be ahead of a small dense network.

Every network is a row of a table as soon as it is trained, and a run goes on where another one stopped.

`--choose` compares settings of the DAG pruner and of variational pruning with each other instead, on training images
that are held out and never on test images: a fifth of them, or those of a dataset with `validation: 2000`. The
comparison then takes the settings that were best, where such a record lies beside its results.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from named_dataset import dataset_label, load_named
from torch import nn

import topo
from topo.datasets.reduction import reduced
from topo.device import resolve_device
from topo.errors import InputError
from topo.plots.theme import HUES, INK, MUTED, figure, style
from topo.pruning import narrowed
from topo.pruning.variational import train as train_pruning
from topo.results.labels import percent
from topo.stats.means import mean_interval
from topo.study.yaml_file import parse_value
from topo.tables import write_table
from topo.training import Recipe, evaluate, recipe, train

HERE = Path(__file__).resolve().parent
BALANCES = {"variational": 0.5, "variational, units only": 0.0, "variational, layers only": 1.0}
TRAINED = {"filter norms": "l1-filter", "Taylor": "taylor", "group norms": "group-norm", "DAG": "dag"}
COSTS = {"macs": "remaining multiply-accumulates", "parameters": "remaining parameters"}
METHODS = (*BALANCES, *TRAINED, "slimming", "small dense")
MARKERS = "oo" + "osD^v" + "Xs"


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "dag": [
        {},
        {"score": "taylor"},
        {"score": "magnitude"},
        {"score": "energy"},
        {"granularity": "channel"},
        {"granularity": "channel", "score": "taylor"},
        {"normalise": "level"},
        {"per": "score"},
    ],
    "variational": [{}, {"alpha": 1.0}, {"kappa": 0.1}, {"kappa": 0.9}],
}
"""Settings that `--choose` tries; the first of each are the defaults."""

KEY = ["epochs", "method", "setting", "seed"]


class Comparison:
    """All networks of one seed and number of epochs."""

    def __init__(
        self,
        a: argparse.Namespace,
        data: topo.datasets.Dataset,
        model: str,
        epochs: int,
        seed: int,
        chosen: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.a, self.data, self.model, self.seed, self.chosen = a, data, model, seed, chosen or {}
        self.options = {"seed": seed, "device": resolve_device(a.device), "progress": False}
        self.full_plan, self.half_plan = recipe(a.recipe, epochs=epochs), recipe(a.recipe, epochs=max(1, epochs // 2))
        self.at = {"epochs": epochs, "seed": seed}

    def fresh(self) -> nn.Module:
        return topo.models.build(
            self.model, input_shape=self.data.input_shape, n_classes=self.data.n_classes, seed=self.seed
        )

    def trained(self, model: nn.Module, plan: Recipe) -> nn.Module:
        train(model, self.data, plan, **self.options)
        return model

    @cached_property
    def half_trained(self) -> nn.Module:
        return self.trained(self.fresh(), self.half_plan).cpu()

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
        return topo.compact(masks.install(copy.deepcopy(model)).cpu(), masks, self.data.input_shape)

    def variational(self, nu: float, kappa: float) -> nn.Module:
        chosen = self.chosen.get("variational", {})
        if kappa == BALANCES["variational"]:
            kappa = chosen.get("kappa", kappa)
        knobs = {"nu": nu, "kappa": kappa, "alpha": chosen.get("alpha", self.a.alpha)}
        return train_pruning(self.fresh(), self.data, self.full_plan, **knobs, **self.options).model

    def after_half(self, pruner: str, sparsity: float, **settings: Any) -> nn.Module:
        return self.trained(self.pruned(self.half_trained, pruner, sparsity, **settings), self.half_plan)

    def slimmed(self, sparsity: float) -> nn.Module:
        return self.trained(self.pruned(self.fresh(), "slimming", sparsity, recipe=self.half_plan), self.half_plan)

    def small_dense(self, sparsity: float) -> nn.Module:
        model = self.fresh()
        macs = topo.cost(model, self.data.input_shape)["macs"]
        return self.trained(narrowed(model, (1 - sparsity) * macs, self.data.input_shape), self.full_plan)

    def networks(self) -> Iterator[tuple[str, float, Callable[[], nn.Module]]]:
        """(method, setting, what trains the network to the end)."""
        yield "dense", 0.0, lambda: self.trained(self.fresh(), self.full_plan)
        for method, kappa in BALANCES.items():
            for nu in self.a.nu:
                yield method, nu, partial(self.variational, nu, kappa)
        for sparsity in self.a.sparsities:
            for method, pruner in TRAINED.items():
                yield method, sparsity, partial(self.after_half, pruner, sparsity, **self.chosen.get(pruner, {}))
            yield "slimming", sparsity, partial(self.slimmed, sparsity)
            yield "small dense", sparsity, partial(self.small_dense, sparsity)

    def variants(self) -> Iterator[tuple[str, float, Callable[[], nn.Module]]]:
        """(pruner and settings, sparsity, what trains the network to the end)."""
        for sparsity in self.a.sparsities:
            for settings in VARIANTS["dag"]:
                yield _written("dag", settings), sparsity, partial(self.after_half, "dag", sparsity, **settings)
            for settings in VARIANTS["variational"]:
                options = settings | {"recipe": self.full_plan}
                make = partial(self.pruned, sparsity=sparsity, pruner="variational", **options)
                yield _written("variational", settings), sparsity, lambda make=make: make(self.fresh())

    def row(self, method: str, setting: float, make: Callable[[], nn.Module]) -> dict[str, Any]:
        key, started = {**self.at, "method": method, "setting": setting}, time.perf_counter()
        try:
            model = make()
        except InputError as error:  # everything would be pruned, or no layer can be: there is no such point
            print(f"{key}: {error}", flush=True)
            return key
        seconds = time.perf_counter() - started
        accuracy = evaluate(model, self.data, device=self.options["device"])["accuracy"]
        return {**key, "accuracy": accuracy, **topo.cost(model.cpu().eval(), self.data.input_shape), "seconds": seconds}


def _written(pruner: str, settings: dict[str, Any]) -> str:
    return f"{pruner} {json.dumps(settings, sort_keys=True)}"


def completed(path: Path, a: argparse.Namespace, data: topo.datasets.Dataset, model: str) -> pd.DataFrame:
    """The table of all networks, those trained that it does not hold yet; written after each of them."""
    made_with = {"recipe": a.recipe, "alpha": a.alpha, "training_samples": len(data.train), "dataset": a.dataset}
    chosen = {} if a.choose else best_settings(path)
    made_with |= {"chosen": chosen} if chosen else {}
    record = path.with_suffix(".json")
    goes_on = path.exists() and record.exists()
    if goes_on and json.loads(record.read_text()) != made_with:
        raise SystemExit(f"{path} was made with {record.read_text()}, not with {made_with}; give another --results.")
    record.write_text(json.dumps(made_with))
    table = pd.read_csv(path) if goes_on else pd.DataFrame(columns=KEY)
    rows: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    known = {tuple(row[name] for name in KEY) for row in rows}
    for epochs in a.epochs:
        for seed in a.seeds:
            one = Comparison(a, data, model, epochs, seed, chosen)
            for method, setting, make in one.variants() if a.choose else one.networks():
                if (epochs, method, setting, seed) in known:
                    continue
                row = one.row(method, setting, make)
                rows.append(row)
                table = pd.DataFrame(rows)
                write_table(path, table)
                print(row, flush=True)
    return table


def choices(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy of every setting of a pruner, the best first, and its gap to the defaults with a 95% interval.

    Over sparsities and seeds for which all settings of the pruner have a network; differences are paired.
    """
    rows = []
    parts = table["method"].str.split(" ", n=1, expand=True)
    for pruner, part in table.assign(pruner=parts[0], settings=parts[1]).groupby("pruner"):
        by = part.pivot_table(index=["epochs", "setting", "seed"], columns="settings", values="accuracy").dropna()
        for settings in sorted(by.columns, key="{}".__ne__):  # of equals the defaults are first
            gap = by[settings] - by["{}"]
            rows.append([pruner, settings, by[settings].mean(), *mean_interval(gap), len(by)])
    columns = ["pruner", "settings", "accuracy", "gap", "low", "high", "networks"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["pruner", "accuracy"], ascending=[True, False], kind="stable"
    )


def best_settings(path: Path) -> dict[str, dict[str, Any]]:
    """Of every pruner the settings that were best on held-out images, where the record of a choice is there."""
    record = path.with_name(f"{path.stem}_choice.csv")
    if not record.exists():
        return {}
    best = choices(pd.read_csv(record)).groupby("pruner").first()["settings"]
    return {pruner: json.loads(settings) for pruner, settings in best.items()}


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy with its 95% t-interval over seeds, and mean shares of cost, by method and setting."""
    table = table.dropna(subset="accuracy")
    dense = table[table["method"] == "dense"].set_index("seed")
    table = table.assign(**{f"{c}_share": table[c] / table["seed"].map(dense[c]) for c in COSTS})
    by = table.groupby(["method", "setting"], sort=False)
    averages = by[["accuracy", *(f"{c}_share" for c in COSTS)]].mean()
    averages["interval"] = by["accuracy"].agg(lambda of: mean_interval(of)[2]) - averages["accuracy"]
    return averages.assign(seeds=by.size()).reset_index()


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
    table = table.dropna(subset="accuracy")
    dense = table[table["method"] == "dense"].set_index("seed")["macs"]
    table = table.assign(log_share=np.log(table["macs"] / table["seed"].map(dense)))
    accuracies: dict[str, dict[int, float]] = {}
    for (method, seed), part in table[table["method"] != "dense"].groupby(["method", "seed"], sort=False):
        part = part.sort_values("log_share")
        value = np.interp(np.log(share), part["log_share"], part["accuracy"], left=np.nan, right=np.nan)
        accuracies.setdefault(method, {})[seed] = float(value)
    return pd.DataFrame(accuracies)


def gaps(table: pd.DataFrame, shares: list[float]) -> pd.DataFrame:
    """Every method against small dense networks of equal cost and epochs, paired by seed, with a 95% interval."""
    rows = []
    for epochs, part in table.groupby("epochs"):
        for share in shares:
            accuracies = at_share(part, share)
            if "small dense" not in accuracies:
                continue
            for method in accuracies.columns.drop("small dense"):
                both = accuracies[[method, "small dense"]].dropna()
                gap = both[method] - both["small dense"]
                if len(gap):
                    means = both.mean()
                    rows.append([epochs, share, method, *means, *mean_interval(gap), len(gap)])
    columns = ["epochs", "share", "method", "accuracy", "small_dense_accuracy", "gap", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def sentences(table: pd.DataFrame, shares: list[float]) -> str:
    """What the networks say, computed: the dense accuracy, and each method beside small dense networks."""
    lines = []
    found = gaps(table, shares)
    for epochs, part in table.groupby("epochs"):
        dense = part.loc[part["method"] == "dense", "accuracy"]
        lines.append(f"Trained for {epochs} epochs the dense network reaches {dense.mean():.4f} (seeds: {len(dense)}).")
        for share, here in found[found["epochs"] == epochs].groupby("share", sort=False):
            lines.append(f"With {share:.0%} of the computation, beside small dense networks trained from scratch:")
            for _, row in here.sort_values("gap", ascending=False).iterrows():
                verdict = "ahead" if row["low"] > 0 else "behind" if row["high"] < 0 else "not told apart"
                spread = f"{row['low']:+.4f} to {row['high']:+.4f}, {row['seeds']} seeds), {verdict}"
                lines.append(
                    f"  {row['method']} {row['accuracy']:.4f}, {row['gap']:+.4f} "
                    f"({'one seed)' if np.isnan(row['low']) else spread}"
                )
    return "\n".join(lines)


def loaded(a: argparse.Namespace) -> topo.datasets.Dataset:
    """The dataset; to choose by, with training images held out in the place of the test images."""
    data = load_named(a.dataset, a.data_root, a.subset)
    if not a.choose or (isinstance(a.dataset, dict) and "validation" in a.dataset):
        return data
    kept, held_out = reduced(data.name, data.train, data.train, validation=len(data.train) // 5)
    return replace(data, train=kept, test=held_out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=parse_value, default="digits", help="a name, or a mapping with settings")
    parser.add_argument("--data-root", type=Path, help="folder of the dataset's files, where it needs one")
    parser.add_argument("--subset", type=int, help="images of each class; all by default")
    parser.add_argument("--model", nargs="+", default=["digits-cnn"])
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--epochs", type=int, nargs="+", default=[20])
    parser.add_argument("--nu", type=float, nargs="+", default=[0.1, 0.3, 1.0, 2.0])
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.85], help="of computation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.3, 0.15], help="of computation, compared at")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--choose", action="store_true", help="choose settings on held-out training images")
    parser.add_argument("--read", action="store_true", help="draw the stored table and run nothing")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    a.results.mkdir(parents=True, exist_ok=True)
    data = None if a.read else loaded(a)
    for model in a.model:
        name = (
            a.results / f"structured_comparison_{dataset_label(a.dataset)}_{model}{'_choice' if a.choose else ''}.csv"
        )
        table = pd.read_csv(name) if data is None else completed(name, a, data, model)
        if a.choose:
            print(f"{model}, on held-out training images:\n{choices(table).to_string(index=False)}")
            continue
        table = table.assign(epochs=table.get("epochs", 20))
        drawn = draw(table[table["epochs"] == table["epochs"].max()])
        for kind in ("png", "svg"):
            drawn.savefig(name.with_suffix(f".{kind}"))
        write_table(name.with_name(f"{name.stem}_gaps.csv"), gaps(table, a.shares), float_format="%.5f")
        print(f"{model}: {sentences(table, a.shares)}")


if __name__ == "__main__":
    main()
