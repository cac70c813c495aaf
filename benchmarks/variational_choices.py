"""Choose the coefficients of variational pruning: the objective that each of them reaches, on held-out images.

    python benchmarks/variational_choices.py [--dataset digits] [--data-root FOLDER] [--subset N] [--model resnet20]
        [--epochs 12] [--seeds 0 1 2] [--nu 0.1 0.5] [--vary estimator horizon ...] [--around wait=0] [--output FILE]

Every coefficient of `topo.pruning.variational.Choices` is varied alone around the defaults, or around what is said. A
network is trained on four fifths of the training images and judged on the last fifth; test images are not looked at.
The measure is the objective itself, cross-entropy + nu * C with C the relative complexity of the network that is left,
averaged over seeds and values of nu; smaller is better. Differences from the defaults are paired by seed and nu, with
95% t-intervals.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

import topo
from topo.datasets import Dataset, Split, make_dataset
from topo.errors import InputError
from topo.pruning.variational import Choices, train
from topo.training import evaluate, recipe

ALTERNATIVES: dict[str, list[Any]] = {
    "estimator": [
        "straight-through",
        "trapezoid",
        "uniform",
        "layers:exact,units:trapezoid",
        "layers:exact,units:uniform",
        "layers:uniform,units:trapezoid",
        "layers:uniform,units:uniform",
    ],
    "matching": ["gradient", "value"],
    "start": [0.9, 0.7],
    "wait": [0.0, 0.15, 0.3],
    "settle": [0.6, 0.8],
    "horizon": [0.05, 0.1, 0.2],
    "memory": [0.5, 0.9, 0.98],
    "margin": [0.0, 0.5],
}


def held_out(whole: Dataset) -> Dataset:
    """The last fifth of the training images in the place of the test images."""
    cut = len(whole.train) * 4 // 5
    parts = [
        Split(whole.train.images[part], whole.train.targets[part]) for part in (slice(None, cut), slice(cut, None))
    ]
    return make_dataset(f"{whole.name}, held out", *parts, whole.n_classes, whole.augmentation)


def without_folder(words: list[str]) -> list[str]:
    """The command line for readers, whose files lie elsewhere."""
    return ["FOLDER" if before == "--data-root" else word for before, word in zip(["", *words], words, strict=False)]


def row(data: Dataset, model: str, epochs: int, nu: float, seed: int, choices: Choices) -> dict[str, Any]:
    network = topo.models.build(model, input_shape=data.input_shape, n_classes=data.n_classes, seed=seed)
    try:
        found = train(
            network,
            data,
            recipe("digits", epochs=epochs),
            nu=nu,
            choices=choices,
            seed=seed,
            device="cpu",
            progress=False,
        )
    except InputError as error:
        return {"nu": nu, "seed": seed, "failed": str(error)}
    first, last = found.record.iloc[0], found.record.iloc[-1]
    judged = evaluate(found.model, data, device="cpu")
    shares = {name: last[name] / first[name] for name in ("parameters", "macs")}
    objective = judged["loss"] + nu * (shares["parameters"] + shares["macs"]) / 2
    return {"nu": nu, "seed": seed, "objective": objective, **judged, **shares, "layers": int(last["layers"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path, help="folder of the dataset's files, where it needs one")
    parser.add_argument("--subset", type=int, help="images of each class; all by default")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--nu", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--vary", nargs="+", default=list(ALTERNATIVES))
    parser.add_argument("--around", nargs="+", default=[], metavar="NAME=VALUE", help="numbers other than the defaults")
    parser.add_argument("--output", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    data = held_out(topo.datasets.load(a.dataset, root=a.data_root, subset=a.subset))
    output = a.output or Path(__file__).parent / "results" / f"variational_choices_{a.dataset}_{a.model}.json"
    usual = replace(VariationalConfig(), **{name: float(value) for name, value in (pair.split("=") for pair in a.around)})
    known: dict[Choices, list[dict[str, Any]]] = {}
    rows = []
    for name in a.vary:
        for value in ALTERNATIVES[name]:
            choices = replace(usual, **{name: value})
            if choices not in known:
                known[choices] = [row(data, a.model, a.epochs, nu, seed, choices) for nu in a.nu for seed in a.seeds]
            rows += [{"coefficient": name, "value": str(value), **found} for found in known[choices]]
            print(name, value, pd.DataFrame(known[choices]).mean(numeric_only=True).round(4).to_dict(), flush=True)
    table = pd.DataFrame(rows)
    found = summary(table, usual)
    record = {
        "run": " ".join(["python benchmarks/variational_choices.py", *without_folder(sys.argv[1:])]),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "around": asdict(usual),
        **{name: getattr(a, name) for name in ("dataset", "subset", "model", "epochs", "nu", "seeds")},
        "summary": json.loads(found.round(5).to_json(orient="records")),
        "rows": json.loads(table.round(5).to_json(orient="records")),
    }
    output.write_text(json.dumps(record, indent=1) + "\n")
    print(found.to_string(index=False))


def summary(table: pd.DataFrame, usual: Choices) -> pd.DataFrame:
    """One row a coefficient and value: means, and the objective's difference from the default, with its interval."""
    rows = []
    for name, of_name in table.groupby("coefficient", sort=False):
        base = of_name[of_name["value"] == str(getattr(usual, name))].set_index(["nu", "seed"])["objective"]
        for value, part in of_name.groupby("value", sort=False):
            more = (part.set_index(["nu", "seed"])["objective"] - base).dropna()
            half = stats.t.ppf(0.975, len(more) - 1) * more.std(ddof=1) / np.sqrt(len(more)) if len(more) > 1 else 0.0
            means = part[["objective", "accuracy", "parameters", "macs"]].mean()
            rows.append(
                {
                    "coefficient": name,
                    "value": value,
                    "default": value == str(getattr(usual, name)),
                    "networks": int(part["objective"].notna().sum()),
                    **means,
                    "more": more.mean(),
                    "low": more.mean() - half,
                    "high": more.mean() + half,
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
