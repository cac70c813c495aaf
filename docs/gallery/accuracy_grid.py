"""
Accuracy against sparsity, everywhere
=====================================

Means over seeds of every pruner, a panel for each dataset and model.
"""

import topo

table = topo.results.digits_study()  # the table of `make study`
figure = topo.plots.accuracy_grid(table)
