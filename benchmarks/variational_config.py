"""Compare settings of variational pruning by the objective that each of them reaches on held-out images.

    python benchmarks/variational_config.py [--dataset digits] [--data-root FOLDER] [--subset N] [--model resnet20]
        [--epochs 12] [--seeds 0 1 2] [--nu 0.1 0.5] [--vary estimator horizon ...] [--around warmup=0] [--output FILE]

Every setting of `topo.pruning.variational.VariationalConfig` is varied alone, around the defaults or settings given.
A network is trained on four fifths of the training images and judged on the last fifth; test images are not looked at.
The measure is the objective itself, cross-entropy + nu * C with C the relative complexity of the pruned network,
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

import pandas as pd
import torch
from measuring import write_record

import topo
from topo.datasets import Dataset, Split, make_dataset
from topo.errors import InputError
from topo.pruning.variational import VariationalConfig, train
from topo.stats.means import mean_interval
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
    "initial_theta": [0.9, 0.7],
    "warmup": [0.0, 0.15, 0.3],
    "settle": [0.6, 0.8],
    "horizon": [0.05, 0.1, 0.2],
    "ema_decay": [0.5, 0.9, 0.98],
    "margin": [0.0, 0.5],
}


def held_out(dataset: Dataset) -> Dataset:
    """The last fifth of the training images in the place of the test images."""
    cut = len(dataset.train) * 4 // 5
    parts = [
        Split(dataset.train.inputs[part], dataset.train.targets[part]) for part in (slice(None, cut), slice(cut, None))
    ]
    return make_dataset(f"{dataset.name}, held out", *parts, dataset.n_classes, dataset.augmentation)


def without_folder(words: list[str]) -> list[str]:
    """The command line for readers, whose files lie elsewhere."""
    return ["FOLDER" if before == "--data-root" else word for before, word in zip(["", *words], words, strict=False)]


def row(data: Dataset, model: str, epochs: int, nu: float, seed: int, config: VariationalConfig) -> dict[str, Any]:
    network = topo.models.build(model, input_shape=data.input_shape, n_classes=data.n_classes, seed=seed)
    try:
        run = train(
            network,
            data,
            recipe("digits", epochs=epochs),
            nu=nu,
            config=config,
            seed=seed,
            device="cpu",
            progress=False,
        )
    except InputError as error:
        return {"nu": nu, "seed": seed, "failed": str(error)}
    first, last = run.record.iloc[0], run.record.iloc[-1]
    judged = evaluate(run.model, data, device="cpu")
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
    output = a.output or Path(__file__).parent / "results" / f"variational_config_{a.dataset}_{a.model}.json"
    around = {name: float(value) for name, value in (pair.split("=") for pair in a.around)}
    base = replace(VariationalConfig(), **around)
    rows_of: dict[VariationalConfig, list[dict[str, Any]]] = {}
    rows = []
    for setting in a.vary:
        for value in ALTERNATIVES[setting]:
            config = replace(base, **{setting: value})
            if config not in rows_of:
                rows_of[config] = [row(data, a.model, a.epochs, nu, seed, config) for nu in a.nu for seed in a.seeds]
            rows += [{"setting": setting, "value": str(value), **values} for values in rows_of[config]]
            print(setting, value, pd.DataFrame(rows_of[config]).mean(numeric_only=True).round(4).to_dict(), flush=True)
    table = pd.DataFrame(rows)
    means = summary(table, base)
    record = {
        "run": " ".join(["python benchmarks/variational_config.py", *without_folder(sys.argv[1:])]),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "around": asdict(base),
        **{name: getattr(a, name) for name in ("dataset", "subset", "model", "epochs", "nu", "seeds")},
        "summary": json.loads(means.round(5).to_json(orient="records")),
        "rows": json.loads(table.round(5).to_json(orient="records")),
    }
    write_record(output, record)
    print(means.to_string(index=False))


def summary(table: pd.DataFrame, base: VariationalConfig) -> pd.DataFrame:
    """One row a setting and value: means, and the objective's difference from the default, with its interval."""
    rows = []
    for setting, part in table.groupby("setting", sort=False):
        default = str(getattr(base, setting))
        of_default = part[part["value"] == default].set_index(["nu", "seed"])["objective"]
        for value, of_value in part.groupby("value", sort=False):
            more = (of_value.set_index(["nu", "seed"])["objective"] - of_default).dropna()
            mean, low, high = mean_interval(more) if len(more) > 1 else (more.mean(),) * 3
            rows.append(
                {
                    "setting": setting,
                    "value": value,
                    "default": value == default,
                    "networks": int(of_value["objective"].notna().sum()),
                    **of_value[["objective", "accuracy", "parameters", "macs"]].mean(),
                    "more": mean,
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
