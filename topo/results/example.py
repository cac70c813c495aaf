"""Results tables to try things on: that of a finished study, and a made-up one."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import pandas as pd

__all__ = ["digits_study", "example_results"]

PRUNERS = ("uniform", "er", "erk", "snip", "grasp", "synflow", "magnitude", "magnitude-layerwise")


def digits_study() -> pd.DataFrame:
    """The table of a finished study: two small networks on digits and on drawn shapes, pruned, trained and measured.

    Twelve pruners, three sparsities, three seeds and the dense networks; the study file is ``examples/digits.yaml``.

    Returns
    -------
    DataFrame
        One row a network, as `topo.Study.results` gives it.

    Examples
    --------
    >>> digits_study()["pruner"].nunique()
    13
    """
    with as_file(files(__package__) / "digits_study.parquet") as file:
        return pd.read_parquet(file)


def example_results(
    *,
    datasets: tuple[str, ...] = ("digits",),
    models: tuple[str, ...] = ("small-cnn",),
    pruners: tuple[str, ...] = PRUNERS,
    sparsities: tuple[float, ...] = (0.8, 0.9, 0.95),
    seeds: int = 2,
    seed: int = 0,
) -> pd.DataFrame:
    """A synthetic results table with the columns of a study; its numbers mean nothing.

    Parameters
    ----------
    datasets
        Names of datasets.
    models
        Names of models.
    pruners
        Names of pruners; a dense network is added to each seed.
    sparsities
        Sparsities of each pruner.
    seeds
        Number of seeds, from 0 on.
    seed
        Seeds the numbers that are drawn.

    Returns
    -------
    DataFrame
        One row a network.

    Examples
    --------
    >>> example_results().shape[0]
    50
    """
    generator = np.random.default_rng(seed)
    rows = []
    for d, dataset in enumerate(datasets):
        for m, model in enumerate(models):
            dense = 0.97 - 0.12 * d - 0.03 * m
            for s in range(seeds):
                accuracy = dense + generator.normal(0, 0.003)
                rows.append(_row(dataset, model, "dense", "dense", 0.0, s, accuracy, dense, 1.0, generator))
                for p, pruner in enumerate(pruners):
                    for sparsity in sparsities:
                        density = 1 - sparsity
                        drop = (0.02 + 0.012 * ((p * 5) % 8)) * np.log10(1 / density) ** 1.6
                        accuracy = max(0.1, dense - drop + generator.normal(0, 0.008))
                        family = "trained" if pruner.startswith("magnitude") else "initial"
                        rows.append(_row(dataset, model, pruner, family, sparsity, s, accuracy, dense, drop, generator))
    return pd.DataFrame(rows)


def _row(dataset, model, pruner, family, sparsity, seed, accuracy, dense, drop, generator) -> dict:
    nodes, density = 3000, 1 - sparsity
    edges = int(60000 * density * (1 + 2 * drop))
    noise = generator.normal(1, 0.05, size=12)
    return {
        "dataset": dataset,
        "model": model,
        "pruner": pruner,
        "family": family,
        "sparsity": sparsity,
        "seed": seed,
        "status": "finished",
        "reason": "",
        "accuracy": accuracy,
        "loss": -np.log(accuracy),
        "dense_accuracy": dense,
        "accuracy_drop": dense - accuracy,
        "classes": 10,
        "test_samples": 1000,
        "reached_sparsity": sparsity,
        "seconds_train": 1.0,
        "nodes": nodes,
        "edges": edges,
        "sink_nodes": int(40 * drop * noise[0] * nodes / 100),
        "sink_nodes_norm": 0.4 * drop * noise[0],
        "removable_in_norm": 0.2 * drop * noise[1],
        "one_hop_norm": (1 + edges / nodes) / edges,
        "motifs_norm": 900 * density * noise[2],
        "strength_norm": 1e-6 * noise[3],
        "k_core_norm": 1e-6 * accuracy * noise[4],
        "cut_edges_norm": 0.05 * drop * noise[5],
        "connected_components": 1 + int(200 * drop * noise[6]),
        "spectral_gap": 5 * accuracy * noise[7],
        "spectral_radius": 80 * noise[8],
        "rolled__density_mean": density * noise[9],
        "rolled__k_core_mean": 3 * accuracy * noise[10],
    }
