from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.publishing import accuracy_latex, correlation_latex
from topo.results import example_results


def cells(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(f"{name} &")).rstrip("\\ ").split(" & ")[1:]


def test_means_and_deviations_are_those_of_the_table():
    table = example_results()
    text = accuracy_latex(table)
    pair = table.iloc[0][["dataset", "model"]]
    part = table[
        (table["dataset"] == pair["dataset"]) & (table["model"] == pair["model"]) & (table["pruner"] != "dense")
    ]
    pruner = part["pruner"].iloc[0]
    for cell, (_, values) in zip(
        cells(text, pruner), part[part["pruner"] == pruner].groupby("sparsity")["accuracy"], strict=True
    ):
        mean, deviation = re.findall(r"\d+\.\d", cell)
        assert float(mean) == pytest.approx(100 * values.mean(), abs=0.051)
        assert float(deviation) == pytest.approx(100 * values.std(), abs=0.051)


def test_the_best_of_a_column_is_bold_and_what_is_missing_a_dash():
    table = pd.DataFrame({"pruner": ["a_b", "c&d", "c&d"], "sparsity": [0.5, 0.5, 0.9], "accuracy": [0.7, 0.6, 0.1]})
    text = accuracy_latex(table)
    assert cells(text, r"a\_b") == [r"$\mathbf{70.0}$", "--"]
    assert cells(text, r"c\&d") == ["$60.0$", r"$\mathbf{10.0}$"]


def test_dense_networks_of_equal_cost_stand_below_their_pruner():
    rows = [
        ("er", 0.5, 0.6, np.nan),
        ("taylor", 0.5, 0.5, 0.9),
        ("taylor", 0.5, 0.5, 0.8),
        ("taylor", 0.9, 0.4, np.nan),
    ]
    text = accuracy_latex(pd.DataFrame(rows, columns=["pruner", "sparsity", "accuracy", "small_dense_accuracy"]))
    names = [line.split(" &")[0] for line in text.splitlines() if " & $" in line]
    assert names == ["er", "taylor", r"\quad dense, equal cost"]
    assert cells(text, r"\quad dense, equal cost") == [r"$85.0 \pm 7.1$", "--"]
    assert cells(text, "er")[0] == r"$\mathbf{60.0}$"


def test_tables_without_accuracy_are_refused():
    with pytest.raises(InputError, match="no network"):
        accuracy_latex(pd.DataFrame({"pruner": ["a"], "sparsity": [0.5], "accuracy": [np.nan]}))
    with pytest.raises(InputError, match="column q"):
        correlation_latex(pd.DataFrame({"metric": ["edges"], "r": [0.1]}))


def test_stars_are_those_of_the_rule():
    tests = pd.DataFrame(
        {"r": [0.9, np.nan, -0.2], "low": [0.5, np.nan, -0.6], "high": [1, np.nan, 0.3], "q": [1e-5, np.nan, 0.4]},
        index=["edges", "k_core", "mine"],
    )
    text = correlation_latex(tests)
    assert cells(text, "edges") == ["$0.90^{*}$", "[$0.50$, $1.00$]", "$<$0.01"]
    assert cells(text, "k core") == ["--", "[--, --]", "--"]
    assert cells(text, "mine")[0] == "$-0.20$"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_takes_it(tmp_path):
    body = accuracy_latex(example_results())
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}" + body + "\\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0
