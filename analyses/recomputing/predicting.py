"""Predictions of the accuracy drop with whole groups held out, by forests and means of cells of this script's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import optimize, stats
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import GroupKFold

from topo.results.evidence import Evidence
from topo.results.feature_sets import with_norms

from .correlating import GROUP, among_present, label_orders

SEED = 4321
# Where no more groups than these are held out, forests of three seeds say how far one may be off.
MOST_UNSURE = 12
CELLS = {
    "sparsity × model": ["sparsity", "model", "dataset"],
    "family": ["family"],
    "family × model × sparsity": ["sparsity", "family", "model", "dataset"],
    "algorithm": ["pruner"],
    "algorithm × model": ["pruner", "model", "dataset"],
    "algorithm × model × sparsity": ["sparsity", "pruner", "model", "dataset"],
}


def with_drop(evidence: Evidence) -> pd.DataFrame:
    """Sparse networks with the accuracy lost to the dense network of the seed, or to the best where none is known."""
    networks = with_norms(evidence.distinct, evidence.layers)
    sparse = networks[(networks["pruner"] != "dense") & networks["accuracy"].notna()].reset_index(drop=True)
    dense = networks[networks["pruner"] == "dense"]
    keys = ["dataset", "model", "seed"]
    by_seed = sparse[keys].merge(dense.groupby(keys)["accuracy"].mean().reset_index(), how="left", on=keys)["accuracy"]
    pairs = sparse[keys[:2]].merge(dense.groupby(keys[:2])["accuracy"].mean().reset_index(), how="left", on=keys[:2])[
        "accuracy"
    ]
    reference = by_seed.fillna(pairs)
    if "dense_accuracy" in sparse:
        reference = sparse["dense_accuracy"].astype(float).fillna(reference)
    if reference.isna().any():
        reference = sparse.groupby(keys)["accuracy"].transform("max")
    return sparse.assign(drop=reference - sparse["accuracy"])


def with_values(table: pd.DataFrame, sets: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Networks that have a third of the columns of every set."""
    keep = np.isfinite(table["drop"].to_numpy(float))
    for columns in sets.values():
        if len(columns):
            keep &= (table[list(columns)].notna().mean(axis=1) >= 1 / 3).to_numpy()
    return table[keep].reset_index(drop=True)


def adjusted_r2(x: np.ndarray, y: np.ndarray, taken: int) -> float:
    """Adjusted R2 of least squares on centred columns, so many means having been taken out before."""
    rank = np.linalg.matrix_rank(x, rtol=1e-6)
    if len(y) - taken - rank < 1:
        return np.nan
    fitted = x @ np.linalg.lstsq(x, y, rcond=1e-7)[0]
    return 1 - (((y - fitted) ** 2).sum() / (len(y) - taken - rank)) / ((y**2).sum() / (len(y) - taken))


def explained(table: pd.DataFrame, columns: Sequence[str], target: str, inside: bool, draws: int = 300) -> tuple:
    """Adjusted R2 of columns on the target, pooled or within groups, and its mean with names of algorithms permuted."""
    x = table[list(columns)].astype(float).replace([np.inf, -np.inf], np.nan)
    y = table[target].astype(float)
    keys, taken = [table[c] for c in GROUP], 1
    if inside:
        x, y = x - x.groupby(keys).transform("mean"), y - y.groupby(keys).transform("mean")
        taken = table.groupby(GROUP).ngroups
    x = x.fillna(x.median()).fillna(0.0)
    x, y = x - x.mean(), y - y.mean()
    x = x.loc[:, x.std(ddof=0) > 1e-12 * np.maximum(x.abs().max(), 1e-300)]
    x = (x / x.std(ddof=0)).to_numpy()
    own = adjusted_r2(x, y.to_numpy(), taken)
    if not draws:
        return own, np.nan
    names = sorted(table["pruner"].unique())
    orders = label_orders(len(names), draws)[: draws + 1]
    if len(names) <= 7:
        orders = label_orders(len(names))
    number = table["pruner"].map({n: i for i, n in enumerate(names)})
    cell = y.groupby([*keys, table["pruner"]]).transform("mean")
    level = y.groupby(keys).transform("mean")
    rest, values = (y - cell).to_numpy(), []
    off = (cell - level).to_numpy()
    groups = [(rows, number.to_numpy()[rows]) for rows in table.groupby(GROUP).indices.values()]
    taken_from = [(rows, labels, *np.unique(labels, return_index=True)) for rows, labels in groups]
    moved = {tuple(present): among_present(orders, present) for _, _, present, _ in taken_from}
    for draw in range(len(orders)):
        drawn = rest + level.to_numpy()
        for rows, labels, present, first in taken_from:
            of = off[rows][first][moved[tuple(present)][draw]]
            drawn[rows] += of[np.searchsorted(present, labels)]
        values.append(adjusted_r2(x, drawn - drawn.mean(), taken))
    return own, float(np.mean(values))


@dataclass
class HeldOut:
    """Predictions of networks whose group was not seen."""

    actual: np.ndarray
    predicted: np.ndarray
    fold: np.ndarray
    again: list[HeldOut] = field(default_factory=list)

    @property
    def r2_off(self) -> float:
        """How far R2 may be off with other seeds of the forests: four standard deviations of those tried."""
        return 0.05 + 4 * float(np.std([h.r2 for h in (self, *self.again)]))

    @property
    def points_off(self) -> float:
        """How far the error may be off, in points of accuracy."""
        return 0.3 + 400 * float(np.std([h.error for h in (self, *self.again)]))

    @property
    def error(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.actual - self.predicted).mean())

    @property
    def r2(self) -> float:
        """Share of the variance that is predicted."""
        spread = ((self.actual - self.actual.mean()) ** 2).sum()
        return float(1 - ((self.actual - self.predicted) ** 2).sum() / spread)


def trees(rows: int) -> int:
    """Trees of a forest that learns from so many networks."""
    return min(200, max(30, 120_000 // rows))


def cell_means(seen: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """The mean of what was seen under equal names; names never seen are left aside, then the last column, and so on."""
    seen, new = seen[columns].astype(str), new[columns].astype(str)
    known = {c: set(seen[c]) for c in columns}
    result, found = [], {}
    for row in new.to_dict("records"):
        key = tuple(row.values())
        if key in found:
            result.append(found[key])
            continue
        asked = [c for c in columns if row[c] in known[c]]
        value = y.mean()
        while asked:
            same = np.logical_and.reduce([(seen[c] == row[c]).to_numpy() for c in asked])
            if same.any():
                value = y[same].mean()
                break
            asked = asked[:-1]
        found[key] = value
        result.append(value)
    return np.array(result)


@dataclass
class Predictions:
    """Predictions of a table from sets of columns and from names, each made once."""

    table: pd.DataFrame
    sets: Mapping[str, Sequence[str]]
    cells: Mapping[str, list[str]]
    folds: int
    made: dict[tuple[str, str, bool], HeldOut] = field(default_factory=dict)

    def of(self, name: str, by: str, inside: bool = False) -> HeldOut:
        """What was predicted from a set, or from a baseline's names, with the values of a column held out."""
        key = (name, by, inside)
        if key not in self.made:
            self.made[key] = self._predict(name, by, inside)
            # Of few groups a forest says much that its seed decides.
            if name not in self.cells and not inside and self.table[by].nunique() <= MOST_UNSURE:
                self.made[key].again += [self._predict(name, by, inside, seed) for seed in (1, 2)]
        return self.made[key]

    def _predict(self, name: str, by: str, inside: bool, seed: int = 0) -> HeldOut:
        table, groups = self.table, self.table[by].astype(str).to_numpy()
        columns = list(self.cells[name]) if name in self.cells else list(self.sets[name])
        x = table[columns]
        text = [c for c in columns if not pd.api.types.is_numeric_dtype(table[c])]
        actual, predicted, fold = (np.zeros(len(table)) for _ in range(3))
        splits = GroupKFold(min(len(set(groups)), max(2, self.folds))).split(table, groups=groups)
        for number, (train, test) in enumerate(splits):
            y = table["drop"].to_numpy(float)
            values = x.drop(columns=text).astype(float).replace([np.inf, -np.inf], np.nan)
            if inside:
                y, values = centred(table, y, values, train)
            if name in self.cells:
                guess = cell_means(x.iloc[train], y[train], x.iloc[test], columns)
            elif not columns:
                guess = np.full(len(test), y[train].mean())
            else:
                filled = values.fillna(values.iloc[train].median()).fillna(0.0)
                codes = pd.get_dummies(x[text]).astype(float) if text else pd.DataFrame(index=x.index)
                # A code that the training rows do not have says nothing.
                codes = codes.loc[:, codes.iloc[train].any().to_numpy()]
                both = np.column_stack([filled, codes])
                many = {"bootstrap": True, "max_samples": 4000} if len(train) > 4000 else {}
                forest = ExtraTreesRegressor(
                    trees(len(train)),
                    min_samples_leaf=3,
                    max_features=max(min(2, len(columns)), int(0.4 * len(columns))),
                    random_state=SEED + number + 100 * seed,
                    **many,
                )
                guess = forest.fit(both[train], y[train]).predict(both[test])
            predicted[test] = np.clip(guess, y[train].min(), y[train].max())
            actual[test], fold[test] = y[test], number
        return HeldOut(actual, predicted, fold)


def centred(table: pd.DataFrame, y: np.ndarray, x: pd.DataFrame, train: np.ndarray) -> tuple[np.ndarray, pd.DataFrame]:
    """Target and columns less the means of the training rows of their group, or of all its rows where none is seen."""
    code = table.groupby(GROUP).ngroup().to_numpy()
    values = x.assign(target=y)
    seen = np.zeros(len(table), dtype=bool)
    seen[train] = True
    source = seen | ~np.isin(code, code[seen])
    means = values[source].groupby(code[source]).mean()
    values = values - means.loc[code].to_numpy()
    return values["target"].to_numpy(), values.drop(columns="target")


@dataclass
class Gain:
    """Mean error of a second prediction less that of a first, and what algorithms and pairs say of it."""

    difference: float
    p: float
    errors: list[tuple[int, float]]

    def found(self, tests: int) -> float:
        """The difference that all tests together would find in 80% of cases."""

        def lack(size: float) -> float:
            each = [stats.nct.sf(stats.t.ppf(1 - 0.025 / tests, df), df, size / e) for df, e in self.errors if e > 0]
            return float(np.prod(each)) - 0.8

        high = max(error for _, error in self.errors)
        while lack(high) < 0:
            high *= 2
        return float(optimize.brentq(lack, 0, high))


def gain(table: pd.DataFrame, first: HeldOut, second: HeldOut, inside: bool) -> Gain:
    """Compare the errors of two predictions over algorithms, and over pairs of dataset and model."""
    each = np.abs(second.actual - second.predicted) - np.abs(first.actual - first.predicted)
    units = {"algorithm": table["pruner"].to_numpy()}
    if not inside:
        units["pair"] = (table["dataset"] + "/" + table["model"]).to_numpy()
    errors = []
    for kind, values in units.items():
        names = np.unique(values)
        if len(names) < 2:
            continue
        without = np.array([each[values != n].mean() for n in names])
        variance = (len(names) - 1) / len(names) * ((without - without.mean()) ** 2).sum()
        # Algorithms depend on each other through what was learnt from them.
        more = 1 if kind == "pair" else 1 + len(names) / (len(names) - 1)
        errors.append((len(names) - 1, float(np.sqrt(variance * more))))
    mean = float(each.mean())
    p = max(float(2 * stats.t.sf(abs(mean) / e, df)) if e else 1.0 for df, e in errors)
    return Gain(mean, p, errors)
