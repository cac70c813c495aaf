"""Question 4 computed anew: the order of algorithms by scores that have not seen what they order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats import kendalltau, rankdata
from sklearn.ensemble import RandomTreesEmbedding

from topo.questions.answer import Answer
from topo.results.evidence import Evidence
from topo.results.feature_sets import encodings_of, feature_sets, mask_only_set, set_label

from .claims import Claim, near, p_range
from .correlating import GROUP
from .predicting import CELLS, cell_means, with_drop, with_values

SIZES = ("density", "edges_density")
DRAWS = 40
# How far scores of other random trees may be off: tau, shares, and ends of intervals.
TAU_OFF, SHARE_OFF, ENDS_OFF = 0.1, 0.05, 0.15


@dataclass
class Ranked:
    """Tau of every group, and what else is said of an order."""

    taus: np.ndarray
    right: float
    best: float = np.nan
    regret: float = np.nan
    pairs: np.ndarray | None = None

    @property
    def tau(self) -> float:
        """Mean over groups."""
        return float(self.taus.mean())


def features(means: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """How alike rows are by logarithms relative to the group, ranks in it, sparsity and model."""
    pieces = []
    keys = [means[c] for c in GROUP]
    for name in columns:
        values = means[name].astype(float)
        size = values.abs()
        middle = size[size > 0].median()
        logs = np.sign(values) * np.log1p(size / (middle / 10 if middle == middle else 1.0))
        ranks = values.groupby(keys).transform(lambda v: (v.rank() - 0.5) / v.count() - 0.5)
        pieces += [logs - logs.groupby(keys).transform("mean"), ranks]
    if len(set(means["sparsity"])) > 1:
        pieces.append(np.log1p(-means["sparsity"].clip(upper=1 - 1e-6)))
    if len(set(means["model"])) > 1:
        pieces += [(means["model"] == m).astype(float) for m in sorted(means["model"].unique())]
    return alike(np.column_stack([piece.fillna(0.0) for piece in pieces]))


def ranks_of(means: pd.DataFrame, target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Ranks of the target in each group among the known rows, from -1/2 to 1/2."""
    ranks = np.full(len(means), np.nan)
    for rows in means.groupby(GROUP).indices.values():
        rows = rows[known[rows]]
        if len(rows):
            ranks[rows] = (rankdata(target[rows]) - 0.5) / len(rows) - 0.5
    return ranks


def alike(x: np.ndarray, seed: int = 1) -> np.ndarray:
    """How many nodes of totally random trees two rows pass together, over the mean number that a row passes."""
    trees = RandomTreesEmbedding(300, max_depth=None, min_samples_leaf=3, random_state=seed).fit(x)
    passed = trees.decision_path(x)[0].astype(float)
    return (passed @ passed.T).toarray() / passed.sum(axis=1).mean()


def fitted(kernel: np.ndarray, y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Scores of the rows that are not known, by kernel ridge regression."""
    weights = np.linalg.solve(kernel[np.ix_(known, known)] + np.eye(int(known.sum())), y[known])
    return np.round(kernel[np.ix_(~known, known)] @ weights, 9)


def scored(means: pd.DataFrame, what: list[str] | np.ndarray, target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Scores from features, or from past results by names."""
    y = ranks_of(means, target, known)
    if isinstance(what, np.ndarray):
        return fitted(what, y, known)
    return cell_means(means[known], y[known], means[~known], what)


def unseen(means: pd.DataFrame, what: list[str] | np.ndarray, target: np.ndarray, hold: str) -> Ranked:
    """The order of algorithms in every group, a dataset, model or pair of algorithms being unseen."""
    groups = list(means.groupby(GROUP).indices.values())
    names = means["pruner"].to_numpy()
    if hold != "pruner":
        score = np.full(len(means), np.nan)
        for value in means[hold].unique():
            new = (means[hold] == value).to_numpy()
            score[new] = scored(means, what, target, ~new)
        taus, right, best, regret = [], [], [], []
        for rows in groups:
            taus.append(np.nan_to_num(kendalltau(score[rows], target[rows]).statistic))
            sign = [np.sign(score[i] - score[j]) * np.sign(target[i] - target[j]) for i, j in combinations(rows, 2)]
            right.append(np.mean(sign) / 2 + 0.5)
            if np.ptp(score[rows]):
                first = rows[np.argsort(names[rows], kind="stable")]
                first = first[np.argmin(score[first])]
                regret.append(target[first] - target[rows].min())
                best.append(regret[-1] == 0)
        return Ranked(np.array(taus), float(np.mean(right)), float(np.mean(best)), float(np.mean(regret)))
    of_group = np.zeros(len(means), dtype=int)
    for number, rows in enumerate(groups):
        of_group[rows] = number
    every = sorted(set(names))
    parts = np.zeros((len(groups), len(every), len(every), 4))
    for a, b in combinations(every, 2):
        new = (names == a) | (names == b)
        rows = np.flatnonzero(new)
        score = dict(zip(rows, scored(means, what, target, ~new), strict=True))
        for number in range(len(groups)):
            here = [i for i in rows if of_group[i] == number]
            if len(here) == 2:
                s, t = np.sign(score[here[0]] - score[here[1]]), np.sign(target[here[0]] - target[here[1]])
                parts[number, every.index(a), every.index(b)] = s * t, s * s, t * t, 1
    whole = parts.sum(axis=(1, 2))
    return Ranked(taus_of(whole), float((whole[:, 0] / whole[:, 3]).mean() / 2 + 0.5), pairs=parts)


def taus_of(sums: np.ndarray) -> np.ndarray:
    """Tau-b of sums over pairs: agreements, pairs that the score orders, pairs that differ, and pairs."""
    untied = np.sqrt(sums[..., 1] * sums[..., 2])
    taus = np.divide(sums[..., 0], untied, out=np.zeros(untied.shape), where=untied > 0)
    return np.where(sums[..., 3] > 0, taus, np.nan)


@dataclass
class Interval:
    """A mean difference of two taus with its 95% interval, and what would be told from 0 in 80% of cases."""

    low: float
    high: float
    found: float


def two_ways(one: Ranked, other: Ranked, means: pd.DataFrame) -> Interval:
    """Jackknife over algorithms, plus that over pairs of dataset and model, less that over both together."""
    assert one.pairs is not None
    assert other.pairs is not None
    rows = [rows[0] for rows in means.groupby(GROUP).indices.values()]
    setting = pd.factorize(means["dataset"].iloc[rows] + "/" + means["model"].iloc[rows])[0]
    gap = one.taus - other.taus

    def without(ranked: Ranked) -> np.ndarray:
        parts = ranked.pairs
        assert parts is not None
        left = parts.sum(axis=(1, 2))[:, None] - parts.sum(axis=1) - parts.sum(axis=2)
        return taus_of(left)

    def spread(values: np.ndarray) -> float:
        return (len(values) - 1) / len(values) * float(((values - values.mean()) ** 2).sum())

    each = without(one) - without(other)
    algorithms = np.nanmean(each, axis=0)
    settings = np.array([gap[setting != s].mean() for s in np.unique(setting)])
    single = np.array([spread(algorithms), spread(settings)])
    cells = [np.nansum(each[setting == s] - gap[setting == s, None], axis=0) / len(gap) for s in np.unique(setting)]
    total = max(single.sum() - spread(np.concatenate(cells)), single.max())
    single *= total / single.sum()
    df = total**2 / (single**2 / [len(algorithms) - 1, len(settings) - 1]).sum()
    error, mean = np.sqrt(total), gap.mean()
    half = stats.t.ppf(0.975, df) * error
    found = (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * error
    return Interval(max(mean - half, -2), min(mean + half, 2), float(found))


def perfect(table: pd.DataFrame) -> float:
    """The tau that a perfect score may have, from how well two seeds agree."""
    taus, counts = [], []
    for _, group in table.groupby(GROUP):
        wide = group.pivot_table("drop", "pruner", "seed")
        counts.append(wide.notna().sum(axis=1).mean())
        each = []
        for one, other in combinations(wide.columns, 2):
            both = wide[[one, other]].dropna()
            if len(both) >= 3:
                each.append(np.nan_to_num(kendalltau(both[one], both[other]).statistic))
        if each:
            taus.append(np.mean(each))
    r, k = max(np.sin(np.pi / 2 * np.mean(taus)), 0), np.mean(counts)
    return float(2 / np.pi * np.arcsin(min(np.sqrt(k * r / (1 + (k - 1) * r)), 1)))


def past(means: pd.DataFrame, hold: str) -> dict[str, list[str]]:
    """Past results that name an algorithm or a family and are known where something is held out."""
    found: dict[str, list[str]] = {}
    for name, columns in CELLS.items():
        several = [c for c in columns if len(set(means[c])) > 1 and c != hold]
        if hold == "pruner" and "pruner" in columns:
            continue
        if {"pruner", "family"} & set(several) and several not in found.values():
            found[f"past results by {name}"] = several
    return found


def question_4(answer: Answer, evidence: Evidence) -> list[Claim]:
    """Verdict, sentences and title of question 4."""
    table = with_drop(evidence)
    sets = feature_sets(table)
    masks = [n for e in ("multipartite", *encodings_of(sets)) if (n := mask_only_set(sets, e))]
    used = {n: sets[n] for n in dict.fromkeys([*SIZES, *masks, "multipartite", "ramanujan"]) if n in sets}
    table = with_values(table, used)
    topology = list(used[masks[0]])
    results: dict[tuple[str, str], tuple[Ranked, str, Ranked]] = {}
    tables, scopes = {}, {"at initialisation": table[table["family"] == "initial"], "all families": table}
    for scope, part in scopes.items():
        columns = list(dict.fromkeys(["drop", *(c for names in used.values() for c in names)]))
        keys = [*GROUP, "pruner", "family"]
        means = part.replace([np.inf, -np.inf], np.nan).groupby(keys)[columns].mean().reset_index()
        means = means[means.groupby(GROUP)["pruner"].transform("nunique") >= 3].reset_index(drop=True)
        tables[scope] = means
        target = means["drop"].to_numpy()
        for hold in ("pruner", "dataset", "model"):
            if means[hold].nunique() < 2:
                continue
            known = {name: unseen(means, columns, target, hold) for name, columns in past(means, hold).items()}
            known |= {set_label(n): unseen(means, features(means, list(used[n])), target, hold)
                      for n in SIZES if n in used}  # fmt: skip
            best = max(known, key=lambda n: known[n].tau)
            results[scope, hold] = unseen(means, features(means, topology), target, hold), best, known[best]
    verdict = Claim("4 verdict", answer.verdict.sentence if answer.verdict else "")
    one, two, three = (Claim(f"4 sentence {i}", text) for i, text in enumerate(answer.sentences, 1))
    title = Claim("4 title ranking", answer.titles["ranking"])
    head = results["at initialisation", "pruner"]
    verdict.says(
        "first in {right} of cases (Kendall's τ {tau}; p",
        right=near(head[0].right, SHARE_OFF),
        tau=near(head[0].tau, TAU_OFF),
    )
    verdict.says_pattern(r"chance\), (.+) in ([0-9]+%)", head[1], second=near(head[2].right, SHARE_OFF))
    verdict.says_pattern(r"[0-9]+% \(τ ([-−0-9.]+)\)\.", near(head[2].tau, TAU_OFF))
    p = permuted(tables["at initialisation"], topology, head[0].tau)
    verdict.says_pattern(r"; p ([^;)]+) against chance", p_range(p, DRAWS))
    if "A difference in τ of" in verdict.text:
        found = two_ways(head[0], head[2], tables["at initialisation"]).found
        verdict.says("A difference in τ of {found} would", found=near(found, TAU_OFF))
    title.says_pattern(r"than (.+) \(τ", head[1])
    title.says("(τ {own} and {other})", own=near(head[0].tau, TAU_OFF), other=near(head[2].tau, TAU_OFF))
    gap = head[0].tau - head[2].tau
    title.holds("no better", ("no better" in title.text) == (gap <= 0) or abs(gap) < TAU_OFF)
    for scope, words in (("at initialisation", "at initialisation"), ("all families", "of all families")):
        own, name, other = results[scope, "pruner"]
        one.says_pattern(
            rf"algorithms {words}: τ ([-−0-9.]+) for topology and ([-−0-9.]+) for",
            near(own.tau, TAU_OFF),
            second=near(other.tau, TAU_OFF),
        )
        start = rf"algorithms {words}: τ [-−0-9.]+ for topology and [-−0-9.]+ for "
        one.says_pattern(start + r"(.+?) \(difference ([-−0-9.]+)",
                         name, second=near(own.tau - other.tau, TAU_OFF))  # fmt: skip
        ends = two_ways(own, other, tables[scope])
        one.says_pattern(
            start + r".+? \(difference [-−0-9.]+, ([-−0-9.]+) to ([-−0-9.]+)\)",
            near(ends.low, ENDS_OFF),
            second=near(ends.high, ENDS_OFF),
        )
    for hold in ("dataset", "model"):
        if ("all families", hold) not in results:
            continue
        start = f"unseen {hold} the τ of topology and of the best baseline are "
        first, first_name, first_other = results["at initialisation", hold]
        second, second_name, second_other = results["all families", hold]
        two.says(start + "{a} and {b} ({name}) at initialisation and {c} and {d} ({other}) over all families",
                 a=near(first.tau, TAU_OFF), b=near(first_other.tau, TAU_OFF), name=first_name,
                 c=near(second.tau, TAU_OFF), d=near(second_other.tau, TAU_OFF),
                 other=second_name)  # fmt: skip
    elsewhere = [k for k in results if k[1] != "pruner"]
    scope, hold = next(k for k in elsewhere if f"unseen {k[1]}" in three.text and k[0] in three.text)
    best, means = results[scope, hold][0], tables[scope]
    three.holds("topology ranks best there", best.tau >= max(results[k][0].tau for k in elsewhere) - TAU_OFF)
    three.says("is the best in {best} of {groups} groups (by chance {chance})", best=near(best.best, 0.15),
               groups=len(best.taus),
               chance=float((1 / means.groupby(GROUP)["pruner"].nunique()).mean()))  # fmt: skip
    three.says("costs {points} points", points=near(100 * best.regret, 0.2 + 30 * best.regret))
    three.says("a τ of about {tau},", tau=near(perfect(scopes[scope]), 0.005))
    return [verdict, one, two, three, title]


def permuted(means: pd.DataFrame, columns: list[str], own: float) -> float:
    """p-value of ordering unseen pairs with the results of whole algorithms exchanged."""
    x, target = features(means, columns), means["drop"].to_numpy()
    names = sorted(means["pruner"].unique())
    generator, drawn = np.random.default_rng(9), []
    for _ in range(DRAWS):
        order = generator.permutation(len(names))
        moved = target.copy()
        for rows in means.groupby(GROUP).indices.values():
            place = {means["pruner"][i]: i for i in rows}
            for i in rows:
                other = names[order[names.index(means["pruner"][i])]]
                while other not in place:
                    other = names[order[names.index(other)]]
                moved[i] = target[place[other]]
        drawn.append(unseen(means, x, moved, "pruner").tau)
    return float((1 + np.sum(np.array(drawn) >= own - 1e-9)) / (DRAWS + 1))
