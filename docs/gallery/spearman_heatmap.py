"""
Correlations of metrics with accuracy
=====================================

Spearman's rank correlation within pruner family and sparsity, of networks of one dataset and model.
"""

import topo

table = topo.results.digits_study()  # the table of `make study`
figure = topo.plots.spearman_heatmap(table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn")]).figure
