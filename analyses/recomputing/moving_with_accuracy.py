"""Questions 1 and 2 computed anew: correlations of metrics with accuracy, alone and with confounders held still."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from topo.questions.answer import Answer
from topo.results.evidence import Evidence
from topo.results.schema import metric_label

from .claims import Any, Claim, Range, near, p_range
from .correlating import DRAWS, GROUP, Tested, adjusted, alike, least_found, tested

FAMILIES = ("initial", "dynamic", "trained", "structured")
EVERY = "all families"
STEPS = {
    "alone": "alone",
    "edges": "given equal edges",
    "density": "given equal edges and density",
    "weights": "given equal edges, density and weights",
}


def scopes(networks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Networks of every family, and all of them."""
    parts = {f: networks[networks["family"] == f] for f in FAMILIES if (networks["family"] == f).any()}
    return parts | ({EVERY: networks} if len(parts) > 1 else {})


def among(scope: str) -> str:
    """The pruners of a scope, as sentences write them."""
    return "pruners of all families" if scope == EVERY else f"{scope} pruners"


def metrics_that_vary(evidence: Evidence) -> list[str]:
    """Whole-network metrics that differ within some group."""
    spread = evidence.sparse.groupby(GROUP)[evidence.whole_network_metrics].agg(["min", "max"])
    return [m for m in evidence.whole_network_metrics if (spread[m]["max"] > spread[m]["min"]).any()]


def with_q(parts: dict[str, Tested]) -> pd.DataFrame:
    """All tests of one table with q, and the q that other random permutations may give."""
    rows = pd.concat([part.table.assign(scope=name, units=part.units) for name, part in parts.items()]).reset_index()
    exact = rows["units"] <= 7
    ranges = [p_range(p, DRAWS) if p == p else Range(np.nan, np.nan) for p in rows["p"]]
    rows["q"] = adjusted(rows["p"].to_numpy())
    rows["q_low"] = adjusted(np.where(exact, rows["p"], [r.low for r in ranges]))
    rows["q_high"] = adjusted(np.where(exact, rows["p"], [r.high for r in ranges]))
    rows["p_low"] = np.where(exact, rows["p"], [r.low for r in ranges])
    rows["p_high"] = np.where(exact, rows["p"], [r.high for r in ranges])
    return rows


def clear_count(rows: pd.DataFrame) -> Range:
    """How many tests are clear: a range where random permutations decide."""
    return Range(float((rows["q_high"] < 0.05).sum()), float((rows["q_low"] < 0.05).sum()))


def surely_clear(rows: pd.DataFrame) -> pd.DataFrame:
    """The clear tests by the permutations of this script."""
    return rows[rows["q"] < 0.05]


def strongest(rows: pd.DataFrame) -> str:
    """The clear metric that correlates most, or of all where none is clear."""
    clear = surely_clear(rows)
    rows = clear if len(clear) else rows
    return rows.loc[rows["r"].abs().idxmax(), "metric"]


def question_1(answer: Answer, evidence: Evidence) -> list[Claim]:
    """Verdict, sentences and titles of question 1."""
    networks, every = evidence.sparse, metrics_that_vary(evidence)
    kept = [group[0] for group in alike(networks, every)]
    metrics = [m for m in every if m in kept]
    parts = {scope: tested(part, metrics) for scope, part in scopes(networks).items()}
    rows = with_q(parts)
    main = next(s for s in parts if rows.loc[rows["scope"] == s, "r"].notna().any())
    of_main = rows[(rows["scope"] == main) & rows["r"].notna()].set_index("metric", drop=False)
    number, best = clear_count(of_main), strongest(of_main)
    row = of_main.loc[best]
    assert answer.verdict is not None
    claims = [Claim("1 verdict", answer.verdict.sentence)]
    one = claims[0]
    some = "most of all" in one.text
    if some:
        one.says(f"among {among(main)} {{clear}} of {{all}} metrics clearly", clear=number, all=len(of_main))
        one.says(
            "most of all {metric} (mean rank correlation ρ {r} over {groups} group",
            metric=metric_label(best), r=row["r"], groups=row["groups"],
        )  # fmt: skip
        if "edges has" in one.text:
            one.says("the number of edges has {r})", r=of_main.loc["edges", "r"])
    else:
        one.holds("none is clear", number.low == 0)
        one.says(
            "none of {all} metrics clearly moves with accuracy among {scope} (", all=len(of_main), scope=among(main)
        )
        one.says("(the largest mean rank correlation ρ is {r}, of {metric});", r=row["r"], metric=metric_label(best))
        share = 0.05 / len(rows[rows["r"].notna()])
        if "not even a perfect" not in one.text:
            one.says("only a mean |ρ| above {r} would have", r=near(least_found(parts[main], share), 0.04))
    claims.append(sentence := Claim("1 sentence 1", answer.sentences[0]))
    if some:
        sentence.says("that moves most with accuracy is {metric} (mean ρ", metric=metric_label(best))
        others = surely_clear(of_main).drop(index=best)
        for metric in others.sort_values("r", key=lambda r: -r.abs()).index[:4]:
            sentence.says(f"{metric_label(metric)} ({{r}})", r=others.loc[metric, "r"])
        if "more" in sentence.text:
            sentence.says_pattern(r"(\d+) more", Range(number.low - 5, number.high - 5))
    else:
        sentence.says(f"mong {among(main)} the largest of {{all}} mean correlations", all=len(of_main))
        sentence.says("is that of {metric} (", metric=metric_label(best))
    numbers = {"r": row["r"], "low": near(row["low"], 0.03), "high": near(row["high"], 0.03)}
    sentence.says("mean ρ {r}, 95% interval {low} to {high}, p", **numbers)
    sentence.says(", p {p}, q {q}, {groups} group", p=Range(row["p_low"], row["p_high"]),
                  q=Range(row["q_low"], row["q_high"]), groups=row["groups"])  # fmt: skip
    claims.append(families(answer.sentences[1], rows, main))
    claims += groupings(answer, networks, metrics, main)
    claims.append(title := Claim("1 title metrics_and_accuracy", answer.titles["metrics_and_accuracy"]))
    if some:
        title.says("{clear} of {all} metrics clearly", clear=number, all=len(of_main))
        title.says("most of all {metric}", metric=metric_label(best))
    else:
        title.says("among {scope}; the nearest is {metric}", scope=among(main), metric=metric_label(best))
    return claims


def families(text: str, rows: pd.DataFrame, main: str) -> Claim:
    """The sentence on other families."""
    claim = Claim("1 sentence 2", text)
    known = rows[rows["r"].notna()]
    last = known["scope"].iloc[-1]
    if last == main:
        claim.skip("one family only")
        return claim
    over, own = known[known["scope"] == last].set_index("metric"), known[known["scope"] == main].set_index("metric")
    claim.says(f"Among {among(last)} {{clear}} of {{all}} metrics clearly", clear=clear_count(over), all=len(over))
    gap = (over["r"] - own["r"]).abs()
    far = str(gap.idxmax())
    claim.says("most unlike for {metric}, {own} among", metric=metric_label(far), own=own.loc[far, "r"])
    claim.says(f"among {among(main)} and {{other}} there", other=over.loc[far, "r"])
    return claim


def groupings(answer: Answer, networks: pd.DataFrame, metrics: list[str], main: str) -> list[Claim]:
    """The sentence and the title on architectures, sparsities and datasets."""
    claim = Claim("1 sentence 3", answer.sentences[2])
    title = Claim("1 title metrics_by_grouping", answer.titles.get("metrics_by_grouping", ""))
    part, cells, grouping = scopes(networks)[main], {}, {}
    for name, column in (("architecture", "model"), ("sparsity", "sparsity"), ("dataset", "dataset")):
        for level, rows in part.groupby(column):
            label = f"{round(100 * level, 3):g}%" if column == "sparsity" else str(level)
            cells[f"{name}/{label}"], grouping[f"{name}/{label}"] = tested(rows, metrics), name
    rows = with_q(cells).dropna(subset=["r"])
    rows["grouping"] = rows["scope"].map(grouping)
    rows["level"] = rows["scope"].str.partition("/")[2]
    several = rows.groupby("grouping")["level"].transform("nunique") > 1
    rows = rows[several]
    flips, sure = set(), set()
    for (name, metric), cell in rows.groupby(["grouping", "metric"]):
        for column, found in (("q_low", flips), ("q_high", sure)):
            clear = cell[cell[column] < 0.05]
            if (clear["r"] > 0).any() and (clear["r"] < 0).any():
                found.add((name, metric))
    spread = rows.groupby(["grouping", "metric"])["r"].agg(lambda r: r.max() - r.min())
    ends = spread.idxmax()
    cell = rows[(rows["grouping"] == ends[0]) & (rows["metric"] == ends[1])]
    low, high = cell.loc[cell["r"].idxmin()], cell.loc[cell["r"].idxmax()]
    words = {"metric": metric_label(ends[1]), "low": low["r"], "high": high["r"]}
    if "no metric has clearly opposite" in claim.text:
        claim.holds("no sign flips", not sure)
        claim.says("that of {metric}, from {low} at", **{k: words[k] for k in ("metric", "low")})
        claim.says(f"{metric_label(ends[1])}, from {{x}} at {{level}} to {{high}} at {{other}}, ", x=low["r"],
                   level=low["level"], high=high["r"], other=high["level"])  # fmt: skip
        clear = [end["q"] < 0.05 for end in (low, high)]
        said = (
            "both clearly different from 0" if all(clear) else "neither of them clear" if not any(clear)
            else f"of which only the one at {(low if clear[0] else high)['level']} is clear"
        )  # fmt: skip
        claim.holds(said, said in claim.text)
    else:
        for name in dict.fromkeys(g for g, _ in flips):
            of = [m for g, m in flips if g == name]
            claim.says(f"with {name} for {{count}} metric", count=Range(sum(g == name for g, _ in sure), len(of)))
            widest = max(of, key=lambda m: spread[name, m])
            part = rows[(rows["grouping"] == name) & (rows["metric"] == widest) & (rows["q"] < 0.05)]
            top, bottom = part.loc[part["r"].idxmax()], part.loc[part["r"].idxmin()]
            claim.says(
                f"(most for {metric_label(widest)}: {{high}} at {{level}}, {{low}} at {{other}})",
                high=top["r"], level=top["level"], low=bottom["r"], other=bottom["level"],
            )  # fmt: skip
    if "change" in title.text:
        title.says("{count} metric", count=Range(len({m for _, m in sure}), len({m for _, m in flips})))
    elif title.text:
        title.says("{clear} of {all} cells", clear=clear_count(rows), all=len(rows))
        title.says("range is that of {metric} over {what} ({low} to {high})", **words)
        title.holds("that grouping", ends[0][:6] in title.text)
    return [claim, *([title] if title.text else [])]


def weight_of(networks: pd.DataFrame) -> pd.Series:
    """Mean absolute weight of an edge: half of strength times nodes, strength being divided by the edges."""
    name = "strength_norm" if "strength_norm" in networks else "strength"
    return networks[name] * networks["nodes"] / 2


def question_2(answer: Answer, evidence: Evidence) -> list[Claim]:
    """Verdict, sentences and titles of question 2."""
    every = metrics_that_vary(evidence)
    networks = evidence.sparse.assign(mean_abs_weight=weight_of(evidence.sparse))
    density = next(c for c in ("layer_density_mean", "rolled__direct_sparsity_mean", "unrolled__direct_sparsity_mean")
                   if c in networks and networks[c].notna().any())  # fmt: skip
    given = {"alone": [], "edges": ["edges"], "density": ["edges", density],
             "weights": ["edges", density, "mean_abs_weight"]}  # fmt: skip
    groups = alike(networks, every)
    kept = [group[0] for group in groups]
    metrics = [m for m in every if m in kept]
    networks = networks.dropna(subset=given["weights"])
    steps: dict[str, pd.DataFrame] = {}
    parts: dict[str, dict[str, Tested]] = {}
    for step, covariates in given.items():
        parts[step] = {}
        for scope, part in scopes(networks).items():
            one = tested(part, metrics, covariates)
            for scale in ("value", "log") if covariates else ():
                if scale == "value" or (part[covariates] > 0).all(axis=None):
                    other = tested(part, metrics, covariates, scale).table["p"]
                    one.table["p"] = np.where(one.table["p"].isna(), one.table["p"], np.fmax(one.table["p"], other))
            parts[step][scope] = one
        steps[step] = with_q(parts[step])
    known = steps["alone"].dropna(subset=["r"])
    main = known["scope"].iloc[0]
    of = {s: r[(r["scope"] == main) & r["r"].notna()].set_index("metric", drop=False) for s, r in steps.items()}
    shown = [step for step in of if len(of[step])]
    last = of[shown[-1]]
    if "z-scores" in answer.sentences[0]:
        return [Claim("2", answer.sentences[0])]
    assert answer.verdict is not None
    claims = [verdict := Claim("2 verdict", answer.verdict.sentence)]
    best = strongest(last)
    number, before = clear_count(last), clear_count(of["alone"])
    if "most of all" in verdict.text:
        verdict.says(f"{STEPS[shown[-1]]}, {{clear}} of {{all}} metrics clearly", clear=number, all=len(last))
        verdict.says("among {scope}, most of all {metric} (mean ρ {r}); with nothing held equal {before} do",
                     scope=among(main),
                     metric=metric_label(best), r=last.loc[best, "r"], before=before)  # fmt: skip
    else:
        verdict.says("{step}, none of {all} metrics clearly", step=Any((f"Can not tell: {STEPS[shown[-1]]}",
                     f"No: {STEPS[shown[-1]]}")), all=len(last))  # fmt: skip
        verdict.says("({before} with nothing held equal)", before=before)
        verdict.says("the largest mean ρ is {r}, of {metric};", r=last.loc[best, "r"], metric=metric_label(best))
        if "above" in verdict.text:
            share = 0.05 / steps[shown[-1]]["r"].notna().sum()
            value = least_found(parts[shown[-1]][main], share)
            verdict.says("only a mean |ρ| above {r} would have", r=near(value, 0.05))
    claims.append(sentence := Claim("2 sentence 1", answer.sentences[0]))
    claims.append(title := Claim("2 title controlled", answer.titles["controlled"]))
    sentence.says("Of {all} metrics among {scope} these", all=len(of["alone"]), scope=among(main))
    for step, claim in product(shown, (sentence, title)):
        if "whatever is held still" in claim.text:
            claim.holds(f"no metric is clear {STEPS[step]}", clear_count(of[step]).low == 0)
        else:
            claim.says_pattern(f"(none|[0-9]+) {STEPS[step]}(?=[,.;]| and (none|[0-9])|$)", clear_count(of[step]))
    if "the mean ρ of" in sentence.text:
        followed = [m for m in surely_clear(of["alone"]).index if m in last.index]
        still = [m for m in followed if last.loc[m, "q"] < 0.05] if (last["q"] < 0.05).any() else followed
        top = str(of["alone"].loc[still, "r"].abs().idxmax())
        sentence.says("the mean ρ of {metric} is ", metric=metric_label(top))
        tail = sentence.text.partition("the mean ρ of")[2]
        for step in shown:
            if top in of[step].index:
                sentence.says_pattern(
                    f"([+-][.0-9]+|0.00) {STEPS[step]}(?=[,.]| and [+-0]|$)", of[step].loc[top, "r"], tail
                )
    claims += [confounders(answer, evidence, networks, every, main), redundancy(answer, evidence, groups, every)]
    claims.append(edges := Claim("2 title confounders", answer.titles["confounders"]))
    edges.says("a median {ratio} times", ratio=edge_ratios(evidence.sparse).median())
    return claims


def edge_ratios(networks: pd.DataFrame) -> pd.Series:
    """Most edges over fewest, of every group with several algorithms."""
    ratios = []
    for _, group in networks[networks["edges"] > 0].groupby(GROUP):
        if len(set(group["pruner"])) > 1:
            ratios.append(group["edges"].max() / group["edges"].min())
    return pd.Series(ratios)


def plain_medians(networks: pd.DataFrame, metrics: list[str]) -> dict[str, float]:
    """Median over groups of the rank correlation over networks."""
    found: dict[str, list[float]] = {m: [] for m in metrics}
    for _, group in networks.groupby(GROUP):
        for metric in metrics:
            both = group[[metric, "accuracy"]].dropna()
            if len(both) >= 5 and len(set(both[metric])) > 1 and len(set(both["accuracy"])) > 1:
                found[metric].append(np.corrcoef(rankdata(both[metric]), rankdata(both["accuracy"]))[0, 1])
    return {m: float(np.median(r)) if r else np.nan for m, r in found.items()}


def confounders(answer: Answer, evidence: Evidence, networks: pd.DataFrame, metrics: list[str], main: str) -> Claim:
    """The sentence on edges, weights and families."""
    claim = Claim("2 sentence 2", answer.sentences[1])
    table = evidence.sparse.assign(mean_abs_weight=weight_of(evidence.sparse))
    ratios = edge_ratios(table)
    claim.says("a median {half} times those of the one with the fewest (at most {most})",
               half=ratios.median(), most=ratios.max())  # fmt: skip
    if "mean absolute weight" in claim.text:
        middle = table.pivot_table("mean_abs_weight", GROUP, "family", "median")
        base = "initial" if "initial" in middle else middle.columns[0]
        others = {f: (middle[f] / middle[base]).dropna().median() for f in middle if f != base}
        family = max((f for f in others if others[f] == others[f]), key=lambda f: abs(others[f] - 1))
        claim.says("; {family} networks have {ratio} times the mean absolute weight of {base} ones",
                   family=family, ratio=others[family], base=base)  # fmt: skip
    if "the median ρ goes from" in claim.text:
        one, all_of_them = (plain_medians(scopes(table)[s], metrics) for s in (main, EVERY))
        gap = {m: abs(one[m] - all_of_them[m]) for m in metrics if abs(one[m] - all_of_them[m]) >= 0}
        for metric in sorted(gap, key=lambda m: -gap[m])[:2]:
            claim.says_pattern(rf"([+-][.0-9]+|0\.00) to ([+-][.0-9]+|0\.00) for {re.escape(metric_label(metric))}",
                               one[metric], second=all_of_them[metric])  # fmt: skip
    return claim


def redundancy(answer: Answer, evidence: Evidence, groups: list[list[str]], metrics: list[str]) -> Claim:
    """The sentence on metrics that repeat another, and on Ramanujan metrics."""
    claim = Claim("2 sentence 3", answer.sentences[2])
    large = [group for group in groups if len(group) > 1]
    claim.says("{repeats} of {all} metrics", repeats=sum(len(g) - 1 for g in large), all=sum(map(len, groups)))
    for group in large[:3]:
        for metric in group[:4]:
            claim.holds(f"{metric_label(metric)} repeats", metric_label(metric) in claim.text)
    if "over layers the Ramanujan" in claim.text:
        assert evidence.layers is not None
        layers = evidence.layers[evidence.layers["encoding"] == "ramanujan"]
        found = {}
        for metric, name in (("delta_r", "delta r (bound)"), ("imdb", "iterative bound"), ("iwsg", "iterative gap")):
            if metric in layers and layers[metric].notna().any():
                found[name] = (ranks_together(layers, metric),
                               [ranks_together(part, metric) for _, part in layers.groupby("pruner")])  # fmt: skip
        name = max(found, key=lambda n: abs(found[n][0]))
        r, each = found[name]
        claim.says("Ramanujan metric {name} has ρ {r} with their density ({low} to {high} in", name=name, r=r,
                   low=min(each), high=max(each))  # fmt: skip
    return claim


def ranks_together(layers: pd.DataFrame, metric: str) -> float:
    """Rank correlation of a metric of layers with their density."""
    both = layers[[metric, "layer_density"]].replace([np.inf, -np.inf], np.nan).dropna()
    return float(np.corrcoef(rankdata(both[metric]), rankdata(both["layer_density"]))[0, 1])
