"""
Accuracy against a metric
=========================

Colour tells the pruner, marker the sparsity.
"""

import pandas as pd

import topo

table = pd.read_parquet("../../data/digits_study.parquet")  # the table of `make study`
figure = topo.plots.accuracy_against_metric(
    table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn")], "log10_paths"
).figure
