"""Question 6 computed anew: distances of profiles within and between algorithms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from topo.questions.answer import Answer
from topo.results.evidence import Evidence
from topo.results.feature_sets import encodings_of, feature_sets, mask_only_set

from .claims import Claim, Range, p_range
from .correlating import GROUP, adjusted

NETWORK = ["dataset", "model", "pruner", "sparsity", "seed"]
DRAWS = 300


@dataclass
class Group:
    """The networks of one dataset, model and sparsity, and the distances between them."""

    networks: pd.DataFrame
    distances: np.ndarray
    of_densities: np.ndarray | None

    @property
    def compared(self) -> np.ndarray:
        """Which pairs are of different seeds; all where there is one seed."""
        seeds = self.networks["seed"].to_numpy()
        different = seeds[:, None] != seeds
        return different if different.any() else ~np.eye(len(seeds), dtype=bool)

    @property
    def names(self) -> np.ndarray:
        """The algorithm of every network."""
        return self.networks["pruner"].to_numpy(str)


def distance(blocks: list[pd.DataFrame]) -> np.ndarray | None:
    """Mean over blocks of the mean absolute difference of ranks from 0 to 1; None where nothing varies."""
    total, weight = 0.0, 0.0
    for block in blocks:
        columns = []
        for name in block:
            values = block[name].to_numpy(float)
            known = np.isfinite(values)
            if known.any() and np.ptp(values[known]) > 0:
                ranks = np.full(len(values), 0.5)
                ranks[known] = (rankdata(values[known]) - 1) / (known.sum() - 1)
                columns.append(ranks)
        if not columns:
            continue
        there = block.notna().any(axis=1).to_numpy()
        both = np.outer(there, there)
        mean = np.mean([np.abs(c[:, None] - c) for c in columns], axis=0)
        total, weight = total + np.where(both, mean, 0), weight + both
    return None if np.isscalar(total) else total / weight


def groups_of(evidence: Evidence) -> list[Group]:
    """Distances by profiles: layer densities, metrics of the layers' masks, metrics of the network's mask."""
    networks, layers = evidence.sparse, evidence.layers
    sets = feature_sets(networks)

    def mask_only(encoding: str) -> list[str]:
        name = mask_only_set(sets, encoding, normalised=False)
        return list(sets[name]) if name else []

    found = []
    for _, part in networks.groupby(GROUP):
        part = part.reset_index(drop=True)
        if len(part) < 3 or part["pruner"].nunique() < 2:
            continue
        densities, metrics = [], []
        if layers is None:
            densities.append(part[list(sets.get("density", []))])
            metrics += [part[mask_only(encoding)] for encoding in encodings_of(sets)]
        else:
            of_model = layers[(layers["dataset"] == part["dataset"][0]) & (layers["model"] == part["model"][0])]
            of_model = of_model[of_model["sparsity"] == part["sparsity"][0]]
            index = pd.MultiIndex.from_frame(part[NETWORK])
            once = of_model.drop_duplicates([*NETWORK, "layer"])
            densities.append(once.pivot_table("layer_density", NETWORK, "layer").reindex(index))
            for encoding in of_model["encoding"].unique():
                names = [c.removeprefix(f"{encoding}__").removesuffix("_mean") for c in mask_only(encoding)]
                rows = of_model[of_model["encoding"] == encoding]
                names = [n for n in names if n in rows and rows[n].notna().any()]
                if names:
                    metrics.append(rows.pivot_table(names, NETWORK, "layer").reindex(index))
        metrics.append(part[mask_only("multipartite")])
        blocks = [b.reset_index(drop=True) for b in (*densities, *metrics) if b.shape[1]]
        whole = distance(blocks)
        if whole is not None:
            found.append(Group(part, whole, distance([b.reset_index(drop=True) for b in densities if b.shape[1]])))
    return found


def means(group: Group, distances: np.ndarray, names: np.ndarray) -> dict[str, tuple[float, float]]:
    """By algorithm the mean distance among its own networks and to the others."""
    found = {}
    same = names[:, None] == names
    for name in np.unique(names):
        own, other = (group.compared & m & (names == name)[:, None] for m in (same, ~same))
        if own.any() and other.any():
            found[name] = (distances[own].mean(), distances[other].mean())
    return found


def over_groups(each: list[dict[str, tuple[float, float]]], names: list[str]) -> tuple[float, float]:
    """Mean over groups and algorithms."""
    pairs = [one[n] for one in each for n in names if n in one]
    return tuple(np.mean(pairs, axis=0)) if pairs else (np.nan, np.nan)


def shuffled(groups: list[Group], generator: np.random.Generator) -> list[np.ndarray]:
    """Names of algorithms permuted among the networks of each model and seed, alike for datasets and sparsities."""
    every = sorted({name for group in groups for name in group.names})
    orders: dict[tuple, np.ndarray] = {}
    result = []
    for group in groups:
        names = group.names.copy()
        for seed in np.unique(group.networks["seed"]):
            key = (group.networks["model"][0], seed)
            if key not in orders:
                orders[key] = generator.permutation(len(every))
            here = group.networks["seed"].to_numpy() == seed
            present = sorted(set(names[here]))
            # An absent algorithm is skipped in its cycle.
            taken = {}
            for name in present:
                other = every[orders[key][every.index(name)]]
                while other not in present:
                    other = every[orders[key][every.index(other)]]
                taken[name] = other
            names[here] = [taken[n] for n in names[here]]
        result.append(names)
    return result


def nearest_share(groups: list[Group], named: list[np.ndarray]) -> float:
    """Share of networks whose nearest is of their own algorithm, among those that have another of it."""
    hits, count = 0.0, 0
    for group, names in zip(groups, named, strict=True):
        compared, same = group.compared, names[:, None] == names
        away = np.where(compared, group.distances, np.inf)
        nearest = compared & (away <= away.min(axis=1, keepdims=True) + 1e-12)
        having = (compared & same).any(axis=1)
        hits += ((nearest & same).sum(axis=1) / np.maximum(nearest.sum(axis=1), 1)).sum()
        count += int(having.sum())
    return hits / count


def guessed_share(groups: list[Group]) -> float:
    """The share by chance."""
    shares = []
    for group in groups:
        own = group.compared & (group.names[:, None] == group.names)
        known = own.any(axis=1)
        shares += list((own.sum(axis=1) / group.compared.sum(axis=1))[known])
    return float(np.mean(shares))


def question_6(answer: Answer, evidence: Evidence) -> list[Claim]:
    """Verdict, sentences and titles of question 6, of profiles."""
    texts = [answer.verdict.sentence if answer.verdict else "", *answer.sentences]
    places = ["6 verdict", "6 sentence 1", "6 sentence 2", "6 sentence 3"]
    claims = [Claim(place, text) for place, text in zip(places, texts, strict=True)]
    if "masks (NNSTD)" in texts[1]:
        for claim in claims:
            claim.skip("distances of masks are not computed anew")
        return claims
    groups = groups_of(evidence)
    every = sorted({name for group in groups for name in group.names})
    each = [means(g, g.distances, g.names) for g in groups]
    within, between = over_groups(each, every)
    densities = [g for g in groups if g.of_densities is not None]
    controls = over_groups([means(g, g.of_densities, g.names) for g in densities], every)  # type: ignore[arg-type]
    share, chance = nearest_share(groups, [g.names for g in groups]), guessed_share(groups)
    generator, drawn = np.random.default_rng(77), []
    for _ in range(DRAWS):
        named = shuffled(groups, generator)
        by_chance = [means(g, g.distances, n) for g, n in zip(groups, named, strict=True)]
        gaps = [b - a for a, b in (over_groups(by_chance, [n]) for n in every)]
        a, b = over_groups(by_chance, every)
        drawn.append([b - a, nearest_share(groups, named), *gaps])
    own = [over_groups(each, [n]) for n in every]
    true = np.array([between - within, share, *(b - a for a, b in own)])
    p = ((np.array(drawn) >= true - 1e-12).sum(axis=0) + 1) / (DRAWS + 1)
    pairs = between_algorithms(groups)
    apart = {"within": within, "between": between}
    verdict, one, two, three = claims
    verdict.says("networks of one algorithm lie {within} apart, those of different ones {between};", **apart)
    verdict.says("the same algorithm for {share} ({chance} by chance)", share=share, chance=chance)
    if "already give" in verdict.text:
        verdict.says("already give {within} and {between}:", within=controls[0], between=controls[1])
    one.says("one algorithm lie {within} apart and those of different ones {between} (", **apart)
    one.says("(permutation {p}); the nearest", p=p_range(p[0], DRAWS))
    one.says("the same algorithm for {share} of networks, {chance} by chance (p {p})", share=share, chance=chance,
             p=p_range(p[1], DRAWS))  # fmt: skip
    q = adjusted(p[2:])
    known = np.array([np.isfinite(a) for a, _ in own])
    near, far = min(pairs, key=lambda k: pairs[k]), max(pairs, key=lambda k: pairs[k])
    clear = Range(float((q < 0.04).sum()), float((q < 0.06).sum()))
    titles = {k: Claim(f"6 title {k}", v) for k, v in answer.titles.items()}
    for claim in (two, titles["similarity_of_algorithms"]):
        claim.says("Most similar are {one} and {other} ({near}), least", one=near[0], other=near[1], near=pairs[near])
        claim.says("least {one} and {other} ({far})", one=far[0], other=far[1], far=pairs[far])
    for claim in (two, titles["similarity_of_seeds"]):
        claim.says_pattern(r"([0-9]+) of ([0-9]+) algorithms lie", clear, second=int(known.sum()))
    ratio = {n: a / b for n, (a, b) in zip(every, own, strict=True) if np.isfinite(a)}
    loose = max(ratio, key=lambda n: ratio[n])
    two.says("discovery rate, {name} the least so ({ratio} of its", name=loose, ratio=ratio[loose])
    families_apart(three, evidence, pairs, every)
    three.says("one algorithm lie {within} and those of different ones {between} apart.", within=controls[0],
               between=controls[1])  # fmt: skip
    if "similarity_map" in titles:
        title = titles["similarity_map"]
        title.says("stress up to {stress})", stress=answer.tables["map"]["stress"][lambda s: s <= 0.2].max())
        of_map = sorted(g.networks["sparsity"][0] for g in groups)
        title.says_pattern("at ([0-9.]+%) sparsity", float(of_map[len(of_map) // 2]))
        title.unknown.append("stress is read from the answer's table: a map drawn by the same SMACOF says nothing new")
    return [*claims, *titles.values()]


def between_algorithms(groups: list[Group]) -> dict[tuple[str, str], float]:
    """Mean over groups of the mean distance between the networks of two algorithms."""
    found: dict[tuple[str, str], list[float]] = {}
    for group in groups:
        names = np.unique(group.names)
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                pair = group.compared & np.outer(group.names == one, group.names == other)
                if pair.any():
                    found.setdefault((str(one), str(other)), []).append(group.distances[pair].mean())
    return {pair: float(np.mean(values)) for pair, values in found.items()}


def families_apart(claim: Claim, evidence: Evidence, pairs: dict[tuple[str, str], float], every: list[str]) -> None:
    """Distances within and between families, and their permutation test."""
    if "so families cannot be compared" in claim.text:
        return
    family = dict(evidence.sparse.drop_duplicates("pruner")[["pruner", "family"]].to_numpy())
    ends = np.array([[every.index(a), every.index(b)] for a, b in pairs])
    values = np.array(list(pairs.values()))
    kinds = np.array([family[n] for n in every])

    def gap(kinds: np.ndarray) -> tuple[float, float]:
        same = kinds[ends[:, 0]] == kinds[ends[:, 1]]
        return values[same].mean(), values[~same].mean()

    one, two = gap(kinds)
    generator = np.random.default_rng(78)
    drawn = [np.subtract(*gap(generator.permutation(kinds))[::-1]) for _ in range(2000)]
    p = float((np.array(drawn) >= two - one - 1e-12).mean())
    claim.says("one family lie {one} apart and those of two families {two}", one=one,
               two=two if "no clear" not in claim.text else None)  # fmt: skip
    claim.says_pattern(r"two families ([0-9.]+)(?:, no clear difference)? \(p ([^)]+)\)", two, second=p_range(p, 999))
    claim.unknown.clear()
    claim.holds("no clear difference where p is at least .05", ("no clear" in claim.text) == (p >= 0.05))
