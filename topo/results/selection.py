"""Parts of a results table: some algorithms only, their draws as algorithms of their own, what did not collapse."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pandas as pd

from ..errors import InputError
from .collapsed import collapsed_networks
from .schema import NETWORK

__all__ = ["draws_as_algorithms", "selected"]


def draws_as_algorithms(table: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """The networks of some algorithms only, every seed of each as an algorithm of its own, and the dense ones.

    Where an algorithm draws what it is studied for, such as the layer densities of ``random-allocation``, its seeds are
    no repetitions: each draw is evidence of its own. Questions that take algorithms as their evidence then take draws.

    Parameters
    ----------
    table
        A results table, one row a network.
    pattern
        Of names of algorithms, such as ``"random-*"``.

    Returns
    -------
    DataFrame
        Rows of `table`, those of algorithms that match under the name ``"<pruner> draw <seed>"``.

    Raises
    ------
    InputError
        A column is missing, or no algorithm matches.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results(seeds=2)
    >>> sorted(draws_as_algorithms(table, "er*")["pruner"].unique())
    ['dense', 'er draw 0', 'er draw 1', 'erk draw 0', 'erk draw 1']
    """
    if missing := {"pruner", "seed"} - set(table.columns):
        raise InputError(f"the table has no column {min(missing)!r}, which tells draws apart.")
    names = table["pruner"].astype(str)
    kept = table[names.isin([*_matching(names, pattern), "dense"])]
    drawn = kept["pruner"].astype(str) + " draw " + kept["seed"].astype(str)
    return kept.assign(pruner=drawn.where(kept["pruner"] != "dense", "dense")).reset_index(drop=True)


def selected(
    networks: pd.DataFrame,
    layers: pd.DataFrame | None,
    *,
    draws: str | None = None,
    without: str | None = None,
    collapsed: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Some of the networks of two tables, one row a network and one row a layer.

    Parameters
    ----------
    networks, layers
        The tables; there may be none of layers.
    draws, without, collapsed
        As for `Evidence.select`.

    Returns
    -------
    tuple
        The two tables.

    Raises
    ------
    InputError
        No algorithm matches.
    """
    if not collapsed:
        networks = networks.reset_index(drop=True)
        networks = networks.drop(index=collapsed_networks(networks).index)
    if without is not None:
        networks = networks[~networks["pruner"].isin(_matching(networks["pruner"], without))]
    networks = networks.reset_index(drop=True)
    if layers is not None:
        keys = [name for name in NETWORK if name in layers and name in networks]
        layers = layers.merge(networks[keys].drop_duplicates(), on=keys)
    if draws is not None:
        networks = draws_as_algorithms(networks, draws)
        layers = None if layers is None else draws_as_algorithms(layers, draws)
    return networks, layers


def _matching(pruners: pd.Series, pattern: str) -> list[str]:
    """Names of algorithms, but for ``"dense"``, that a pattern matches."""
    there = sorted(set(pruners.astype(str)) - {"dense"})
    found = [name for name in there if fnmatchcase(name, pattern)]
    if not found:
        raise InputError(f"no algorithm matches {pattern!r}; the table has {', '.join(there)}.")
    return found
