"""What a report says beside the questions, computed anew: what was run, what collapsed, accuracies, sizes, copies."""

from __future__ import annotations

import re
from itertools import permutations

import numpy as np
import pandas as pd

from topo.report import findings
from topo.results.copies import copies_sentence
from topo.results.evidence import Evidence
from topo.results.schema import metric_column, metric_label
from topo.stats import accuracy_summary

from .claims import Any, Claim
from .correlating import GROUP, alike

PAIR = ["dataset", "model"]


def number_of_copies(networks: pd.DataFrame) -> int:
    """Sparse networks whose metrics of the mask are all those of another one of the same group and seed."""
    columns = [c for c in networks if (known := metric_column(c)) is not None and not known.reads_weights]
    sparse = networks[networks["pruner"] != "dense"]
    varied = sparse.groupby(GROUP)[columns].transform("nunique") >= 3
    enough = (sparse[columns].notna() & varied).sum(axis=1) >= 5
    return int(sparse[enough].duplicated([*GROUP, "seed", *columns]).sum())


def report_claims(evidence: Evidence) -> list[Claim]:
    """The sentences of a report about the networks."""
    networks = evidence.networks
    sparse, dense = networks[networks["pruner"] != "dense"], networks[networks["pruner"] == "dense"]
    copies = number_of_copies(networks)
    run = Claim("0 what was run", findings.run_sentence(networks, int((evidence.copies != "").sum())))
    run.says("{sparse} sparse networks", sparse=len(sparse) - copies)
    if copies:
        run.says("({copies} more are", copies=copies)
    for noun, column in (("datasets?", "dataset"), ("models?", "model"), ("pruners?", "pruner"), ("seeds?", "seed"),
                         ("sparsit(?:y|ies)", "sparsity")):  # fmt: skip
        run.says_pattern(f"([0-9]+) {noun}", sparse[column].nunique())
    levels = [f"{round(100 * s, 3):g}%" for s in sorted(sparse["sparsity"].unique())]
    run.holds(f"sparsities {levels}", all(level in run.text for level in levels))
    run.says_pattern(r"\(([0-9.]+%)", float(sorted(sparse["sparsity"].unique())[0]))
    for level in sorted(sparse["sparsity"].unique())[1:]:
        run.says_pattern(rf"[ ,]({round(100 * level, 3):g}%)", float(level))
    if len(dense):
        run.says("beside {dense} dense", dense=len(dense))
    claims = [run]
    if collapsed := findings.collapsed_sentence(networks):
        claims.append(claim := Claim("0 collapsed", collapsed))
        claim.says_pattern(r"^([0-9,]+) of ([0-9,]+) network", near_chance(networks), second=len(networks))
    if same := copies_sentence(networks, evidence.copies):
        claims.append(claim := Claim("0 copies", same))
        claim.says_pattern("^([0-9]+) network", copies)
        claim.holds("the pairs add up", sum(map(int, re.findall(r"\((\d+)\)", same))) == copies)
        claim.says_pattern("(.*)", same)
    for text in findings.accuracy_findings(accuracy_summary(networks)):
        claims.append(accuracy(Claim("0 accuracy", text), networks))
    if size := findings.size_finding(networks):
        claims.append(claim := Claim("0 sizes", size))
        known = sparse[sparse["edges"] > 0].groupby([*GROUP, "pruner"])["edges"].mean()
        ratio = known.groupby(GROUP).agg(["max", "min", "size"]).query("size > 1").eval("max / min")
        claim.says("a median factor of {median} (at most {most})", median=ratio.median(), most=ratio.max())
    claims.append(
        claim := Claim("0 repeated metrics", findings.without_twins(evidence.sparse, evidence.whole_network_metrics)[1])
    )
    if claim.text:
        claim.says("least {threshold} over", threshold=0.98)
        groups = alike(evidence.sparse, varying(evidence))
        for group in groups:
            if len(group) > 1:
                claim.holds(f"{group} repeat each other", all(metric_label(m) in claim.text for m in group))
        claim.holds("so many groups", claim.text.count(" for ") == sum(len(g) > 1 for g in groups))
    return claims


def varying(evidence: Evidence) -> list[str]:
    """Metrics of the whole network that have two values."""
    return [m for m in evidence.whole_network_metrics if len(set(evidence.sparse[m].dropna())) > 1]


def near_chance(networks: pd.DataFrame) -> int:
    """Networks without a path, or with an accuracy near that of guessing."""
    pairs = [networks[c] for c in PAIR]
    dense = networks["accuracy"].where(networks["pruner"] == "dense").groupby(pairs).transform("mean")
    reference = dense.fillna(networks["accuracy"].groupby(pairs).transform("max"))
    if "dense_accuracy" in networks:
        reference = networks["dense_accuracy"].astype(float).fillna(reference)
    chance = networks["chance"] if "chance" in networks else 1 / networks["classes"]
    limit = chance + 0.1 * (reference - chance).clip(lower=0)
    if "test_samples" in networks:
        limit = np.fmax(limit, chance + 3 * np.sqrt(chance * (1 - chance) / networks["test_samples"]))
    lost = (networks["status"] == "collapsed") | (networks["accuracy"] <= limit + 1e-12)
    return int((lost & networks["accuracy"].notna()).sum())


def accuracy(claim: Claim, networks: pd.DataFrame) -> Claim:
    """Which pruners are the best and worst of a dataset and model."""
    place = claim.text.partition(" at ")[0].split(" · ")
    part = networks[(networks["dataset"] == place[0]) & (networks["model"] == place[1])]
    sparse, dense = part[part["pruner"] != "dense"], part[part["pruner"] == "dense"]
    counts = sparse.groupby("sparsity")["pruner"].nunique()
    top = counts[counts == counts.max()].index.max()
    here = sparse[sparse["sparsity"] == top].groupby("pruner")["accuracy"].agg(["mean", "size"])
    best, worst = here["mean"].max(), here["mean"].min()
    joined = {True: [], False: []}
    for name, row in here.sort_values("mean", kind="stable").iterrows():
        if np.isclose(row["mean"], best):
            joined[True].append(name)
        if np.isclose(row["mean"], worst):
            joined[False].append(name)

    def listed(names: list[str]) -> Any:
        return Any(tuple(" and ".join(filter(None, [", ".join(o[:-1]), o[-1]])) for o in permutations(names)))

    claim.says("at {sparsity} sparsity: {best} ", sparsity=float(top), best=None)
    claim.unknown.clear()
    verb = "are" if len(joined[True]) > 1 else "is"
    claim.says(f"sparsity: {{best}} {verb} the most accurate ({{mean}}%", best=listed(joined[True]), mean=100 * best)
    claim.says_pattern("mean of ([0-9]+) seeds|one seed", int(here["size"].max()) if "mean of" in claim.text else None)
    if "points" in claim.text:
        gap = 100 * (best - dense["accuracy"].mean())
        claim.says("seeds, {points} points {side} dense", points=abs(gap), side="above" if gap > 0 else "below")
    claim.says("), {worst} the least ({mean}%)", worst=listed(joined[False]), mean=100 * worst)
    if "overlap" in claim.text:
        ranked = here.sort_values("mean", ascending=False, kind="stable").index
        first, second = ranked[0], ranked[len(joined[True])]
        seeds = sparse[sparse["sparsity"] == top].set_index("pruner")["accuracy"]
        claim.says("the seeds of {best} and of {second} overlap", best=first, second=second)
        claim.holds("seeds overlap", seeds.loc[first].min() <= seeds.loc[second].max())
    return claim
