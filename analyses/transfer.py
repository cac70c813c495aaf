"""Does what metrics say of accuracy in one collection of networks hold in another?

    python analyses/transfer.py TABLE_OR_STUDY ... [--published FOLDER] [--out FOLDER] [--seed N]

Takes two collections or more: studies, their tables (.parquet, .csv) and the published tables. Of each two it asks, on
the metrics that both have:

- which metrics move with accuracy in both, by the test of question 1 in each, where algorithms are the evidence;
- how well a score learned on one orders the algorithms of the other, against past results of the algorithms there;
- how far off a drop of accuracy is that was predicted from the other, against predictions without topology.

Writes a table of each, a figure and the sentences. The best of several sets of metrics is the best in hindsight: the
tables have them all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from topo.errors import InputError, counted
from topo.plots.interval_dots import interval_dots
from topo.questions.grouping import networks_with_drop
from topo.results import metric_label
from topo.results.evidence import Evidence
from topo.results.feature_sets import WHOLE_NETWORK, encodings_of, feature_sets, mask_only_set, set_label
from topo.results.labels import in_points, listed
from topo.results.schema import encoding_label, metric_column, metric_columns, ordered_metrics
from topo.stats.baselines import CELL_LABELS
from topo.stats.comparison import paired_difference
from topo.stats.pair_orders import PairOrders, mean_with_interval
from topo.stats.permutation import permutation_correlation
from topo.stats.ranking import RANDOM, ranking_table
from topo.stats.regression import held_out, same_rows, score
from topo.stats.significance import significant, with_q_values
from topo.tables import write_table

HERE = Path(__file__).resolve().parent
MASK = "all metrics of masks"
# What predicts a drop without any topology; the setting is what one knows of a network before it is made.
WITHOUT = {
    "mean of the others": [],
    "sparsity": ["sparsity"],
    "family × sparsity": ["sparsity", "family"],
    "algorithm × sparsity": ["sparsity", "pruner"],
}


def collections_of(arguments: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """The sparse networks of every collection, with their drop and normalised layer metrics, by its name."""
    pieces = [Evidence.read(source) for source in arguments.source]
    if arguments.published is not None:
        pieces.append(Evidence.open(published=arguments.published))
    tables = {piece.name: networks_with_drop(piece)[0] for piece in pieces}
    if len(tables) < 2:
        raise InputError(
            "give two collections of networks or more, with different names: studies, tables, --published."
        )
    return tables


def correlations(tables: Mapping[str, pd.DataFrame], *, seed: int = 0) -> pd.DataFrame:
    """Mean rank correlation of every shared metric with accuracy within groups, in every collection."""
    shared = set.intersection(*(set(metric_columns(table)) for table in tables.values()))
    metrics = [m for m in ordered_metrics(shared) if not m.endswith(("_std", "_min", "_max"))]
    rows = []
    for name, table in tables.items():
        tests = permutation_correlation(table, metrics, seed=seed)
        rows.append(with_q_values(tests).assign(collection=name))
    return pd.concat(rows, ignore_index=True)


def agreement(tests: pd.DataFrame) -> pd.DataFrame:
    """One row a metric: its correlation in every collection, and whether it is clear in all with one sign."""
    tests = tests.assign(clear=significant(tests))
    wide = tests.set_index(["metric", "collection"])[["r", "low", "high", "q", "clear"]].unstack()  # noqa: PD010
    clear, signs = wide["clear"].astype(bool).all(axis=1), np.sign(wide["r"])
    same = signs.eq(signs.iloc[:, 0], axis=0).all(axis=1) & (signs.iloc[:, 0] != 0)
    wide = wide.drop(columns="clear", level=0)
    wide.columns = [f"{collection}: {value}" for value, collection in wide.columns]
    return wide.assign(same_sign=same, holds_in_all=same & clear).reset_index()


def joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Two collections as one table in which each is one dataset, and its pairs of dataset and model are the models."""
    parts = [
        table.assign(model=table["dataset"].astype(str) + " / " + table["model"].astype(str), dataset=name)
        for name, table in tables.items()
    ]
    return pd.concat(parts, ignore_index=True)


def shared_sets(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    """The sets of metrics without trained weights whose columns vary in every collection."""
    each = [feature_sets(table) for table in tables.values()]
    kept: dict[str, list[str]] = {}
    for head in (WHOLE_NETWORK, *encodings_of(each[0])):
        names = [mask_only_set(sets, head) for sets in each]
        if all(names):
            columns = [c for c in each[0][names[0]] if all(c in sets[name] for sets, name in zip(each, names))]
            if columns:
                kept[set_label(head)] = columns
    if len(kept) > 1:
        kept[MASK] = list(dict.fromkeys(c for columns in kept.values() for c in columns))
    return {
        "layer density": [c for c in each[0].get("density", []) if all(c in s.get("density", []) for s in each)]
    } | kept


def rankings(tables: Mapping[str, pd.DataFrame], *, seed: int = 0) -> pd.DataFrame:
    """Kendall's tau of orders that were learned on one collection with the true orders of the other, both ways."""
    sets = {name: columns for name, columns in shared_sets(tables).items() if columns}
    table = joined(tables)
    _, groups, orders = ranking_table(table, sets, by=("dataset",), seed=seed)
    source = groups[groups["features"] == RANDOM]["dataset"].to_numpy()
    rows = []
    for learned, tested in permutations(tables):
        here = source == tested
        parts: dict[str, PairOrders] = {}
        for (_, name), order in orders.items():
            part = _some_groups(order, here)
            # Models of another collection are never met again, so that baselines which name them come to the same.
            if name in sets or not any((part.signs == other.signs).all() for other in parts.values()):
                parts[name if name in sets else f"past results of the {CELL_LABELS[name]}"] = part
        past = [name for name in parts if name not in sets]
        taus = {name: mean_with_interval(order) for name, order in parts.items()}
        best = max(past, key=lambda name: taus[name]["mean"], default=None)
        for name, tau in taus.items():
            row = {
                "learned_on": learned,
                "tested_on": tested,
                "features": name,
                "groups": int(here.sum()),
                "tau": tau["mean"],
            }
            row |= {"low": tau["low"], "high": tau["high"], "p": tau["p"], "baseline": ""}
            if best is not None and name in sets:
                gain = mean_with_interval(parts[name], parts[best])
                row |= {"baseline": best, "gain": gain["mean"], "gain_low": gain["low"], "gain_high": gain["high"]}
            rows.append(row)
    return with_q_values(pd.DataFrame(rows))


def _some_groups(orders: PairOrders, which: np.ndarray) -> PairOrders:
    return PairOrders(orders.signs[which], orders.truth[which], orders.asked[which], orders.settings[which])


def predictions(tables: Mapping[str, pd.DataFrame], *, seed: int = 0) -> pd.DataFrame:
    """Errors of the predicted drop on one collection, fitted on the other, both ways."""
    metrics = shared_sets(tables)
    sets = {name: columns for name, columns in metrics.items() if columns}
    table = same_rows(joined(tables), sets).reset_index(drop=True)
    options = {"by": "dataset", "seed": seed}
    fitted = {
        name: held_out(table, columns, model="cells" if columns else "mean", **options)
        for name, columns in WITHOUT.items()
    }
    for name, columns in sets.items():
        fitted[f"{name}, sparsity"] = held_out(table, [*columns, "sparsity"], model="forest", **options)
    rows = []
    for learned, tested in permutations(tables):
        parts = {name: predicted[predicted["group"] == tested] for name, predicted in fitted.items()}
        best = min(WITHOUT, key=lambda name: score(parts[name])["mae"])
        for name, part in parts.items():
            scores = score(part)
            row = {"learned_on": learned, "tested_on": tested, "features": name}
            row |= {key: scores[key] for key in ("n", "r2", "mae", "tau")}
            if name not in WITHOUT:
                gain = paired_difference(part, parts[best])
                row |= {
                    "baseline": best,
                    "gain": gain["difference"],
                    "gain_low": gain["low"],
                    "gain_high": gain["high"],
                }
            rows.append(row)
    return pd.DataFrame(rows)


def sentences(both: pd.DataFrame, orders: pd.DataFrame, errors: pd.DataFrame, names: Sequence[str]) -> Iterator[str]:
    """What holds, in numbers with intervals."""
    first, second = names
    holds = both[both["holds_in_all"]].copy()
    known = both.dropna(subset=[f"{name}: r" for name in names])
    same = int(known["same_sign"].sum())
    yield (
        f"Of {counted(len(known), 'metric')} known in {first} and in {second}, {same} move with accuracy in the same "
        f"direction in both, and {len(holds)} clearly so in each (q < .05)."
    )
    if len(holds):
        weakest = holds[[f"{name}: r" for name in names]].abs().min(axis=1)
        shown = holds.loc[weakest.sort_values(ascending=False).index[:3]]
        yield (
            "The largest: "
            + "; ".join(
                f"{full_label(row['metric'])} "
                + listed(
                    [f"{row[f'{n}: r']:.2f} ({row[f'{n}: low']:.2f} to {row[f'{n}: high']:.2f}) in {n}" for n in names]
                )
                for _, row in shown.iterrows()
            )
            + "."
        )
    for learned, tested in permutations(names):
        of = orders[(orders["learned_on"] == learned) & (orders["tested_on"] == tested)].set_index("features")
        best, past = (part.loc[part["tau"].idxmax()] for part in (of[of["baseline"] != ""], of[of["baseline"] == ""]))
        yield (
            f"Order of algorithms, learned on {learned}, tested on {tested}: Kendall's tau {_estimate(best, 'tau')} of "
            f"the best set of metrics ({best.name}), {_estimate(past, 'tau')} of {past.name}; the difference is "
            f"{_estimate(best, 'gain')}."
        )
        of = errors[(errors["learned_on"] == learned) & (errors["tested_on"] == tested)].set_index("features")
        best, other = (of.loc[of.loc[is_one, "mae"].idxmin()] for is_one in (of["gain"].notna(), of["gain"].isna()))
        more, size = ("less" if best["gain"] >= 0 else "more"), 1 if best["gain"] >= 0 else -1
        ends = sorted(100 * size * best[key] for key in ("gain_low", "gain_high"))
        between = f" ({ends[0]:.1f} to {ends[1]:.1f})" if np.isfinite(ends).all() else ""
        yield (
            f"Drop of accuracy, fitted on {learned}, tested on {tested}: mean error {in_points(best['mae'])} of the "
            f"best forest ({best.name}), {in_points(other['mae'])} of the best that knows no topology ({other.name}); "
            f"that is {100 * size * best['gain']:.1f}{between} points {more}."
        )


def _estimate(row: pd.Series, of: str) -> str:
    low, high = (row["low"], row["high"]) if of == "tau" else (row[f"{of}_low"], row[f"{of}_high"])
    return f"{row[of]:.2f} ({low:.2f} to {high:.2f})" if np.isfinite(low) else f"{row[of]:.2f}"


def full_label(column: str) -> str:
    """A metric's name with the encoding that it is of."""
    known = metric_column(column)
    return metric_label(column) + (f", {encoding_label(known.encoding)}" if known and known.encoding else "")


def draw(tests: pd.DataFrame, most: int = 20) -> Figure:
    """Correlations of the metrics that move most with accuracy, a panel a collection."""
    mean = tests.groupby("metric")["r"].agg(lambda r: r.abs().min()).sort_values(ascending=False)
    shown = tests[tests["metric"].isin(mean.index[:most])]
    return interval_dots(
        shown.assign(row=shown["metric"].map(full_label)),
        row="row",
        value="r",
        low="low",
        high="high",
        panel="collection",
        axis="mean rank correlation with accuracy within groups",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+", type=Path, help="a study's folder, or its table (.parquet, .csv)")
    parser.add_argument("--published", type=Path, metavar="FOLDER", help="the folder of the published tables")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "transfer", metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        tables = collections_of(arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for names in combinations(tables, 2):
        pair = {name: tables[name] for name in names}
        stem = "_and_".join(name.replace(" ", "_") for name in names)
        tests = correlations(pair, seed=arguments.seed)
        both, orders = agreement(tests), rankings(pair, seed=arguments.seed)
        errors = predictions(pair, seed=arguments.seed)
        for what, table in {"correlations": both, "ranking": orders, "prediction": errors}.items():
            write_table(arguments.out / f"{stem}_{what}.csv", table)
        figure = draw(tests)
        for suffix in (".png", ".svg"):
            figure.savefig(arguments.out / f"{stem}_correlations{suffix}")
        lines += [f"## {listed(list(names))}", "", *sentences(both, orders, errors, names), ""]
    text = "\n".join(lines)
    (arguments.out / "findings.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
