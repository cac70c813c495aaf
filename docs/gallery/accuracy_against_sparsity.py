"""
Accuracy against sparsity
=========================

Of one dataset and model: means over seeds, their range, and the dense network.
"""

import topo

table = topo.results.digits_study()  # the table of `make study`
figure = topo.plots.accuracy_against_sparsity(
    table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn")]
).figure
