"""Questions 3 and 7 computed anew: what metrics explain, and what forests and past results predict."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from topo.questions.answer import Answer
from topo.results.evidence import Evidence
from topo.results.feature_sets import BASELINES, encodings_of, feature_sets, mask_only_set, set_label

from .claims import Any, Claim, Range, near
from .correlating import adjusted
from .predicting import CELLS, HeldOut, Predictions, explained, gain, with_drop, with_values

HOLDS = {"dataset": "unseen dataset", "model": "unseen model", "pruner": "unseen algorithm", "seed": "unseen seed"}
WAYS = {f"unseen {word}s": hold for hold, word in
        (("dataset", "dataset"), ("model", "model"), ("pruner", "algorithm"), ("seed", "seed"))}  # fmt: skip
# q of differences that are clear whatever the seed of the forests is, and of those that are with some seed.
SURELY_CLEAR_TO_MAYBE = (0.03, 0.08)
STRONGEST = ("sparsity × model", "family × model × sparsity", "algorithm × model × sparsity")


def cells_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """Baselines of names that differ from each other on this table."""
    found: dict[str, list[str]] = {}
    for name, columns in CELLS.items():
        several = [c for c in columns if len(set(table[c])) > 1]
        if several and several not in found.values():
            found[name] = several
    return found


def as_good(values: dict[str, float], best: str, tolerance: float) -> Any:
    """The names whose value is within a tolerance of the best one's."""
    return Any(tuple(name for name, value in values.items() if abs(value - values[best]) <= tolerance))


def points(of: HeldOut) -> Range:
    """A mean error in points of accuracy, as near as another forest comes."""
    return near(100 * of.error, of.points_off + 3 * of.error)


def share(of: HeldOut) -> Range:
    """R2, as near as another forest comes."""
    return near(of.r2, of.r2_off)


def question_3(answer: Answer, evidence: Evidence) -> list[Claim]:
    """Verdict, sentences and titles of question 3."""
    table = with_drop(evidence)
    sets = feature_sets(table)
    table = with_values(table, sets)
    fits = {("drop", i, n): explained(table, c, "drop", i, 300)
            for i in (False, True) for n, c in sets.items() if c}  # fmt: skip
    one, two = Claim("3 sentence 1", answer.sentences[0]), Claim("3 sentence 2", answer.sentences[1])

    one.says("an adjusted R² of {own} of the accuracy drop (", own=fits["drop", False, "multipartite"][0])
    one.says(
        "({chance} with the names of the algorithms permuted", chance=near(fits["drop", False, "multipartite"][1], 0.02)
    )
    if "without metrics of trained weights" in one.text:
        one.says_pattern(r" and ([-0-9.]+) without metrics of", fits["drop", False, "multipartite_untrained"][0])
    raw = [n for n in sets if n.removesuffix("_norm") in encodings_of(sets)]
    top = max(raw, key=lambda n: fits["drop", False, n][0])
    one.says_pattern(r"of single layers \((.+?)\) ([-0-9.]+)\.$", set_label(top), second=fits["drop", False, top][0])
    own = fits["drop", True, "multipartite"]
    two.says("explain {own} (by chance {chance}), the best", own=own[0], chance=near(own[1], 0.02))
    best = max(raw, key=lambda n: fits["drop", True, n][0])
    value = fits["drop", True, best]
    two.says("set of single layers ({name}) {own} (by chance {chance}), and", name=set_label(best), own=value[0],
             chance=near(value[1], 0.02))  # fmt: skip
    sizes = {n: fits["drop", True, n][0] for n in BASELINES if ("drop", True, n) in fits}
    sizes = {n: v for n, v in sizes.items() if v == v}
    two.says_pattern(
        r"Ramanujan metrics \((.+)\) ([-−0-9.]+)\.$",
        set_label(max(sizes, key=sizes.__getitem__)), second=max(sizes.values()),
    )  # fmt: skip
    title = Claim("3 title adjusted_r2", answer.titles["adjusted_r2"])
    for inside, words in ((False, "Pooled, "), (True, "within groups, ")):
        values = {n: fits["drop", inside, n] for n, c in sets.items() if c and fits["drop", inside, n][0] == fits[
            "drop", inside, n][0]}  # fmt: skip
        top = max(values, key=lambda n: values[n][0])
        title.says(f"{words}{{name}} explains most: {{own}} (by chance {{chance}})", name=set_label(top),
                   own=values[top][0], chance=near(values[top][1], 0.02))  # fmt: skip
    return [*held_out_claims(answer, table, sets), one, two, title]


@dataclass
class Clear:
    """How many differences of a kind are clear: surely, and with some seed of the forests."""

    tests: int = 0
    smaller: np.ndarray = field(default_factory=lambda: np.zeros(2))
    larger: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def add(self, q: np.ndarray, difference: np.ndarray) -> None:
        """Count the tests of one table."""
        self.tests += len(q)
        for at, level in enumerate(SURELY_CLEAR_TO_MAYBE):
            self.smaller[at] += ((q < level) & (difference > 0)).sum()
            self.larger[at] += ((q < level) & (difference < 0)).sum()


def comparisons(claim: Claim, said: dict[str, Clear]) -> None:
    """In how many comparisons the error of multipartite metrics is said to be clearly smaller and larger."""
    if re.search("none of [0-9]+ tested", claim.text):
        claim.says_pattern(r"one of ([0-9]+) tested", sum(of.tests for of in said.values()))
        claim.holds("none is clear", not any(of.smaller[0] or of.larger[0] for of in said.values()))
        return
    for name, of in said.items():
        claim.says_pattern(
            f"than that of {name} in ([0-9]+|none) of ([0-9]+)", Range(*of.smaller.tolist()), second=of.tests
        )
        larger = claim.text.partition("clearly larger")[2]
        if f"than that of {name} in " in larger:
            claim.says_pattern(f"than that of {name} in ([0-9]+)", Range(*of.larger.tolist()), larger)
        else:
            claim.holds(f"none is clearly larger than that of {name}", of.larger[0] == 0)


def held_out_claims(answer: Answer, table: pd.DataFrame, sets: dict[str, list[str]]) -> list[Claim]:
    """What is said of predictions."""
    layers = [f"{e}_norm" if f"{e}_norm" in sets else e for e in encodings_of(sets)]
    masks = [n for e in encodings_of(sets) if (n := mask_only_set(sets, e))]
    own = mask_only_set(sets, "multipartite")
    names = dict.fromkeys([*BASELINES, "multipartite", *([own] if own else []), *layers, *masks])
    chosen = {n: sets[n] for n in names if n in sets}
    cells = cells_of(table)
    made = Predictions(table, chosen, cells, 6)
    holds = [h for h in ("dataset", "model", "pruner") if len(set(table[h])) > 1] or ["seed"]
    claims = [verdict := Claim("3 verdict", answer.verdict.sentence if answer.verdict else "")]
    claims.append(three := Claim("3 sentence 3", answer.sentences[2]))
    claims.append(title := Claim("3 title held_out_r2", answer.titles["held_out_r2"]))
    topology = [n for n in chosen if n not in BASELINES]
    for hold in holds:
        r2 = {n: made.of(n, hold).r2 for n in (*chosen, *cells)}
        of_names = {n: r2[n] for n in cells}
        past = max(of_names, key=of_names.__getitem__)
        off = max(made.of(n, hold).r2_off for n in topology)
        if hold == holds[-1]:
            words = {set_label(n): r2[n] for n in layers_of(chosen)}
            best = max(words, key=words.__getitem__)
            three.says("has an R² of {own} from the multipartite", own=share(made.of("multipartite", hold)))
            three.says_pattern(r"and ([-0-9.]+) from the best set of single layers \((.+?)\)[;.]",
                               near(words[best], off), second=as_good(words, best, off))  # fmt: skip
            three.says("past results by {name} have {value};", name=past, value=r2[past])
        every = {(n if n in cells else set_label(n)): v for n, v in r2.items()}
        top = max(every, key=every.__getitem__)
        title.says_pattern(f"{HOLDS[hold]} ([^()]+) \\(([-0-9.]+)\\)", as_good(every, top, off),
                           second=near(every[top], off))  # fmt: skip
    kinds = {
        "layers": [("multipartite", n) for n in (*layers, "ramanujan") if n in chosen],
        "mask only": [(own, n) for n in masks] if own else [],
        "names": [("multipartite", n) for n in STRONGEST if n in cells],
    }
    gains, number, said = {}, {}, {"single layers": Clear(), "past results": Clear()}
    for kind, pairs in kinds.items():
        rows = []
        for inside in (False, True):
            number[kind, inside] = 0
            for hold in holds:
                seen: list[np.ndarray] = []
                for first, second in dict.fromkeys(pairs):
                    predicted = made.of(second, hold, inside)
                    if any(np.allclose(predicted.predicted, other, rtol=1e-9, atol=1e-12) for other in seen):
                        continue
                    seen.append(predicted.predicted)
                    gains[kind, inside, hold, second] = gain(table, made.of(first, hold, inside), predicted, inside)
                    rows.append(gains[kind, inside, hold, second])
                    number[kind, inside] += 1
        q = adjusted(np.array([row.p for row in rows]))
        said["past results" if kind == "names" else "single layers"].add(q, np.array([row.difference for row in rows]))
    if "paired_differences" in answer.titles:
        claims.append(Claim("3 title paired_differences", answer.titles["paired_differences"]))
    for claim in (three, *claims[3:]):
        comparisons(claim, {name: of for name, of in said.items() if of.tests})
    if "importance" in answer.titles:
        claims.append(further := Claim("3 title importance", answer.titles["importance"]))
        further.skip("permutation importance of a ridge regression with folds and draws of its own")
    hold = next((h for words, h in WAYS.items() if f"on {words}" in verdict.text), holds[-1])
    if verdict.text.startswith("Can not tell"):
        errors = {set_label(n): made.of(n, hold).error for n in layers_of(chosen)}
        least = min(errors, key=errors.__getitem__)
        verdict.says("is {own} points from", own=points(made.of("multipartite", hold)))
        layer = made.of(next(n for n in layers_of(chosen) if set_label(n) == least), hold)
        verdict.says_pattern(r"metrics and ([0-9.]+) points from (.+?)[;.]", points(layer),
                             second=as_good(errors, least, 0.006))  # fmt: skip
        said = re.search(r"points from ([^;]+);", verdict.text[verdict.text.find(" metrics and ") :])
        name = next((n for n in chosen if said and set_label(n) == said[1]), layers[0])
        of = gains.get(("layers", False, hold, name))
        if of is not None and "a difference of" in verdict.text:
            value = 100 * of.found(number["layers", False])
            verdict.says("a difference of {found} points", found=near(value, 0.25 * value))
    past = {n: made.of(n, hold).error for n in cells}
    least = min(past, key=past.__getitem__)
    verdict.says_pattern(
        r"Without topology, (.+) has ([0-9.]+) points", as_good(past, least, 1e-9), second=100 * past[least]
    )
    return claims


def layers_of(names: dict[str, list[str]]) -> list[str]:
    """The sets of single layers."""
    encodings = encodings_of(names)
    return [n for n in names if n.removesuffix("_untrained").removesuffix("_norm") in encodings]


def question_7(answer: Answer, evidence: Evidence) -> list[Claim]:
    """Verdict, sentences and titles of question 7."""
    table = with_drop(evidence)
    table = table[table["family"] == "initial"].reset_index(drop=True)
    known = feature_sets(table)
    heads = ("multipartite", *encodings_of(known))
    mask = list(dict.fromkeys(c for h in heads if (n := mask_only_set(known, h)) for c in known[n]))
    setting = ["sparsity", "model", "dataset"]
    sets = {"mean of training rows": [], "sparsity": known.get("sparsity", [])}
    for name, label in (("density", "layer density"), ("ramanujan", "Ramanujan")):
        if chosen := mask_only_set(known, name):
            sets[f"{label} + sparsity, model, dataset"] = [*known[chosen], *setting]
    sets |= {"mask metrics + sparsity": [*mask, "sparsity"], "mask": [*mask, *setting]}
    table = with_values(table, {n: [c for c in columns if c not in setting] for n, columns in sets.items()})
    cells = cells_of(table)
    made = Predictions(table, sets, cells, 8)
    holds = [h for h in HOLDS if len(set(table[h])) > 1]
    others = [n for n in (*sets, *cells) if not n.startswith("mask")]
    one, two, three = (Claim(f"7 sentence {i}", text) for i, text in enumerate(answer.sentences, 1))
    verdict = Claim("7 verdict", answer.verdict.sentence if answer.verdict else "")
    predicted = Claim("7 title predicted", answer.titles["predicted"])
    baseline = {}
    for hold in holds:
        own, errors = made.of("mask", hold), {n: made.of(n, hold).error for n in others}
        way = next(w for w, h in WAYS.items() if h == hold)
        one.says_pattern(f"{way} to ([0-9.]+) points \\(R² ([-0-9.]+)\\)", points(own), second=share(own))
        baseline[hold] = least = min(errors, key=errors.__getitem__)
        said = re.search(f"points on {way} \\((.+?)\\)(?:[,;]| and )", two.text)
        two.holds(f"the best for {hold} is {least}", bool(said) and said[1] in as_good(errors, least, 0.004).of)
        of = made.of(said[1], hold) if said and said[1] in others else made.of(least, hold)
        two.says_pattern(f"([0-9.]+) points on {way}", points(of))
        predicted.says_pattern(f"([-0-9.]+) on {way}", share(own))
    compared = [n for n in (*STRONGEST, *sets) if (n in cells or n in sets) and n in (*STRONGEST, *list(sets)[2:4])]
    tests, gains = 0, {}
    for hold in holds:
        seen: list[np.ndarray] = []
        for name in compared:
            values = made.of(name, hold)
            if name not in others or any(np.allclose(values.predicted, o, rtol=1e-9, atol=1e-12) for o in seen):
                continue
            seen.append(values.predicted)
            gains[hold, name] = gain(table, made.of("mask", hold), values, False)
            tests += 1
    q = dict(zip(gains, adjusted(np.array([g.p for g in gains.values()])), strict=True))
    for (hold, name), value in q.items():
        for sign, word in ((1, "better"), (-1, "worse")):
            start = two.text.find(f"clearly {word} for an {HOLDS[hold]} than ")
            after = two.text[start:].split(" than ")[1] if start >= 0 else ""
            said = name in after.partition(", clearly ")[0]
            true = sign * gains[hold, name].difference > 0
            if said and true and 0.05 <= value < 0.15:
                two.unknown.append(
                    f"clearly {word} than {name}: here q is {value:.3f}, it hangs on the seed of the forests"
                )
            elif said:
                two.holds(f"clearly {word} than {name} ({hold}: q {value:.3f})", true and value < 0.05)
            elif true and value < 0.03:
                two.unknown.append(f"with these forests clearly {word} than {name} too ({hold}: q {value:.3f})")
    if "no difference is clear" in two.text:
        two.holds("no difference is clear", min(q.values()) > 0.03)
    hold = next(h for words, h in WAYS.items() if f"on {words}" in verdict.text)
    verdict.says("accuracy to {own} points", own=points(made.of("mask", hold)))
    errors = {n: made.of(n, hold).error for n in others}
    verdict.says_pattern(r"points, (.+?) to ([0-9.]+)[;.](?: |$)", as_good(errors, baseline[hold], 0.004),
                         second=points(made.of(baseline[hold], hold)))  # fmt: skip
    if "a difference of" in verdict.text:
        value = 100 * gains[hold, baseline[hold]].found(tests) if (hold, baseline[hold]) in gains else np.nan
        verdict.says("a difference of {found} points", found=near(value, 0.25 * value) if value == value else None)
    error = Claim("7 title error", answer.titles["error"])
    hold = next(h for words, h in WAYS.items() if f"n {words}" in error.text)
    error.says_pattern(r"accuracy to ([0-9.]+) points, .+ to ([0-9.]+)\.", points(made.of("mask", hold)),
                       second=points(made.of(baseline[hold], hold)))  # fmt: skip
    fails = Claim("7 title where_it_fails", answer.titles["where_it_fails"])
    worst(three, fails, table, made, holds)
    return [verdict, one, two, three, error, predicted, fails]


def worst(claim: Claim, title: Claim, table: pd.DataFrame, made: Predictions, holds: list[str]) -> None:
    """Where the prediction fails most."""
    groups = {}
    for hold in holds:
        of = made.of("mask", hold)
        for name in table[hold].unique():
            here = (table[hold] == name).to_numpy()
            wrong = of.predicted[here] - of.actual[here]
            at = pd.Series(np.abs(wrong)).groupby(table.loc[here, "sparsity"].to_numpy()).mean()
            groups[f"{name} left out ({HOLDS[hold]}"] = (np.abs(wrong).mean(), wrong.mean(), at.idxmax(), at.max())
    said = re.search(r"most for (.+?): mean error", claim.text)
    most = max(groups, key=lambda n: groups[n][0])
    off = max(made.of("mask", hold).points_off for hold in holds)
    # Of groups that are as bad as each other the seed of a forest decides which is worst.
    claim.holds(f"{most} is worst", bool(said) and 100 * (groups[most][0] - groups[said[1]][0]) <= 2 * off)
    most = said[1] if said and said[1] in groups else most
    error, bias, sparsity, there = groups[most]
    claim.says("bias {bias}), there most at sparsity {sparsity} ({there} points)", bias=near(100 * bias, 3 * off),
               sparsity=float(sparsity), there=near(100 * there, 3 * off))  # fmt: skip
    claim.says("mean error {error} points", error=near(100 * error, 2 * off))
    title.says("worst for {group} left out: {error} points", group=most.partition(" left out")[0],
               error=near(100 * error, 2 * off))  # fmt: skip
