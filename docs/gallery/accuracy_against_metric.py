"""
Accuracy against a metric
=========================

Colour tells the pruner, marker the sparsity.
"""

import topo

table = topo.results.digits_study()  # the table of `make study`
figure = topo.plots.accuracy_against_metric(
    table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn")], "log10_paths"
).figure
