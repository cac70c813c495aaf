"""Question 5 computed anew: who made a mask, named by forests of this script's own."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold

from topo.questions.answer import Answer
from topo.results.evidence import Evidence
from topo.results.feature_sets import encodings_of, feature_sets, mask_only_set

from .claims import Claim, Range, near
from .correlating import GROUP, adjusted, label_orders
from .predicting import trees, with_drop, with_values

# How far forests of another seed may be off, in shares.
MAY_DIFFER, ENDS_MAY_DIFFER = 0.06, 0.1
# The same for the networks of one algorithm, and by how much shares differ that are named together.
CELLS_MAY_DIFFER, AS_OFTEN = 0.15, 0.1
SEEDS = (11, 12, 13)
# Assignments of algorithms to families.
DRAWS = 300
LABELS = {"density": "layer density", "edges_density": "edges + density"}


def relative(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns in standard deviations from the mean of their group."""
    values = table[columns].astype(float).replace([np.inf, -np.inf], np.nan)
    grouped = values.groupby([table[c] for c in GROUP])
    spread = grouped.transform("std", ddof=0)
    return ((values - grouped.transform("mean")) / spread.where(spread > 0)).where(spread != 0, 0.0)


def shares(table: pd.DataFrame, x: pd.DataFrame, by: str, seed: int) -> pd.DataFrame:
    """How probable every algorithm is for every network, the values of a column being held out."""
    names = table["pruner"].to_numpy(str)
    result = pd.DataFrame(np.nan, table.index, np.unique(names))
    groups = table[by].astype(str).to_numpy()
    for train, test in GroupKFold(min(len(np.unique(groups)), 12)).split(x, groups=groups):
        filled = x.fillna(x.iloc[train].median()).fillna(0.0).to_numpy()
        many = {"bootstrap": True, "max_samples": 4000} if len(train) > 4000 else {}
        forest = ExtraTreesClassifier(
            trees(len(train)), min_samples_leaf=2, class_weight="balanced", random_state=seed, **many
        )
        forest.fit(filled[train], names[train])
        result.loc[table.index[test], forest.classes_] = forest.predict_proba(filled[test])
    return result


def recall(table: pd.DataFrame, right: pd.Series) -> pd.Series:
    """Share told rightly, by algorithm."""
    return right.groupby(table["pruner"]).mean()


def ends(values: pd.Series, family: pd.Series | None = None) -> tuple[float, float, float]:
    """Mean over algorithms, or over families of theirs, with a t-interval."""
    samples = [values.to_numpy()] if family is None else [v.to_numpy() for _, v in values.groupby(family)]
    mean = float(np.mean([s.mean() for s in samples]))
    each = np.array([s.var(ddof=1) / len(s) for s in samples]) / len(samples) ** 2
    if not each.sum() > 0:
        return mean, mean, mean
    df = each.sum() ** 2 / (each**2 / [len(s) - 1 for s in samples]).sum()
    half = stats.t.ppf(0.975, df) * np.sqrt(each.sum())
    return mean, max(mean - half, -1), min(mean + half, 1)


def p_of_names(table: pd.DataFrame, predicted: pd.Series, by: str) -> float:
    """p of the names of algorithms in most of the held-out groups."""
    values = []
    for _, rows in table.groupby(by):
        names = sorted(rows["pruner"].unique())
        taken = np.array([[(predicted[rows.index][rows["pruner"] == a] == b).mean() for b in names] for a in names])
        orders = label_orders(len(names), 2000, 5)
        scores = np.array([taken[np.arange(len(names)), order].mean() for order in orders])
        values.append(float((scores >= scores[0] - 1e-9).mean()))
    k = len(values) // 2 + 1
    return min(1.0, sorted(values)[k - 1] * len(values) / k)


def question_5(answer: Answer, evidence: Evidence) -> list[Claim]:
    """Verdict, sentences and titles of question 5."""
    table = with_drop(evidence)
    sets = feature_sets(table)
    masks = [n for e in ("multipartite", *encodings_of(sets)) if (n := mask_only_set(sets, e))]
    every = list(dict.fromkeys(c for n in masks for c in sets[n]))
    used = {n: list(sets[n]) for n in LABELS if n in sets} | {n: list(sets[n]) for n in masks}
    used |= {"topology": every, "both": list(dict.fromkeys([*sets["density"], *every]))}
    table = with_values(table, used)
    claims = [verdict := Claim("5 verdict", answer.verdict.sentence if answer.verdict else "")]
    one, two, three = (Claim(f"5 sentence {i}", text) for i, text in enumerate(answer.sentences, 1))
    title = Claim("5 title telling", answer.titles["telling"])
    claims += [one, two, three, title]
    if "all topology, mask only, relative to its group" not in one.text or "z-scores" in two.text:
        for claim in claims:
            claim.skip("another set of metrics is spoken of")
        return claims
    by = "model" if "an unseen model" in one.text else "dataset" if "an unseen dataset" in one.text else "seed"
    kinds = table["pruner"].nunique()
    asked = {n: used[n] for n in (*LABELS, *masks, "topology", "both") if n in used}
    named, p, predictions, each = {}, {}, {}, {}
    for name, columns in asked.items():
        x = relative(table, columns)
        tries = [shares(table, x, by, seed).fillna(-1).idxmax(axis=1) for seed in SEEDS]
        predictions[name] = tries[0]
        each[name] = [recall(table, t == table["pruner"]) for t in tries]
        named[name] = sum(each[name]) / len(tries)
        p[name] = p_of_names(table, tries[0], by)
    share = {n: ends(v) for n, v in named.items()}
    mean, low, high = share["topology"]
    about = near(mean, MAY_DIFFER)
    for claim in (verdict, one, title):
        claim.says_pattern(r"right one of ([0-9]+) algorithms for ([0-9]+%)", kinds, second=about)
        claim.says_pattern(r"guessing (?:gives )?([0-9]+%)", 1 / kinds)
    one.says("(95% interval {low} to {high}) of {n} networks", low=near(low, ENDS_MAY_DIFFER),
             high=near(high, ENDS_MAY_DIFFER), n=len(table))  # fmt: skip
    q = dict(zip(p, adjusted(np.array(list(p.values()))), strict=True))
    one.says("(q {q}; all", q=Range(0, max(3 * q["topology"], 0.006)))
    one.holds("named clearly", q["topology"] < 0.05)
    for name, label in LABELS.items():
        if name in named:
            two.says_pattern(rf"{label.replace('+', '[+]')} ([0-9]+%)", near(share[name][0], MAY_DIFFER))
    if "layer densities alone" in verdict.text:
        verdict.says_pattern(r"densities alone ([0-9]+%)", near(share["density"][0], MAY_DIFFER))
        gains = {n: [ends(of - than) for of, than in zip(each[n], each["density"], strict=True)]
                 for n in ("topology", "both")}  # fmt: skip
        lows = [gain[1] for gain in gains["topology"]]
        clear = "not clearly less" not in verdict.text
        if min(lows) <= 0.02 and max(lows) > 0:
            verdict.unknown.append("whether layer densities name clearly fewer: it hangs on the seed of the forests")
        else:
            verdict.holds("clearly more than layer density", clear == (min(lows) > 0))
        for words, name in (("topology names", "topology"), ("both together", "both")):
            means, low, high = (100 * np.array(part) for part in zip(*gains[name], strict=True))
            start = rf"{words} ([0-9]+) points more"
            two.says_pattern(start, near(means.mean(), 100 * MAY_DIFFER))
            if "points (more" not in two.text:
                start = rf"{words} [0-9]+ points more \(95% interval "
                two.says_pattern(start + "([−0-9]+) to ([−0-9]+)", spread(low), second=spread(high))
    family_claims(verdict, three, table, asked)
    for name, text in answer.titles.items():
        if name == "confusion_of_pruner":
            claims.append(confused(Claim(f"5 title {name}", text), table, predictions["topology"], answer))
    return claims


def spread(values: np.ndarray, times: float = 1) -> Range:
    """Where another seed of the forests puts an end of an interval, in hundredths."""
    return Range(
        float(np.min(values)) - times * 100 * ENDS_MAY_DIFFER, float(np.max(values)) + times * 100 * ENDS_MAY_DIFFER
    )


def family_claims(verdict: Claim, claim: Claim, table: pd.DataFrame, asked: dict[str, list[str]]) -> None:
    """What is said of families of unseen algorithms."""
    family = table.drop_duplicates("pruner").set_index("pruner")["family"]
    several = family[family.map(family.value_counts()) > 1]
    part = table[table["pruner"].isin(several.index)]
    kinds, told, needed = several.nunique(), {}, []
    for name in (*LABELS, "topology"):
        if name not in asked:
            continue
        recalls = []
        for seed in SEEDS:
            found = shares(part, relative(table, asked[name]).loc[part.index], "pruner", seed)
            for held in several.index:
                found.loc[part.index[part["pruner"] == held], held] = np.nan
            if name == "topology":
                needed.append(needed_of_families(found, part["pruner"], several))
            of_family = found.T.groupby(several).mean().T.fillna(-1).idxmax(axis=1)
            recalls.append(recall(part, of_family == part["family"]))
        told[name] = ends(sum(recalls) / len(recalls), several)
        if name == "topology":
            lows, highs = zip(*(ends(one, several)[1:] for one in recalls), strict=True)
    mean = told["topology"][0]
    verdict.says_pattern(r"unseen algorithm (?:too|is open) \(([0-9]+%), guessing ([0-9]+%)", near(mean, 0.1),
                         second=1 / kinds)  # fmt: skip
    if "would have been found" in verdict.text:
        value = found_of_families(several.value_counts().tolist(), float(np.mean(needed)))
        verdict.says("; {found} would have been found", found=near(value, 0.1))
    low, high = (spread(100 * np.clip(part, 0, 1), 2) for part in (lows, highs))
    claim.says("one of {kinds} families for {share} (95% interval {low}% to {high}%) of networks of {n} algorithms",
               kinds=kinds, share=near(mean, 0.1), low=low, high=high,
               n=len(several))  # fmt: skip
    claim.says("guessing gives {chance} (q {q}; all", chance=1 / kinds, q=None)
    for name, label in LABELS.items():
        if name in told:
            claim.says_pattern(rf"{label.replace('+', '[+]')} ([0-9]+%)", near(told[name][0], 0.1))


def needed_of_families(shares_of: pd.DataFrame, own: pd.Series, family: pd.Series) -> float:
    """The score of families that 97.5% of other assignments of algorithms to families do not exceed."""
    generator, scores = np.random.default_rng(6), []
    for draw in range(DRAWS):
        drawn = family if not draw else pd.Series(generator.permutation(family.to_numpy()), family.index)
        nearest = shares_of[family.index].T.groupby(drawn).mean().T.fillna(-1).idxmax(axis=1)
        right = (nearest == own.map(drawn)).groupby(own).mean()
        scores.append(right.groupby(drawn).mean().mean())
    return float(np.quantile(scores, 0.975, method="higher"))


def found_of_families(sizes: list[int], needed: float) -> float:
    """The share at which all or nothing of every algorithm's networks is told beyond that in 80% of cases."""
    told = [t for t in product(*(range(n + 1) for n in sizes)) if np.mean(np.divide(t, sizes)) > needed + 1e-9]
    for share in np.linspace(0, 1, 1001):
        if sum(np.prod(stats.binom.pmf(t, sizes, share)) for t in told) >= 0.8:
            return float(share)
    return np.nan


def confused(claim: Claim, table: pd.DataFrame, predicted: pd.Series, answer: Answer) -> Claim:
    """Which algorithms are told best and worst, and which two are confused."""
    own = (predicted == table["pruner"]).groupby(table["pruner"]).mean()
    for word, extreme, place in (("best", own.max(), 1), ("worst", own.min(), 0)):
        said = re.search(rf"{word}: ([^;]+) \((?:[0-9]+% to )?[0-9]+%\);", claim.text)
        named = re.split(", | and ", said[1]) if said else []
        for name in (n for n in named if n in own.index):
            claim.holds(f"{name} is nearly {word}", abs(own[name] - extreme) <= AS_OFTEN + CELLS_MAY_DIFFER)
        numbers = r"([0-9]+%) to [0-9]+%" if place == 0 else r"(?:[0-9]+% to )?([0-9]+%)"
        if place == 0 and said and " to " not in said[0]:
            numbers = "([0-9]+%)"
        claim.says_pattern(rf"{word}: [^;]+ \({numbers}\);", near(float(extreme), CELLS_MAY_DIFFER))
    shares_of = pd.crosstab(table["pruner"], predicted, normalize="index")
    pairs = 0
    for one, other in product(shares_of.index, shares_of.columns):
        start = rf"{re.escape(one)} (?:is taken )?for {re.escape(other)} \("
        if re.search(start, claim.text):
            pairs += 1
            claim.says_pattern(start + "([0-9]+%)", near(float(shares_of.loc[one, other]), CELLS_MAY_DIFFER))
    claim.holds("some pair is confused", pairs > 0)
    claim.holds("so many algorithms", len(answer.tables["confusion_of_pruner"]) == table["pruner"].nunique())
    return claim
