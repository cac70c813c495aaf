"""Tables of networks in which it is known what moves with accuracy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

INITIAL = ("snip", "grasp", "synflow", "er", "erk", "uniform", "prospr", "phew")
DYNAMIC = ("set", "rigl", "itop", "snfs", "dsr")


def planted(
    seed: int = 0,
    *,
    effect: float = 0.0,
    size: float = 0.0,
    recipe: float = 0.0,
    flip: bool = False,
    families: tuple[tuple[str, ...], ...] = (INITIAL, DYNAMIC),
    models: tuple[str, ...] = ("conv6", "resnet20"),
) -> pd.DataFrame:
    """Networks whose accuracy has `effect` from sink nodes, `size` from edges, `recipe` from being dynamic.

    motifs follow the edges, strength follows the recipe, and neither does anything; with `flip` the effect of sink
    nodes has the other sign in the last model.
    """
    generator = np.random.default_rng(seed)
    pruners = [pruner for family in families for pruner in family]
    rows = list(product(models, pruners, (0.8, 0.9, 0.95), range(3)))
    table = pd.DataFrame(rows, columns=["model", "pruner", "sparsity", "seed"]).assign(dataset="digits")
    n = len(table)
    dynamic = table["pruner"].isin(DYNAMIC).to_numpy(float)
    log_edges, sink = generator.normal(size=(2, n))
    sign = np.where(flip & (table["model"] == models[-1]), -1, 1)
    table["nodes"] = 1000
    table["edges"] = np.round(50000 * np.exp(0.4 * log_edges))
    table["sink_nodes_norm"] = 0.1 * np.exp(0.3 * sink)
    table["motifs_norm"] = np.exp(log_edges + 0.3 * generator.normal(size=n))
    table["strength_norm"] = 0.001 * np.exp(-1.5 * dynamic + 0.2 * generator.normal(size=n))
    table["k_core_norm"] = generator.uniform(size=n)
    moved = effect * sign * sink + size * log_edges + recipe * dynamic + generator.normal(size=n)
    table["accuracy"] = 0.8 + 0.02 * moved
    return table
