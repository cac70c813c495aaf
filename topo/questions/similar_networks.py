"""Question 6: which sparse networks are similar?"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..errors import InputError, counted
from ..plots.clustered_distances import clustered_distances
from ..plots.interval_dots import interval_dots
from ..plots.mds_map import mds_map
from ..results.evidence import Evidence
from ..results.labels import p_value_text, percent
from ..results.schema import GROUPS
from ..similarity.distance_tests import (
    GroupDistances,
    between_algorithms,
    embedded,
    within_algorithms,
)
from .answer import Answer
from .network_distances import NetworkDistances, network_distances
from .registry import QUESTIONS
from .similarity_texts import (
    clearly_similar,
    first_sentence,
    most_and_least_similar,
    second_sentence,
    similarity_caveats,
    similarity_method,
    similarity_verdict,
    third_sentence,
)

__all__ = ["similar_networks"]

TITLE = "Similar networks"
QUESTION = "Which sparse networks of equal sparsity have similar topologies, and does the algorithm decide it?"
MOST_PANELS = 12
MOST_ON_MAP = 150
# A map of fewer networks, or of more stress, holds nothing.
FEWEST_ON_MAP = 6
MOST_STRESS = 0.2
MOST_ROWS = 15
COLUMNS = {
    "algorithm": "whose networks are compared with others of the same dataset, model and sparsity",
    "family": "of the algorithm",
    "own seeds": "mean distance between two networks of the algorithm",
    "nearest other": "the algorithm whose networks lie nearest on average",
    "nearest other's distance": "mean distance between a network of the algorithm and one of the nearest other",
    "all others": "mean distance between a network of the algorithm and one of any other",
    "shuffled": "mean distance to others of networks with the same connections a layer at random places",
    "q": "false-discovery rate of own seeds being nearer than all others, names of algorithms permuted",
}


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
        Permutations of the names of the algorithms in the tests.

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
    tested, nearest = within_algorithms(distances.groups, permutations=permutations, seed=seed)
    control = _control(distances, permutations, seed)
    family = evidence.sparse.drop_duplicates("pruner").set_index("pruner")["family"]
    figures: dict[str, Figure] = {}
    titles: dict[str, str] = {}
    caveats: list[str] = []
    if pairs["pruner"].nunique() > 2:
        figures["similarity_of_algorithms"] = clustered_distances(_matrix(pairs), family.to_dict())
        titles["similarity_of_algorithms"] = f"{most_and_least_similar(pairs)}."
    else:
        caveats.append("Two algorithms have one distance, which needs no matrix.")
    known = tested.iloc[1:].dropna(subset=["ratio"])
    if len(known):
        figures["similarity_of_seeds"] = _draw_seeds(tested, pairs)
        titles["similarity_of_seeds"] = f"{clearly_similar(known)}."
    positions = _positions(_groups_to_draw(distances.groups), seed)
    shown, why = _fit_to_draw(positions)
    if why:
        caveats.append(why)
    if len(shown):
        figures["similarity_map"] = mds_map(shown)
        titles["similarity_map"] = _map_title(shown)
    return Answer(
        TITLE,
        QUESTION,
        (
            first_sentence(distances, pairs, tested, nearest),
            second_sentence(pairs, known),
            third_sentence(distances, pairs, control, family),
        ),
        figures,
        {
            "algorithms": tested,
            "pairs": pairs,
            "families": _families(pairs, family),
            "control": control,
            "map": positions,
        },
        caption=(
            "Matrix: mean distance over groups of equal dataset, model and sparsity, algorithms in the order of the "
            "tree (average linkage); the diagonal is among an algorithm's own seeds. Dots: the seeds of a distinct "
            "algorithm are closer to each other than to any other algorithm. Map: one point is one network, near "
            "points are similar networks; lines join the networks (seeds) of one algorithm to their middle, directions "
            "and the place of the origin mean nothing."
        ),
        method=similarity_method(distances, permutations),
        caveats=(
            *distances.notes,
            *caveats,
            *similarity_caveats(distances),
            "Only networks of equal dataset, model and sparsity are compared.",
        ),
        verdict=similarity_verdict(distances, pairs, tested, nearest, control),
        titles=titles,
        summary=_summary(tested, pairs, family),
        columns=COLUMNS,
    )


def _control(distances: NetworkDistances, permutations: int, seed: int) -> pd.DataFrame:
    """The test of all algorithms together for what is not their wiring, or for what is left without it.

    With masks: how far networks lie apart beyond the same layer densities with shuffled connections. With profiles:
    the densities of the layers alone.
    """
    if distances.source == "masks":
        groups = [replace(g, distances=g.distances - g.chance) for g in distances.groups if g.chance is not None]
        what = "beyond shuffled connections"
    else:
        groups, what = distances.of_densities, "layer densities alone"
    table = pd.DataFrame({"distance": ["all"]}).iloc[:0]
    if groups:
        table = within_algorithms(groups, permutations=permutations, seed=seed)[0].iloc[:1]
        table = table.drop(columns=["pruner", "q", "ratio"])
        table.insert(0, "distance", what)
    return table


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


def _fit_to_draw(positions: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The maps that hold something, and one line on those that do not."""
    size = positions.groupby(list(GROUPS))["x"].transform("size")
    flat = positions.groupby(list(GROUPS))["x"].transform("nunique") < 2
    bad = (positions["stress"] > MOST_STRESS) | flat | (size < FEWEST_ON_MAP)
    lost = positions[bad].drop_duplicates(list(GROUPS))
    if lost.empty:
        return positions, ""
    which = "No map is" if bad.all() else f"{counted(len(lost), 'map')} {'is' if len(lost) == 1 else 'are'} not"
    highest = lost["stress"].max()
    reason = (
        f"two dimensions do not hold the distances (stress up to {highest:.2f}, above {MOST_STRESS})"
        if highest > MOST_STRESS
        else f"a map takes {FEWEST_ON_MAP} networks that differ"
    )
    return positions[~bad].reset_index(drop=True), f"{which} drawn: {reason}."


def _map_title(shown: pd.DataFrame) -> str:
    maps = shown.drop_duplicates(list(GROUPS))
    closest = "" if len(maps) > 1 else f" of {maps['dataset'].iloc[0]}, {maps['model'].iloc[0]}"
    return f"Networks{closest} at {_sparsities(maps)} sparsity, similar ones near each other (stress up to " + (
        f"{maps['stress'].max():.2f})."
    )


def _sparsities(maps: pd.DataFrame) -> str:
    ends = percent(maps["sparsity"].min()), percent(maps["sparsity"].max())
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _nearest_others(pairs: pd.DataFrame) -> pd.DataFrame:
    others = pairs[pairs["pruner"] != pairs["other"]]
    return others.loc[others.groupby("pruner")["distance"].idxmin()].set_index("pruner")


def _draw_seeds(tested: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    known = tested[(tested["pruner"] != "all") & tested["ratio"].notna()].sort_values("ratio")
    shown = {
        "own seeds": known.set_index("pruner")["within"],
        "nearest other algorithm": _nearest_others(pairs)["distance"],
        "all others": known.set_index("pruner")["between"],
    }
    rows = [(p, kind, values.get(p)) for kind, values in shown.items() for p in known["pruner"]]
    table = pd.DataFrame(rows, columns=["pruner", "kind", "distance"]).assign(panel="mean distance to")
    return interval_dots(
        table, row="pruner", value="distance", panel="panel", variant="kind", axis="distance", line=None
    )


def _summary(tested: pd.DataFrame, pairs: pd.DataFrame, family: pd.Series) -> pd.DataFrame:
    """One row an algorithm, those first whose own networks are nearest."""
    near = _nearest_others(pairs)
    others = pairs[pairs["pruner"] != pairs["other"]].groupby("pruner")
    rows = tested.iloc[1:].set_index("pruner")
    rows["between"] = rows["between"].fillna(others["distance"].mean())
    rows = rows.sort_values(["ratio", "between"]).head(MOST_ROWS)
    table = pd.DataFrame(
        {
            "algorithm": rows.index,
            "family": family.reindex(rows.index).to_numpy(),
            "own seeds": rows["within"].to_numpy(),
            "nearest other": near["other"].reindex(rows.index).to_numpy(),
            "nearest other's distance": near["distance"].reindex(rows.index).to_numpy(),
            "all others": rows["between"].to_numpy(),
            "shuffled": others["chance"].mean().reindex(rows.index).to_numpy(),
            "q": [p_value_text(q) if isfinite(q) else "" for q in rows["q"]],
        }
    ).round(2)
    return table.loc[:, table.replace("", np.nan).notna().any().to_numpy()]
