"""
Accuracy against sparsity, everywhere
=====================================

Means over seeds of every pruner, a panel for each dataset and model.
"""

import pandas as pd

import topo

table = pd.read_parquet("../../data/digits_study.parquet")  # the table of `make study`
figure = topo.plots.accuracy_grid(table)
