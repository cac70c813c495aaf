"""What question 3 says of its tables: verdict, sentences, titles, and the table for the page."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan

import pandas as pd

from ..errors import counted
from ..results.feature_sets import BASELINES, WHOLE_NETWORK, encodings_of, set_label
from ..results.labels import decimal, in_points, listed
from ..stats.baselines import CELL_LABELS, strongest
from ..stats.significance import significant
from .answer import Said, Verdict
from .grouping import HELD_OUT

__all__ = [
    "columns",
    "differences_title",
    "explained_title",
    "held_out_title",
    "power_text",
    "sentences",
    "summary_table",
    "verdict",
]

UNTRAINED = f"{WHOLE_NETWORK}_untrained"
MOST_ROWS = 15
# Baselines that the page does without where there are many encodings: others know all that these do.
FIRST_LEFT_OUT = ("edges_density", "algorithm", "family", "algorithm_model", "sparsity")
# The order in which a verdict looks for a way of holding out: algorithms are the units of evidence.
HOLDS = ("pruner", "model", "dataset", "seed")
WAYS = {"pruner": "unseen algorithms", "model": "unseen models", "dataset": "unseen datasets", "seed": "unseen seeds"}
COLUMNS = {
    "inputs": "What is predicted from; 'mask only' leaves out what contains trained weights.",
    "R²": "Adjusted R² of least squares on the accuracy drop, all networks together.",
    "by chance": "The same with the names of the algorithms permuted.",
    "R² in groups": "Adjusted R² inside groups of equal dataset, model and sparsity.",
    "by chance in groups": "The same with the names of the algorithms permuted.",
    **{text: f"R² of a forest, or of the mean of cells, on {WAYS[hold]}." for hold, text in HELD_OUT.items()},
}


def label(name: str) -> str:
    """Inputs of a prediction as tables, figures and sentences write them."""
    return CELL_LABELS.get(name) or set_label(name)


def _forest(scores: pd.DataFrame, scope: str = "pooled", value: str = "r2") -> pd.DataFrame:
    """Held-out scores by way and inputs, of the forest and of what needs none."""
    shown = scores[scores["model"].isin(["forest", "mean", "cells"]) & (scores["scope"] == scope)]
    return shown.pivot_table(index="features", columns="held_out", values=value, sort=False)


def _layer_sets(names: pd.Index) -> list[str]:
    encodings = encodings_of(n for n in names if n not in CELL_LABELS)
    return [name for name in names if name.removesuffix("_untrained").removesuffix("_norm") in encodings]


def verdict(scores: pd.DataFrame, differences: pd.DataFrame, *, with_chance: pd.DataFrame) -> Verdict:
    """Whether the metrics of the whole network predict better than those of layers.

    Parameters
    ----------
    scores
        Held-out scores.
    differences
        Tested differences.
    with_chance
        What metrics explain, beside what chance explains; it does not decide.

    Notes
    -----
    Yes: on one way of holding out the multipartite metrics are clearly better than those of every layer-wise encoding,
    and nowhere clearly worse than one. No: clearly worse than one somewhere, and nowhere clearly better than all.
    """
    layers = differences[differences["against"] != "no topology"]
    clear = significant(layers)
    better = clear & (layers["difference"] > 0)
    keys = ["scope", "held_out", "against"]
    beaten = layers.assign(better=better).groupby(keys, sort=False)["better"].agg(["all", "size"])
    all_beaten = beaten[beaten["all"]]
    worse = layers[clear & (layers["difference"] < 0)]
    if len(all_beaten) and worse.empty:
        scope, hold, _ = all_beaten.index[0]
        part = layers[(layers["scope"] == scope) & (layers["held_out"] == hold)]
        least = part.loc[part["difference"].idxmin()]
        said: Said = "yes"
        start = f"Yes, on {WAYS[hold]}: "
        text = f"the mean error is {in_points(least['difference'])} smaller than from {set_label(least['second'])}"
        text += _scope(scope)
    elif len(worse) and all_beaten.empty:
        most = worse.loc[worse["difference"].idxmin()]
        scope, hold = most["scope"], most["held_out"]
        said, start = "no", f"No: on {WAYS[hold]} "
        less = f"{in_points(-most['difference'])} smaller{_scope(scope)}"
        text = f"the mean error from {set_label(most['second'])} is {less}"
    else:
        table = _forest(scores, value="mae")
        hold, scope = next(h for h in HOLDS if h in table), "pooled"
        said, start = "open", f"Can not tell: on {WAYS[hold]} "
        layer = table.loc[_layer_sets(table.index), hold].dropna()
        own = table[hold].get(WHOLE_NETWORK, nan)
        text = f"the mean error is {in_points(own)} from multipartite metrics"
        if len(layer):
            text += f" and {in_points(layer.min())} from {set_label(str(layer.idxmin()))}"
        part = layers[(layers["held_out"] == hold) & (layers["scope"] == scope)]
        text += power_text(part[part["second"] == layer.idxmin()] if len(layer) else part, layer.min())
    return Verdict(said, f"{start}{text}{_against_names(scores, differences, scope, hold)}.")


def _scope(scope: str) -> str:
    return "" if scope == "pooled" else " within groups"


def power_text(part: pd.DataFrame, error: float) -> str:
    """The difference that would have been found, or that the table can show none.

    Parameters
    ----------
    part
        The test that is meant.
    error
        Mean error that is compared with: no prediction can be better by more than all of it.
    """
    found = part.dropna(subset="detectable")
    if found.empty:
        return "; too few algorithms for a test"
    row = found.loc[found["detectable"].idxmin()]
    if row["detectable"] < error:
        return f"; a difference of {in_points(row['detectable'])} would have been found in 80% of cases"
    units = [counted(int(row[c]), noun) for c, noun in (("algorithms", "algorithm"), ("pairs", "pair")) if row[c] > 0]
    text = f"; {listed(units)} of dataset and model" if row["pairs"] > 0 else f"; {listed(units)}"
    return f"{text} are too few to tell the two apart"


def _against_names(scores: pd.DataFrame, differences: pd.DataFrame, scope: str, hold: str) -> str:
    table = _forest(scores, scope, "mae")
    cells = table.loc[[n for n in table.index if n in CELL_LABELS], hold].dropna()
    if cells.empty:
        return ""
    best = str(cells.idxmin())
    of = (differences[["scope", "held_out", "second"]] == [scope, hold, best]).all(axis=1) & significant(differences)
    clearly = [", clearly more" if size > 0 else ", clearly less" for size in differences.loc[of, "difference"]]
    return f". Without topology, {label(best)} has {in_points(cells.min())}{''.join(clearly[:1])}"


def sentences(explained: pd.DataFrame, scores: pd.DataFrame, differences: pd.DataFrame) -> tuple[str, str, str]:
    """Explained pooled, explained within groups, and predicted.

    Parameters
    ----------
    explained
        What metrics explain, beside what chance explains.
    scores
        Held-out scores.
    differences
        Tested differences.
    """
    return _pooled(explained), _within_groups(explained), _predicted(scores, differences)


def _fits(explained: pd.DataFrame, scope: str) -> pd.DataFrame:
    """What every set explains of the accuracy drop, pooled or within groups."""
    of = explained[(explained["target"] == "drop") & (explained["scope"] == scope)]
    return of.set_index("features")


def _best_layers(fits: pd.DataFrame) -> str | None:
    """The set of single layers that explains most."""
    layers = [n for n in _layer_sets(fits.index) if not n.endswith("_untrained")]
    known = fits.loc[layers, "adjusted_r2"].dropna()
    return str(known.idxmax()) if len(known) else None


def _pooled(explained: pd.DataFrame) -> str:
    fits = _fits(explained, "pooled")
    own = fits["adjusted_r2"].get(WHOLE_NETWORK, nan)
    if not isfinite(own):
        text = "Pooled, the multipartite metrics cannot be fitted"
    else:
        aside = []
        if isfinite(chance := fits.loc[WHOLE_NETWORK, "chance"]):
            aside.append(f"{decimal(chance)} with the names of the algorithms permuted")
        if isfinite(untrained := fits["adjusted_r2"].get(UNTRAINED, nan)):
            aside.append(f"{decimal(untrained)} without metrics of trained weights")
        text = f"Pooled, the multipartite metrics explain an adjusted R² of {decimal(own)} of the accuracy drop"
        text += f" ({listed(aside)})" if aside else ""
    if best := _best_layers(fits):
        text += f", the best set of single layers ({set_label(best)}) {decimal(fits.loc[best, 'adjusted_r2'])}"
    return f"{text}."


def _within_groups(explained: pd.DataFrame) -> str:
    fits = _fits(explained, "within groups")
    text = "Within groups of equal dataset, model and sparsity they "
    own = fits["adjusted_r2"].get(WHOLE_NETWORK, nan)
    text += f"explain {_with_chance(fits.loc[WHOLE_NETWORK])}" if isfinite(own) else "cannot be fitted"
    if best := _best_layers(fits):
        text += f", the best set of single layers ({set_label(best)}) {_with_chance(fits.loc[best])}"
    base = fits.loc[fits.index.isin(BASELINES), "adjusted_r2"].dropna()
    if len(base):
        text += f", and the best of sizes, densities and Ramanujan metrics ({set_label(str(base.idxmax()))}) "
        text += decimal(base.max())
    return f"{text}."


def _predicted(scores: pd.DataFrame, differences: pd.DataFrame) -> str:
    table = _forest(scores)
    hold = next((h for h in HOLDS if h in table and isfinite(table[h].get(WHOLE_NETWORK, nan))), None)
    if hold is None:
        text = "Held out, no forest can be fitted"
    else:
        r2 = table[hold].dropna()
        text = f"On {WAYS[hold]} a forest has an R² of {decimal(r2[WHOLE_NETWORK])} from the multipartite metrics"
        layers = r2[_layer_sets(r2.index)]
        if len(layers):
            text += f" and {decimal(layers.max())} from the best set of single layers ({set_label(layers.idxmax())})"
        names = r2[[n for n in r2.index if n in CELL_LABELS]]
        if len(names):
            text += f"; past results by {label(names.idxmax())} have {decimal(names.max())}"
    if not differences["p"].notna().any():
        return f"{text}; too few algorithms to test differences."
    return f"{text}; {_clearly(differences)}."


def _clearly(differences: pd.DataFrame) -> str:
    """In how many comparisons with single layers, and with past results, the multipartite error is clearly another."""
    tested = differences[differences["p"].notna()]
    past = tested["against"] == "no topology"
    kinds = {"single layers": tested[~past], "past results": tested[past]}
    kinds = {name: part for name, part in kinds.items() if len(part)}
    clear = {name: part[significant(part)] for name, part in kinds.items()}
    if not any(map(len, clear.values())):
        return f"none of {counted(len(tested), 'tested difference')} from {listed([*kinds])} is clear"
    smaller: list[str] = []
    for name, part in kinds.items():
        found = clear[name][clear[name]["difference"] > 0]
        count = f"{len(found) or 'none'} of {counted(len(part), 'comparison') if not smaller else len(part)}"
        where = found[["scope", "held_out"]].drop_duplicates().to_numpy().tolist()
        every = f" (on {WAYS[where[0][1]]}{_scope(where[0][0])})" if len(where) == 1 else ""
        smaller.append(f"than that of {name} in {count}{every}")
    larger = {name: int((part["difference"] < 0).sum()) for name, part in clear.items()}
    text = f"the error of multipartite metrics is clearly smaller {listed(smaller)}"
    if not any(larger.values()):
        return f"{text}, and clearly larger in none"
    return f"{text}, and clearly larger {listed([f'than that of {n} in {larger[n]}' for n in larger if larger[n]])}"


def _with_chance(row: pd.Series) -> str:
    return decimal(row["adjusted_r2"]) + (f" (by chance {row['chance']:.2f})" if isfinite(row["chance"]) else "")


def explained_title(explained: pd.DataFrame) -> str:
    """Which metrics explain most, pooled and within groups.

    Parameters
    ----------
    explained
        What metrics explain, beside what chance explains.
    """
    parts = []
    for scope, start in (("pooled", "pooled, "), ("within groups", "within groups, ")):
        part = explained[(explained["target"] == "drop") & (explained["scope"] == scope)]
        part = part.dropna(subset="adjusted_r2")
        if len(part):
            best = part.loc[part["adjusted_r2"].idxmax()]
            parts.append(f"{start}{set_label(best['features'])} explains most: {_with_chance(best)}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def differences_title(differences: pd.DataFrame) -> str:
    """In how many comparisons the multipartite metrics are clearly better and clearly worse.

    Parameters
    ----------
    differences
        Tested differences.
    """
    if not differences["p"].notna().any():
        return "Too few algorithms to test differences."
    text = _clearly(differences)
    return f"{text[0].upper()}{text[1:]}."


def held_out_title(scores: pd.DataFrame) -> str:
    """What predicts best in every way of holding out.

    Parameters
    ----------
    scores
        Held-out scores.
    """
    table = _forest(scores)
    best = [f"{HELD_OUT[h]} {label(table[h].idxmax())} ({table[h].max():.2f})" for h in table if table[h].notna().any()]
    return f"Best prediction, all networks together: {', '.join(best)}."


def summary_table(explained: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The table for the page: what every set explains, what chance would, and what it predicts.

    Parameters
    ----------
    explained
        What metrics explain, beside what chance explains.
    scores
        Held-out scores.
    """
    fits = explained[explained["target"] == "drop"].set_index(["features", "scope"])
    table = _forest(scores)
    rows = []
    for name in [n for n in table.index if n != "mean"]:
        row: dict[str, object] = {"inputs": label(name)}
        for scope, end in (("pooled", ""), ("within groups", " in groups")):
            there = (name, scope) in fits.index
            row[f"R²{end}"] = fits.loc[(name, scope), "adjusted_r2"] if there else nan
            row[f"by chance{end}"] = fits.loc[(name, scope), "chance"] if there else nan
        rows.append({**row, **{HELD_OUT[hold]: table.loc[name, hold] for hold in table}})
    # The page may show the first rows only: what verdict and sentences speak of, then what it has to beat.
    layers = table.loc[_layer_sets(table.index)].dropna(how="all")
    named = [set_label(str(layers[hold].idxmax())) for hold in HOLDS if hold in layers and layers[hold].notna().any()]
    first = [set_label(WHOLE_NETWORK), *named, *(label(name) for name in (*strongest([*table.index]), "density"))]
    rows.sort(key=lambda row: _place(str(row["inputs"]), first))
    shown = pd.DataFrame(rows)
    for name in FIRST_LEFT_OUT:
        if len(shown) > MOST_ROWS:
            shown = shown[shown["inputs"] != label(name)]
    return shown.head(MOST_ROWS).round(2).reset_index(drop=True)


def _place(inputs: str, first: Sequence[str]) -> int:
    """Where a row stands: those named first, other sets of metrics, other baselines."""
    if inputs in first:
        return first.index(inputs)
    return len(first) + (inputs in CELL_LABELS.values())


def columns(summary: pd.DataFrame) -> dict[str, str]:
    """What the columns of the summary mean.

    Parameters
    ----------
    summary
        What `summary_table` returned.
    """
    return {name: COLUMNS[name] for name in summary.columns}
