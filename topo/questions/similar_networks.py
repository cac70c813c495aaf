"""Question 6: which sparse networks are similar?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import InputError
from ..plots.clustered_distances import clustered_distances
from ..plots.interval_dots import interval_dots
from ..plots.mds_map import mds_map
from ..results.evidence import Evidence
from ..results.labels import counted
from ..similarity.distance_tests import (
    GroupDistances,
    between_algorithms,
    embedded,
    nearest_share,
    seed_effect,
    within_algorithms,
)
from ..stats.significance import significant
from .answer import Answer
from .network_distances import NetworkDistances, network_distances
from .registry import QUESTIONS

__all__ = ["similar_networks"]

TITLE = "Similar networks"
QUESTION = "Which sparse networks of equal sparsity have similar topologies, and does the algorithm decide it?"
MOST_PANELS = 12
MOST_ON_MAP = 150
KINDS = {"masks": "topology distance of their masks (NNSTD)", "profiles": "distance of their profiles (no masks here)"}


@QUESTIONS.register("similar_networks", number=6)
def similar_networks(evidence: Evidence, *, seed: int = 0, permutations: int = 999) -> Answer:
    """Which sparse networks are similar, and does the algorithm decide it?

    Parameters
    ----------
    evidence
        Networks, with their masks where a study kept them.
    seed
        Seeds every random choice.
    permutations
        Permutations of the algorithms of a group among its networks in the test.

    Returns
    -------
    Answer
        With its reason where there is none.
    """
    if evidence.sparse.empty:
        return Answer.without(TITLE, QUESTION, "no sparse network has an accuracy.")
    try:
        distances = network_distances(evidence, seed=seed)
    except InputError as error:
        return Answer.without(TITLE, QUESTION, str(error))
    pairs = between_algorithms(distances.groups)
    tested = within_algorithms(distances.groups, permutations=permutations, seed=seed)
    family = evidence.sparse.drop_duplicates("pruner").set_index("pruner")["family"]
    families = _families(pairs, family)
    drawn = _groups_to_draw(distances.groups)
    positions = _positions(drawn, seed)
    matrix = _matrix(pairs)
    figures = {
        "similarity_map": mds_map(positions),
        "similarity_of_algorithms": clustered_distances(matrix, family.to_dict()),
    }
    if tested["ratio"].notna().any():
        figures["similarity_of_seeds"] = _draw_seeds(tested, pairs)
    return Answer(
        TITLE,
        QUESTION,
        _sentences(distances, pairs, tested, families),
        figures,
        {"algorithms": tested, "pairs": pairs, "families": families, "map": positions},
        caption=(
            "Map: one point is one network, near points are similar networks; lines join the networks (seeds) of one "
            "algorithm to their middle. Directions and the place of the origin mean nothing, and a stress above .2 "
            "says that two dimensions do not hold the distances. Matrix: mean distance over groups of equal dataset, "
            "model and sparsity, algorithms in the order of the tree (average linkage); the diagonal is among an "
            "algorithm's own seeds. Dots: the seeds of a distinct algorithm are closer to each other than to any "
            "other algorithm."
        ),
        method=_method(distances, permutations, len(drawn)),
        caveats=(
            *distances.notes,
            *_caveats(distances),
            "Only networks of equal dataset, model and sparsity are compared.",
            "On the map seeds lie apart too: what they share is left in it.",
        ),
    )


def _method(distances: NetworkDistances, permutations: int, drawn: int) -> str:
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
        "their initial weights and random draws. Test: algorithms permuted among the "
        f"networks of each seed, {permutations} times, one-sided; Benjamini-Hochberg over algorithms. Map: stress "
        f"majorisation from classical scaling, one group for each dataset and model at its middle sparsity, {drawn} in "
        "all."
    )


def _caveats(distances: NetworkDistances) -> tuple[str, ...]:
    if distances.source == "masks":
        return (
            "The matching of units is good, not proven best: distances are upper bounds.",
            "At high sparsity sets of connections are small and rarely overlap, so that distances are near 1; read "
            "them against chance.",
        )
    return (
        "Networks with equal profiles may have different connections; with masks the distance would tell.",
        "Layer densities of fixed-rate algorithms are equal by construction, which makes their networks similar.",
    )


def _families(pairs: pd.DataFrame, family: pd.Series) -> pd.DataFrame:
    """Mean distance between different algorithms, by their two families."""
    other = pairs[pairs["pruner"] < pairs["other"]]
    ends = np.sort(np.stack([other["pruner"].map(family), other["other"].map(family)]).astype(str), axis=0)
    other = other.assign(family=ends[0], other_family=ends[1])
    grouped = other.groupby(["family", "other_family"])
    return grouped.agg(
        distance=("distance", "mean"), low=("distance", "min"), high=("distance", "max"), pairs=("distance", "size")
    ).reset_index()


def _matrix(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.pivot_table("distance", "pruner", "other").rename_axis(index=None, columns=None)


def _groups_to_draw(groups: list[GroupDistances]) -> list[GroupDistances]:
    """For each dataset and model the group of the middle sparsity."""
    by_pair: dict[tuple[str, str], list[GroupDistances]] = {}
    for group in groups:
        by_pair.setdefault((group.dataset, group.model), []).append(group)
    middle = [sorted(of_pair, key=lambda g: g.sparsity)[len(of_pair) // 2] for of_pair in by_pair.values()]
    return middle[:MOST_PANELS]


def _positions(groups: list[GroupDistances], seed: int) -> pd.DataFrame:
    """Positions of the networks of every group on its map."""
    pieces = []
    for group in groups:
        keep = np.arange(len(group.networks))
        if len(keep) > MOST_ON_MAP:
            keep = np.sort(np.random.default_rng(seed).choice(keep, MOST_ON_MAP, replace=False))
        positions, stress = embedded(group.distances[np.ix_(keep, keep)])
        networks = group.networks.iloc[keep][["pruner", "family", "seed", "accuracy"]]
        pieces.append(networks.assign(**group.key, x=positions[:, 0], y=positions[:, 1], stress=stress))
    return pd.concat(pieces, ignore_index=True)


def _draw_seeds(tested: pd.DataFrame, pairs: pd.DataFrame):
    others = pairs[pairs["pruner"] != pairs["other"]]
    nearest = others.loc[others.groupby("pruner")["distance"].idxmin()].set_index("pruner")
    known = tested[(tested["pruner"] != "all") & tested["ratio"].notna()].sort_values("ratio")
    shown = {
        "own seeds": known.set_index("pruner")["within"],
        "nearest other algorithm": nearest["distance"],
        "all others": known.set_index("pruner")["between"],
    }
    rows = [(p, kind, values.get(p)) for kind, values in shown.items() for p in known["pruner"]]
    table = pd.DataFrame(rows, columns=["pruner", "kind", "distance"]).assign(panel="mean distance to")
    return interval_dots(
        table, row="pruner", value="distance", panel="panel", variant="kind", axis="distance", line=None
    )


def _sentences(
    distances: NetworkDistances, pairs: pd.DataFrame, tested: pd.DataFrame, families: pd.DataFrame
) -> tuple[str, str, str]:
    every = tested.iloc[0]
    share, chance = nearest_share(distances.groups)
    if np.isfinite(every["ratio"]):
        first = (
            f"By the {KINDS[distances.source]} networks of one algorithm lie {every['within']:.2f} apart and those of "
            f"different ones {every['between']:.2f} (permutation p {_p_value_text(every['p'])}); the nearest neighbour "
            f"is of the same algorithm for {share:.0%} of networks, {chance:.0%} by chance."
        )
    else:
        first = (
            f"By the {KINDS[distances.source]} networks of different algorithms lie "
            f"{pairs.loc[pairs['pruner'] != pairs['other'], 'distance'].mean():.2f} apart; no group holds two networks "
            "of one algorithm, so nothing says how far seeds of one lie apart."
        )
    other = pairs[pairs["pruner"] < pairs["other"]]
    near, far = other.loc[other["distance"].idxmin()], other.loc[other["distance"].idxmax()]
    if len(other) == 1:
        second = f"{near['pruner']} and {near['other']} lie {near['distance']:.2f} apart"
    elif near["distance"] == far["distance"]:
        second = f"All {len(other)} pairs of algorithms lie {near['distance']:.2f} apart"
    else:
        second = (
            f"Most similar are {near['pruner']} and {near['other']} ({near['distance']:.2f}), least {far['pruner']} "
            f"and {far['other']} ({far['distance']:.2f})"
        )
    known = tested.iloc[1:].dropna(subset=["ratio"])
    if len(known):
        clear = int(significant(known).sum())
        loose = known.loc[known["ratio"].idxmax()]
        second += (
            f"; {clear} of {counted(len(known), 'algorithm')} {'lies' if clear == 1 else 'lie'} clearly closer to the "
            "own networks than to the others' at a 5% false-discovery rate"
        )
        if len(known) > 1:
            second += f", {loose['pruner']} the least so ({loose['ratio']:.2f} of its distance to the others)"
    return first, second + ".", _third(distances, pairs, families)


def _third(distances: NetworkDistances, pairs: pd.DataFrame, families: pd.DataFrame) -> str:
    if distances.source == "masks":
        gap = (pairs["distance"] / pairs["chance"]).where(pairs["chance"] > 0)
        own, other = (gap[m].mean() for m in (pairs["pruner"] == pairs["other"], pairs["pruner"] != pairs["other"]))
        text = f"Networks with the same layer densities and shuffled connections lie {pairs['chance'].mean():.2f} apart"
        text += f": different algorithms come to {other:.0%} of that" if np.isfinite(other) else ""
        text += f", seeds of one to {own:.0%}" if np.isfinite(own) else ""
        equal, unequal = seed_effect(distances.groups)
        if np.isfinite(equal):
            text += (
                f"; networks of different algorithms but of one seed lie {equal:.2f} apart, of two seeds {unequal:.2f}"
            )
        return text + "."
    same = families[families["family"] == families["other_family"]]
    cross = families[families["family"] != families["other_family"]]
    if same.empty or cross.empty:
        return "All algorithms are of one family, or each of its own, so families cannot be compared."
    inner = np.average(same["distance"], weights=same["pairs"])
    outer = np.average(cross["distance"], weights=cross["pairs"])
    tight = same.loc[same["distance"].idxmin()]
    return (
        f"Different algorithms of one family lie {inner:.2f} apart and those of two families {outer:.2f}; closest "
        f"together are {tight['family']} ones ({tight['distance']:.2f})."
    )


def _p_value_text(p: float) -> str:
    if np.isnan(p):
        return "unknown"
    return f"{p:.3f}".lstrip("0") if p >= 0.0015 else "at most .001"
