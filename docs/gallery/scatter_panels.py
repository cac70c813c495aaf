"""
Accuracy against several metrics
================================

Panels with one shared key.
"""

import topo

table = topo.results.digits_study()  # the table of `make study`
figure = topo.plots.scatter_panels(
    table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn")],
    ["edges", "log10_paths", "effective_sparsity", "spectral_gap", "motifs_norm", "strength_norm"],
)
