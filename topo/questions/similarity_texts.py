"""What question 6 says: its verdict, its sentences, how distances were obtained and what they do not say."""

from __future__ import annotations

from math import isfinite

import pandas as pd

from ..errors import counted
from ..results.labels import p_value_text
from ..similarity.distance_tests import family_gap, seed_effect
from ..stats.significance import FALSE_DISCOVERY_RATE, significant
from .answer import Said, Verdict
from .network_distances import NetworkDistances

__all__ = [
    "clearly_similar",
    "first_sentence",
    "most_and_least_similar",
    "second_sentence",
    "similarity_caveats",
    "similarity_method",
    "similarity_verdict",
    "third_sentence",
]

# A share of the distance between algorithms below which a difference is as good as none.
AS_GOOD_AS_NONE = 0.1
KINDS = {"masks": "topology distance of their masks (NNSTD)", "profiles": "distance of their profiles (no masks here)"}


def similarity_method(distances: NetworkDistances, permutations: int) -> str:
    """How distances were obtained and tested.

    Parameters
    ----------
    distances
        What was compared.
    permutations
        Random permutations of a test.

    Returns
    -------
    str
        A few sentences.
    """
    if distances.source == "masks":
        text = (
            "Neural-network sparse topology distance (Liu et al. 2020): units of a layer are matched by the Hungarian "
            "algorithm on the normalised edit distance of their incoming connections, and the permutation is carried "
            "on to the next layer; layers that write one residual stream share it. Every group of units is then "
            "matched again on all it reads and is read by, and the matching kept where the distance falls. Chance: the "
            "same of networks whose connections were shuffled inside every layer. "
        )
    else:
        text = (
            "No masks are known, so the distance is between profiles: density of every layer, mask-only metrics of "
            "every layer and of the whole network, each as its rank among the networks of equal dataset, model and "
            "sparsity; the mean absolute difference over columns, each kind of profile weighing the same. "
        )
    return text + (
        f"{counted(len(distances.groups), 'group')} of equal dataset, model and sparsity; distances within and between "
        "algorithms are of networks of different seeds (of all where there is one seed), since those of one seed share "
        "their initial weights and random draws. Tests: names of algorithms permuted among the networks of each model "
        f"and seed, alike for its datasets and sparsities ({permutations:,} times, or all ways where they are few), "
        "one-sided; Benjamini-Hochberg over algorithms; families permuted among algorithms. Map: stress majorisation "
        "from classical scaling, one group for each dataset and model at its middle sparsity."
    )


def similarity_caveats(distances: NetworkDistances) -> tuple[str, ...]:
    """What the distances do not say.

    Parameters
    ----------
    distances
        What was compared.

    Returns
    -------
    tuple of str
        Sentences.
    """
    if distances.source == "masks":
        return (
            "The matching of units is good, not proven best: distances are upper bounds.",
            "At high sparsity sets of connections are small and rarely overlap, so that distances are near 1; read "
            "them against chance.",
        )
    return (
        "Networks with equal profiles may have different connections; with masks the distance would tell.",
        "Layer densities of fixed-rate algorithms are equal by construction, and most metrics of a layer follow its "
        "density: that networks of one algorithm are similar says little of their wiring.",
    )


def similarity_verdict(
    distances: NetworkDistances, pairs: pd.DataFrame, tested: pd.DataFrame, nearest: dict, control: pd.DataFrame
) -> Verdict:
    """Whether networks of one algorithm are closer than those of different ones, and whether densities do it.

    Parameters
    ----------
    distances
        What was compared.
    pairs
        Distances between algorithms.
    tested, nearest
        What `topo.similarity.distance_tests.within_algorithms` returned.
    control
        The test of what is not wiring, or of what is left without it; one row or none.

    Returns
    -------
    Verdict
        Yes, no or open.
    """
    every = tested.iloc[0]
    if not isfinite(every["p"]):
        far = pairs.loc[pairs["pruner"] != pairs["other"], "distance"].mean()
        return Verdict(
            "open",
            f"Can not tell: no group holds two networks of one algorithm to say how far these lie apart; those "
            f"of different ones lie {far:.2f} apart.",
        )
    said: Said = "yes" if every["p"] < FALSE_DISCOVERY_RATE else "open"
    if said == "open" and every["found"] < AS_GOOD_AS_NONE * every["between"]:
        said = "no"
    means = f"networks of one algorithm lie {every['within']:.2f} apart, those of different ones {every['between']:.2f}"
    if said == "yes":
        how = "" if distances.source == "masks" else ", by their metrics"
        text = f"Yes{how}: {means}; the nearest is of the same algorithm for {nearest['share']:.0%} "
        text += f"({nearest['chance']:.0%} by chance){_verdict_on_control(distances, control)}."
    elif said == "no":
        text = f"No: {means}, and a difference of {every['found']:.2f} would have been found four times in five."
    else:
        text = f"Can not tell: {means} (p {p_value_text(every['p'])}); "
        if isfinite(every["found"]):
            text += f"only a difference of {every['found']:.2f} or more would have been found four times in five."
        else:
            text += "so few algorithms and seeds show nothing, however far they lie apart."
    return Verdict(said, text)


def _verdict_on_control(distances: NetworkDistances, control: pd.DataFrame) -> str:
    if control.empty or not isfinite(control["p"].iloc[0]):
        return "" if distances.source == "masks" else "; these are metrics, and masks would tell of wiring"
    one = control.iloc[0]
    clear = one["p"] < FALSE_DISCOVERY_RATE
    if distances.source == "masks":
        return "; this goes beyond layer densities" if clear else "; whether layer densities alone do this is open"
    if not clear:
        return "; by layer densities alone they are not clearly apart"
    return (
        f". But layer densities alone, which many algorithms fix, already give {one['within']:.2f} and "
        f"{one['between']:.2f}: only masks would tell of wiring"
    )


def first_sentence(distances: NetworkDistances, pairs: pd.DataFrame, tested: pd.DataFrame, nearest: dict) -> str:
    """How far networks of one and of different algorithms lie apart, and whose nearest neighbours are.

    Parameters
    ----------
    distances, pairs, tested, nearest
        As for `similarity_verdict`.

    Returns
    -------
    str
        A sentence.
    """
    every = tested.iloc[0]
    if not isfinite(every["ratio"]):
        return (
            f"By the {KINDS[distances.source]} networks of different algorithms lie "
            f"{pairs.loc[pairs['pruner'] != pairs['other'], 'distance'].mean():.2f} apart; no group holds two networks "
            "of one algorithm, so nothing says how far seeds of one lie apart."
        )
    return (
        f"By the {KINDS[distances.source]} networks of one algorithm lie {every['within']:.2f} apart and those of "
        f"different ones {every['between']:.2f} (permutation p {p_value_text(every['p'])}); the nearest neighbour "
        f"is of the same algorithm for {nearest['share']:.0%} of networks, {nearest['chance']:.0%} by chance (p "
        f"{p_value_text(nearest['p'])})."
    )


def most_and_least_similar(pairs: pd.DataFrame) -> str:
    """Which two algorithms are most similar, and which two least.

    Parameters
    ----------
    pairs
        Distances between algorithms.

    Returns
    -------
    str
        A sentence without its full stop.
    """
    other = pairs[pairs["pruner"] < pairs["other"]]
    near, far = other.loc[other["distance"].idxmin()], other.loc[other["distance"].idxmax()]
    if len(other) == 1:
        return f"{near['pruner']} and {near['other']} lie {near['distance']:.2f} apart"
    if near["distance"] == far["distance"]:
        return f"All {counted(len(other), 'pair')} of algorithms lie {near['distance']:.2f} apart"
    return (
        f"Most similar are {near['pruner']} and {near['other']} ({near['distance']:.2f}), least {far['pruner']} "
        f"and {far['other']} ({far['distance']:.2f})"
    )


def clearly_similar(known: pd.DataFrame) -> str:
    """How many algorithms lie clearly closer to their own networks.

    Parameters
    ----------
    known
        Rows of single algorithms that have a test.

    Returns
    -------
    str
        A sentence without its full stop.
    """
    clear = int(significant(known).sum())
    return (
        f"{clear} of {counted(len(known), 'algorithm')} {'lies' if clear == 1 else 'lie'} clearly closer to the own "
        "networks than to the others'"
    )


def second_sentence(pairs: pd.DataFrame, known: pd.DataFrame) -> str:
    """Which algorithms are similar, and how many are distinct.

    Parameters
    ----------
    pairs, known
        As for `most_and_least_similar` and `clearly_similar`.

    Returns
    -------
    str
        A sentence.
    """
    text = most_and_least_similar(pairs)
    if len(known):
        loose = known.loc[known["ratio"].idxmax()]
        text += f"; {clearly_similar(known)} at a 5% false-discovery rate"
        if len(known) > 1:
            text += f", {loose['pruner']} the least so ({loose['ratio']:.2f} of its distance to the others)"
    return text + "."


def third_sentence(distances: NetworkDistances, pairs: pd.DataFrame, control: pd.DataFrame, family: pd.Series) -> str:
    """What chance or layer densities give, and how far families lie apart.

    Parameters
    ----------
    distances, pairs, control
        As for `similarity_verdict`.
    family
        Family by algorithm.

    Returns
    -------
    str
        A sentence.
    """
    if distances.source == "masks":
        gap = (pairs["distance"] / pairs["chance"]).where(pairs["chance"] > 0)
        own, other = (gap[m].mean() for m in (pairs["pruner"] == pairs["other"], pairs["pruner"] != pairs["other"]))
        text = f"Networks with the same layer densities and shuffled connections lie {pairs['chance'].mean():.2f} apart"
        text += f": different algorithms come to {other:.0%} of that" if isfinite(other) else ""
        text += f", seeds of one to {own:.0%}" if isfinite(own) else ""
        if len(control) and isfinite(control["p"].iloc[0]):
            text += f" (p {p_value_text(control['p'].iloc[0])} of the two being the same)"
        equal, unequal = seed_effect(distances.groups)
        if isfinite(equal):
            text += (
                f"; networks of different algorithms but of one seed lie {equal:.2f} apart, of two seeds {unequal:.2f}"
            )
        return text + "."
    families = family_gap(pairs, family.to_dict())
    if not isfinite(families["p"]):
        text = "All algorithms are of one family, or each of its own, so families cannot be compared"
    else:
        clear = families["p"] < FALSE_DISCOVERY_RATE
        text = (
            f"Different algorithms of one family lie {families['same']:.2f} apart and those of two families "
            f"{families['different']:.2f}{'' if clear else ', no clear difference'} (p {p_value_text(families['p'])})"
        )
    if len(control) and isfinite(control["within"].iloc[0]):
        one = control.iloc[0]
        text += (
            f"; by layer densities alone networks of one algorithm lie {one['within']:.2f} and those of different ones "
            f"{one['between']:.2f} apart"
        )
    return text + "."
