"""How often questions 3, 4, 5 and 7 claim what is not so, and find what is, on the design of a table.

    python analyses/simulate_claims.py --study FILE|DIR | --published DIR [--questions 3 4 5 7] [--times 100]

Datasets, models, algorithms and sparsities are those of the table, with a seed each; metrics and accuracy are drawn.
Where there is no effect, metrics and the drop each follow algorithms, algorithms in single models, and pairs of dataset
and model for reasons of their own. Question 3 compares metrics that differ in nothing then, so it should say yes or no
of at most 5% of such tables, and question 5 yes. Question 7 should say yes as seldom; that the mask is worse than what
knows no mask may well be true then, since a forest is misled by metrics that say nothing. For question 4 one
metric moves the drop as strongly as `--effects` say, and the share in which it is found is printed beside the mean
difference in tau and the difference that the tables say they would find in 80% of cases.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd

from topo.questions import before_training, before_training_wording, multipartite_or_bipartite, multipartite_wording
from topo.questions.grouping import held_out_columns, networks_with_drop
from topo.questions.ranking_comparison import BASELINES
from topo.results.evidence import Evidence
from topo.results.feature_sets import feature_sets
from topo.results.schema import PAIR
from topo.stats import predictors
from topo.stats.classification import relative_to_group
from topo.stats.held_out_orders import label_permutation_p
from topo.stats.ranking import ranking_differences, ranking_table
from topo.stats.recognition_table import recognition_table
from topo.stats.significance import interval_sign, significant, with_q_values

# As many metrics of each set as are drawn: more of them take longer and say no more.
METRICS = 4
SETS = ("density", "ramanujan", "multipartite", "multipartite_untrained", "rolled", "rolled_untrained")


def design(evidence: Evidence) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """One row a dataset, model, algorithm and sparsity of the table, and some columns of its feature sets."""
    table = networks_with_drop(evidence)[0]
    table = table[table["seed"] == table["seed"].min()].reset_index(drop=True)
    offered = feature_sets(table)
    sets = {name: list(offered[name])[:METRICS] for name in SETS if name in offered}
    return table[[*PAIR, "pruner", "family", "sparsity", "seed"]], sets | {"mean": [], "sparsity": ["sparsity"]}


class Draws:
    """Columns that follow algorithms and settings for reasons of their own."""

    def __init__(self, table: pd.DataFrame, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.codes = [
            table.groupby(columns).ngroup().to_numpy()
            for columns in (["pruner"], ["pruner", "model"], [*PAIR], ["pruner", *PAIR, "sparsity"])
        ]

    def column(self, sizes: tuple[float, ...] = (1, 0.5, 0.5, 0.3)) -> np.ndarray:
        """Effects of algorithms, of algorithms in models, of pairs of dataset and model, and of single networks."""
        draws = [size * self.generator.normal(size=code.max() + 1)[code] for size, code in zip(sizes, self.codes)]
        return np.sum(draws, axis=0)


def drawn(
    table: pd.DataFrame, sets: dict[str, list[str]], seed: int, sizes: tuple = (1, 0.5, 0.5, 0.3)
) -> pd.DataFrame:
    """The table with metrics and drop drawn anew."""
    draws = Draws(table, seed)
    columns = {c: draws.column(sizes) for c in dict.fromkeys(c for names in sets.values() for c in names)}
    columns.pop("sparsity", None)
    drop = 0.1 + 0.05 * (draws.column() + 10 * (table["sparsity"].to_numpy() - 0.8))
    return table.assign(**columns, drop=drop, accuracy=0.9 - drop)


def shares_of(said: str, differences: pd.DataFrame) -> dict[str, float]:
    """What was said, and how many single tests call the metrics better or worse before they are adjusted."""
    low = differences["p"] < 0.05
    better, worse = ((low & (sign * differences["difference"] > 0)).mean() for sign in (1, -1))
    return {"yes": said == "yes", "no": said == "no", "better with p < .05": better, "worse with p < .05": worse}


def question_3(table: pd.DataFrame, sets: dict[str, list[str]], seed: int) -> dict[str, float]:
    """Whether multipartite metrics are called better or worse than those of layers."""
    one = drawn(table, sets, seed)
    scores, differences = multipartite_or_bipartite.compared(one, sets, seed=seed, models=["forest"])
    said = multipartite_wording.verdict(scores, differences, with_chance=pd.DataFrame()).said
    return shares_of(said, differences)


def question_7(table: pd.DataFrame, sets: dict[str, list[str]], seed: int) -> dict[str, float]:
    """Whether the mask is called better or worse than what knows none."""
    initial = table[table["family"] == "initial"].reset_index(drop=True)
    one = drawn(initial, sets, seed)
    of_mask = before_training.mask_sets(one)
    scores, _, differences = before_training.compared(one, of_mask, held_out_columns(one), seed=seed, models=["forest"])
    said = before_training_wording.verdict(scores, differences).said
    return shares_of(said, differences)


def question_5(table: pd.DataFrame, sets: dict[str, list[str]], seed: int) -> dict[str, float]:
    """Whether algorithms are told by metrics that do not follow them, and families by metrics of algorithms."""
    masks = {n: c for n, c in sets.items() if n in ("density", "multipartite_untrained", "rolled_untrained")}
    hold = held_out_columns(table, reversed(PAIR))[0]
    found = {}
    for label, sizes in (("pruner", (0, 0.5, 0.5, 0.3)), ("family", (1, 0.5, 0.5, 0.3))):
        one = relative_to_group(drawn(table, masks, seed, sizes), [c for names in masks.values() for c in names])
        scores = with_q_values(recognition_table(one, masks, by=[hold], labels=[label], seed=seed)[0])
        found[f"{'algorithm' if label == 'pruner' else 'family'} told"] = significant(scores).any()
    return found


def question_4(table: pd.DataFrame, sets: dict[str, list[str]], seed: int, effect: float) -> dict[str, float]:
    """Whether a metric that moves the drop is found to rank unseen algorithms better than the best baseline."""
    initial = table[table["family"] == "initial"].reset_index(drop=True)
    used = {n: sets[n] for n in ("density", "multipartite_untrained")}
    one = drawn(initial, used, seed)
    moving = one[used["multipartite_untrained"][0]]
    drop = one["drop"] + 0.05 * effect * moving
    one = one.assign(drop=drop, accuracy=0.9 - drop)
    summary, _, orders = ranking_table(one, used, by=["pruner"], seed=seed)
    row = ranking_differences(summary, orders, BASELINES).iloc[0]
    better = interval_sign(row["low"], row["high"]) > 0
    p = label_permutation_p(one, used["multipartite_untrained"], permutations=199, seed=seed) if better else 1.0
    return {"difference": row["difference"], "detectable": row["detectable"], "found": better and p < 0.05}


def main() -> None:
    """Print shares of claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", help="folder of a study, or its results table")
    parser.add_argument("--published", help="folder of the published tables")
    parser.add_argument("--questions", nargs="*", type=int, default=[3, 4, 5, 7])
    parser.add_argument("--times", type=int, default=100, help="tables that are drawn for each number")
    parser.add_argument("--trees", type=int, default=10, help="of a forest; fewer than in a report, to take less time")
    parser.add_argument("--effects", nargs="*", type=float, default=[0, 1, 2, 4], help="of the metric of question 4")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    predictors.TREES = asked.trees
    table, sets = design(Evidence.open(study=asked.study, published=asked.published))
    for number, question in ((3, question_3), (5, question_5), (7, question_7)):
        if number in asked.questions:
            shares = pd.DataFrame([question(table, sets, seed) for seed in range(asked.times)]).mean()
            print(f"question {number}, no effect, {asked.times} tables: {shares.round(3).to_dict()}", flush=True)
    for effect in asked.effects if 4 in asked.questions else ():
        found = pd.DataFrame([question_4(table, sets, seed, effect) for seed in range(asked.times)])
        means = found.mean().round(3).to_dict() | {"detectable": round(found["detectable"].median(), 3)}
        print(f"question 4, effect {effect:g}, {asked.times} tables: {means}", flush=True)


if __name__ == "__main__":
    main()
