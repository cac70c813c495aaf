"""Results tables in which it is known what predicts the drop."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

PRUNERS = ("snip", "grasp", "synflow", "er", "erk", "uniform")


def grid(
    seed: int = 0,
    *,
    models: int = 4,
    datasets: int = 2,
    pruners: tuple[str, ...] = PRUNERS,
    seeds: int = 2,
    effect: float = 0.0,
    level: float = 0.0,
    noise: float = 1.0,
) -> pd.DataFrame:
    """`drop` = `effect` * signal + `level` * (the model's own level) + noise.

    signal varies inside every cell; named follows the model's level and nothing else; blank is nothing.
    """
    generator = np.random.default_rng(seed)
    names = ([f"d{i}" for i in range(datasets)], [f"m{i}" for i in range(models)], pruners, (0.8, 0.9), range(seeds))
    table = pd.DataFrame(list(product(*names)), columns=["dataset", "model", "pruner", "sparsity", "seed"])
    own = table["model"].map(dict(zip(names[1], generator.normal(size=models), strict=True))).to_numpy()
    n = len(table)
    table["family"] = np.where(table["pruner"].isin(("snip", "er", "erk")), "initial", "dynamic")
    table["signal"], table["blank"] = generator.normal(size=(2, n))
    table["named"] = own + 0.05 * generator.normal(size=n)
    table["drop"] = effect * table["signal"] + level * own + noise * generator.normal(size=n)
    return table
