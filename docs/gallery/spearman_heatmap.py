"""
Correlations of metrics with accuracy
=====================================

Spearman's rank correlation within pruner family and sparsity, of networks of one dataset and model.
"""

import pandas as pd

import topo

table = pd.read_parquet("../../data/digits_study.parquet")  # the table of `make study`
figure = topo.plots.spearman_heatmap(table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn")]).figure
