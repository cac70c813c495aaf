from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.questions.multipartite_wording import differences_title, sentences, verdict

EXPLAINED = pd.DataFrame(columns=["target", "scope", "features", "adjusted_r2", "chance"])
# against, scope, held out, compared with, difference, q
TESTS = (
    ("layers", "pooled", "pruner", "rolled", 0.01, 0.4),
    ("layers", "within groups", "pruner", "rolled", 0.01, 0.3),
    ("layers", "within groups", "model", "rolled", 0.01, 0.04),
    ("layers, mask only", "within groups", "model", "rolled_untrained", 0.01, 0.02),
    ("no topology", "pooled", "pruner", "setting", 0.03, 0.01),
    ("no topology", "within groups", "pruner", "setting", 0.03, 0.01),
    ("layers", "within groups", "model", "unrolled", 0.004, 0.07),
    ("layers, mask only", "within groups", "model", "unrolled", 0.004, 0.09),
)


def differing(*changed: tuple[int, str, float]) -> pd.DataFrame:
    table = pd.DataFrame(TESTS, columns=["against", "scope", "held_out", "second", "difference", "q"])
    for row, column, value in changed:
        table.loc[row, column] = value
    return table.assign(p=table["q"] / 2, first="multipartite", detectable=0.2, algorithms=9, pairs=3)


def scored() -> pd.DataFrame:
    errors = {"multipartite": ("forest", 0.02), "rolled": ("forest", 0.03), "setting": ("cells", 0.05)}
    rows = [
        {"features": name, "model": model, "held_out": hold, "scope": scope, "mae": error, "r2": 1 - 10 * error}
        for name, (model, error) in errors.items()
        for hold in ("model", "pruner")
        for scope in ("pooled", "within groups")
    ]
    return pd.DataFrame(rows)


def test_comparisons_with_single_layers_and_with_past_results_are_counted_apart():
    text = sentences(EXPLAINED, scored(), differing())[2]
    assert text == (
        "On unseen algorithms a forest has an R² of 0.80 from the multipartite metrics and 0.70 from the best set of "
        "single layers (rolled); past results by sparsity × model have 0.50; the error of multipartite metrics is "
        "clearly smaller than that of single layers in 2 of 6 comparisons (on unseen models within groups) and than "
        "that of past results in 2 of 2, and clearly larger in none."
    )
    assert differences_title(differing()).startswith(
        "The error of multipartite metrics is clearly smaller than that of"
    )


@pytest.mark.parametrize(
    ("changed", "end"),
    [
        (
            ((0, "q", 0.01),),
            "in 3 of 6 comparisons and than that of past results in 2 of 2, and clearly larger in none.",
        ),
        (
            ((2, "difference", -0.01), (3, "q", 0.2)),
            "in none of 6 comparisons and than that of past results in 2 of 2, and clearly larger than that of single "
            "layers in 1.",
        ),
        (
            tuple((row, "q", 0.06) for row in range(2, 6)),
            "None of 8 tested differences from single layers and past results is clear.",
        ),
        (tuple((row, "q", np.nan) for row in range(8)), "Too few algorithms to test differences."),
    ],
)
def test_what_is_clear_elsewhere_is_said_so(changed, end):
    assert differences_title(differing(*changed)).endswith(end)


@pytest.mark.parametrize(("q", "words"), [(0.01, "5.0 points, clearly more."), (0.2, "5.0 points.")])
def test_a_verdict_says_which_two_are_not_told_apart_and_whether_past_results_err_clearly_more(q, words):
    said = verdict(scored(), differing((4, "q", q)), with_chance=EXPLAINED)
    assert said.said == "open" and said.sentence == (
        "Can not tell: on unseen algorithms the mean error is 2.0 points from multipartite metrics and 3.0 points "
        "from rolled; 9 algorithms and 3 pairs of dataset and model are too few to tell the two apart. Without "
        f"topology, sparsity × model has {words}"
    )
