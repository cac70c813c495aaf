"""Networks that are the same under several names: two algorithms that made one mask."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .schema import GROUPS, NETWORK, PAIR, metric_columns, reads_weights

__all__ = ["copies_of", "copies_sentence"]

# Two networks may agree in fewer metrics of their masks and still differ, and in metrics that hardly vary anyway.
FEWEST_METRICS = 5
FEWEST_VALUES = 3


def copies_of(networks: pd.DataFrame) -> pd.Series:
    """For every network the algorithm that made the same one, where another row of its group stands for both.

    Two networks of one dataset, model, sparsity and seed are the same when all metrics of the mask agree, among them
    at least five that have three values or more in the group. The first by name stands for all.

    Parameters
    ----------
    networks
        One row a network, as `topo.results.tidy_results` returns it.

    Returns
    -------
    Series of str, on the index of `networks`
        Name of the algorithm of the row that is kept; empty for rows that are no copies.

    Examples
    --------
    >>> metrics = ("edges", "nodes", "k_core", "sink_nodes", "source_nodes")
    >>> values = {"erk": 1.0, "er": 1.0, "snip": 2.0, "grasp": 3.0}
    >>> group = {"dataset": "d", "model": "mlp", "sparsity": 0.9, "seed": 0}
    >>> rows = [group | {"pruner": name} | dict.fromkeys(metrics, value) for name, value in values.items()]
    >>> copies_of(pd.DataFrame(rows)).tolist()
    ['er', '', '', '']
    """
    names = pd.Series("", networks.index, dtype=object)
    columns = [c for c in metric_columns(networks) if not reads_weights(c)]
    sparse = networks[networks["pruner"] != "dense"]
    values = sparse[columns].to_numpy(float) + 0.0
    varied = sparse.groupby(list(GROUPS), dropna=False)[columns].transform("nunique") >= FEWEST_VALUES
    enough = (np.isfinite(values) & varied.to_numpy(bool)).sum(axis=1) >= FEWEST_METRICS
    if not enough.any():
        return names
    identity = [c for c in networks.columns if c in NETWORK and c != "pruner"]
    identity += [c for c in networks.columns if c.startswith(("setting_", "settings_")) or c == "study"]
    described = sparse.loc[enough, [*identity, "pruner"]].assign(
        mask=pd.util.hash_pandas_object(pd.DataFrame(values[enough]), index=False).to_numpy()
    )
    described = described.sort_values("pruner", kind="stable")
    first = described.groupby([*identity, "mask"], dropna=False)["pruner"].transform("first")
    again = first != described["pruner"]
    names.loc[again.index[again]] = first[again]
    return names


def copies_sentence(networks: pd.DataFrame, copies: pd.Series) -> str:
    """Which algorithms made the same networks; empty where none did.

    Parameters
    ----------
    networks
        One row a network.
    copies
        What `copies_of` returned.
    """
    same = networks.assign(kept=copies)[copies != ""]
    if same.empty:
        return ""
    parts = []
    for (dataset, model), part in same.groupby(list(PAIR), sort=True):
        pairs = part.groupby(["kept", "pruner"], sort=True).size()
        named = ", ".join(f"{other} = {kept} ({count})" for (kept, other), count in pairs.items())
        parts.append(f"{named} on {dataset}, {model}")
    several = len(same) > 1
    return (
        f"{len(same)} network{'s are' if several else ' is'} the same as another of the same group under another name "
        f"and count{'' if several else 's'} once in every question: {'; '.join(parts)}."
    )
