"""What nu and kappa trade, how deterministic theta becomes, and whether gates that close early are worth nothing.

    python benchmarks/variational_knobs.py [--model digits-cnn] [--epochs 10] [--nu 0 0.1 0.3] [--kappa 0.1 0.5 0.9]
    python benchmarks/variational_knobs.py --model "{name: digits-cnn, blocks: 3}" --epochs 5 10 20
    python benchmarks/variational_knobs.py --draw FILE.json       # the figure of a record
    python benchmarks/variational_knobs.py --table FILE.json      # what nu leaves, as Markdown

For each seed every nu is run at kappa 1/2 for every number of epochs, and every kappa at one nu (`--kappa-at`) for the
largest. A row has what remains and the accuracy; the share of thetas between .01 and .99 after every epoch before gates
are decided; and the accuracy of a dense network of the same family, whose width has it cost as many
multiply-accumulates, trained by the same recipe. With `--closing` it also has, of the gates whose theta is 0 before
gates are decided, most of them closed for good, how many have theta above 1/2 then in a run of the same seed in which
theta below .01 alone closes a gate and the network is not rebuilt. These came back.

A figure is drawn beside the record. Rows that a record has already are not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from measuring import write_record

import topo
from topo.plots.theme import HUES, MUTED, figure, style
from topo.pruning.variational import VariationalConfig, VariationalRun
from topo.pruning.variational import train as train_pruning
from topo.stats.means import mean_interval
from topo.study.yaml_file import parse_value
from topo.training import evaluate, recipe, train

SETTINGS = ("model", "dataset", "recipe", "kappa_at", "closing")


class Knobs:
    """Runs of one model on one dataset.

    Parameters
    ----------
    a
        The arguments of the program.
    """

    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a
        model = parse_value(a.model)
        self.options = {"name": model} if isinstance(model, str) else dict(model)
        self.data = topo.datasets.load(a.dataset)
        self.shape = self.data.input_shape
        self.macs = {width: self._cost(self.net(0, width)) for width in range(1, a.widest + 1)}
        self.dense: dict[tuple[int, int, int], float] = {}

    def _cost(self, net: torch.nn.Module) -> float:
        return float(topo.cost(net, self.shape)["macs"])

    def net(self, seed: int, width: int | None = None) -> torch.nn.Module:
        """A fresh network."""
        options = self.options if width is None else {**self.options, "width": width}
        return topo.models.build(input_shape=self.shape, n_classes=self.data.n_classes, seed=seed, **options)

    def dense_accuracy(self, epochs: int, seed: int, macs: float) -> tuple[int, float]:
        """The width whose cost is nearest, and its accuracy after dense training."""
        width = min(self.macs, key=lambda w: abs(self.macs[w] - macs))
        key = (epochs, seed, width)
        if key not in self.dense:
            net = self.net(seed, width)
            plan = recipe(self.a.recipe, epochs=epochs)
            train(net, self.data, plan, seed=seed, device="cpu", progress=False)
            self.dense[key] = evaluate(net, self.data, device="cpu")["accuracy"]
        return width, self.dense[key]

    def run(self, epochs: int, seed: int, nu: float, kappa: float, **settings: float) -> VariationalRun:
        """One training with pruning."""
        config, plan = VariationalConfig(**settings), recipe(self.a.recipe, epochs=epochs)
        options = {"seed": seed, "device": "cpu", "progress": False, "checkpoint": None}
        return train_pruning(self.net(seed), self.data, plan, nu=nu, kappa=kappa, config=config, **options)

    def row(self, epochs: int, seed: int, nu: float, kappa: float) -> dict[str, Any]:
        """One setting, beside its dense network."""
        run = self.run(epochs, seed, nu, kappa)
        theta, last = _before_deciding(run, epochs), run.record.iloc[-1]
        width, dense = self.dense_accuracy(epochs, seed, last["macs"])
        row = {
            "epochs": epochs,
            "seed": seed,
            "nu": nu,
            "kappa": kappa,
            **{name: float(last[name] / run.record[name].iloc[0]) for name in ("parameters", "macs")},
            **{name: int(last[name]) for name in ("units", "layers")},
            "accuracy": evaluate(run.model, self.data, device="cpu")["accuracy"],
            "dense_width": width,
            "dense_accuracy": dense,
            "undecided": [round(float(((t > 0.01) & (t < 0.99)).float().mean()), 3) for t in theta],
        }
        if not self.a.closing or not len(theta):
            return row
        free = _before_deciding(self.run(epochs, seed, nu, kappa, margin=0.0, min_saving=1.0), epochs)
        early = theta[-1] == 0
        return {**row, "closed_early": int(early.sum()), "would_come_back": int((free[-1][early] > 0.5).sum())}


def _before_deciding(run: VariationalRun, epochs: int) -> torch.Tensor:
    """The thetas after each epoch before gates are decided, at four fifths of the training."""
    return run.thetas[1 : int(0.8 * epochs)]


def draw(rows: list[dict[str, Any]]) -> Figure:
    """What remains by nu, accuracy less that of the dense network by what remains, layers and units by kappa."""
    table = pd.DataFrame(rows).eval("gap = accuracy - dense_accuracy")
    by_nu = table[table["kappa"] == 0.5]
    at = table.loc[table["kappa"] != 0.5, "nu"].unique()
    by_kappa = table[(table["epochs"] == table["epochs"].max()) & table["nu"].isin(at)]
    with style():
        shown = figure(10, 3.2)
        shown.set_layout_engine("constrained", w_pad=0.12)
        axes = shown.subplots(1, 3)
        lengths = sorted(by_nu["epochs"].unique())
        positions = {nu: k for k, nu in enumerate(sorted(by_nu["nu"].unique()))}
        for colour, epochs in zip(HUES, lengths, strict=False):
            part = by_nu[by_nu["epochs"] == epochs]
            _means(axes[0], part["nu"].map(positions), part["macs"], colour, f"{epochs} epochs")
            axes[1].plot(part["macs"], part["gap"], "o", color=colour, markersize=3, alpha=0.35, markeredgewidth=0)
            means = part.groupby("nu")[["macs", "gap"]].mean()
            axes[1].plot(means["macs"], means["gap"], "o-", color=colour, markersize=5, label=f"{epochs} epochs")
        axes[0].set_xticks(list(positions.values()), [f"{nu:g}" for nu in positions])
        axes[0].set(xlabel="nu", ylabel="remaining multiply-accumulates", ylim=(0, 1.05))
        axes[1].axhline(0, color=MUTED, linewidth=0.8)
        axes[1].set(xlabel="remaining multiply-accumulates", ylabel="accuracy, less dense")
        # At the ends of kappa one kind has no gates.
        for colour, (name, without) in zip(HUES, {"units": 1, "layers": 0}.items(), strict=False):
            part = by_kappa[by_kappa["kappa"] != without]
            _means(axes[2], part["kappa"], part[name] / table[name].max(), colour, name)
        axes[2].set(xlabel="kappa", ylabel="share that remains", ylim=(0, 1.05))
        titles = ("What nu leaves", "Beside dense networks of equal cost", "What kappa leaves")
        for axis, title in zip(axes, titles, strict=True):
            axis.set_title(title, loc="left")
            axis.legend()
        axes[2].legend(loc="lower left")
    return shown


def nu_table(rows: list[dict[str, Any]]) -> str:
    """What nu leaves in each length of training, and the accuracy less that of dense networks, as Markdown."""
    by_nu = pd.DataFrame(rows).query("kappa == 0.5").eval("gap = accuracy - dense_accuracy")
    lengths = ", ".join(str(epochs) for epochs in sorted(by_nu["epochs"].unique()))
    lines = [
        f"| nu | of the multiply-accumulates: {lengths} epochs | accuracy, less dense: {lengths} epochs |",
        "|---|---|---|",
    ]
    for nu, part in by_nu.groupby("nu"):
        lengths_of = [one for _, one in part.groupby("epochs")]
        left = ", ".join(_plain(one["macs"].mean(), 2) for one in lengths_of)
        lines.append(f"| {_plain(nu)} | {left} | {', '.join(_gap(one['gap']) for one in lengths_of)} |")
    return "\n".join(lines)


def _plain(number: float, digits: int | None = None, sign: str = "") -> str:
    """A number without the zero before its point."""
    text = f"{number:g}" if digits is None else f"{number:{sign}.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def _gap(gaps: pd.Series) -> str:
    """The mean, and of several seeds its 95% interval, in bold where that leaves out 0."""
    values = mean_interval(gaps)
    mean, low, high = (_plain(value, 3, "+") for value in values)
    if len(gaps) < 2:
        return mean
    shown = f"**{mean}**" if values[1] > 0 or values[2] < 0 else mean
    return f"{shown} ({low} to {high})"


def _means(axis: Any, x: pd.Series, y: pd.Series, colour: str, label: str) -> None:
    """Means of `y` where `x` is the same, with their 95% intervals."""
    groups = y.groupby(x)
    means = groups.mean()
    half = groups.agg(lambda of: mean_interval(of)[2]) - means
    axis.errorbar(means.index, means, yerr=half, color=colour, marker="o", markersize=4, linewidth=1.4, label=label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits-cnn", help="a name, or a mapping with options")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--epochs", type=int, nargs="+", default=[10])
    parser.add_argument("--nu", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    parser.add_argument("--kappa", type=float, nargs="+", default=[0.1, 0.3, 0.5, 0.7, 0.9])
    parser.add_argument("--kappa-at", type=float, help="the nu at which kappa varies; the first above 0 without it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--closing", action="store_true", help="also train where nothing closes early")
    parser.add_argument("--widest", type=int, default=16)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--draw", type=Path, help="draw a record and run nothing")
    parser.add_argument("--table", type=Path, help="print the table of a record and run nothing")
    a = parser.parse_args()
    if a.table:
        print(nu_table(json.loads(a.table.read_text())["rows"]))
        return
    if a.draw:
        draw(json.loads(a.draw.read_text())["rows"]).savefig(a.draw.with_suffix(".png"))
        return
    torch.set_num_threads(1)
    if a.kappa_at is None:
        a.kappa_at = next(nu for nu in a.nu if nu > 0)
    knobs = Knobs(a)
    name = "-".join(f"{value}" if key == "name" else f"{key}{value}" for key, value in knobs.options.items())
    output = a.output or Path(__file__).parent / "results" / f"variational_knobs_{a.dataset}_{name}.json"
    settings = {name: getattr(a, name) for name in SETTINGS}
    rows = _stored(output, settings)
    done = {(row["epochs"], row["seed"], row["nu"], row["kappa"]) for row in rows}
    cells = [(epochs, nu, 0.5) for epochs in a.epochs for nu in a.nu]
    cells += [(max(a.epochs), a.kappa_at, kappa) for kappa in a.kappa]
    for seed in a.seeds:
        for epochs, nu, kappa in dict.fromkeys(cells):
            if (epochs, seed, nu, kappa) in done:
                continue
            rows.append(knobs.row(epochs, seed, nu, kappa))
            print(rows[-1], flush=True)
            write_record(output, {"torch": torch.__version__, **settings, "rows": rows})
    draw(rows).savefig(output.with_suffix(".png"))


def _stored(output: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a record with these settings."""
    if not output.exists():
        return []
    record = json.loads(output.read_text())
    different = [name for name in SETTINGS if record.get(name) != settings[name]]
    if different:
        raise SystemExit(f"{output} was made with another {', '.join(different)}: give another --output, or remove it.")
    return list(record["rows"])


if __name__ == "__main__":
    main()
