"""
Accuracy against sparsity
=========================

Of one dataset and model: means over seeds, their range, and the dense network.
"""

import pandas as pd

import topo

table = pd.read_parquet("../../data/digits_study.parquet")  # the table of `make study`
figure = topo.plots.accuracy_against_sparsity(
    table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn")]
).figure
