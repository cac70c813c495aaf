"""Networks of an algorithm that draws its topology at random, each draw taken for an algorithm of its own."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pandas as pd

from ..errors import InputError

__all__ = ["draws_as_algorithms"]


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
    matches = names.map(lambda name: name != "dense" and fnmatchcase(name, pattern)).astype(bool)
    if not matches.any():
        there = ", ".join(sorted(set(names) - {"dense"}))
        raise InputError(f"no algorithm matches {pattern!r}; the table has {there}.")
    kept = table[matches | (names == "dense")]
    drawn = kept["pruner"].astype(str) + " draw " + kept["seed"].astype(str)
    return kept.assign(pruner=drawn.where(kept["pruner"] != "dense", "dense")).reset_index(drop=True)
