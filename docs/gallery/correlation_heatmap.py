"""
Correlations of your own
========================

The same figure from a table of correlations that you have computed, here with intervals and adjusted for their number.
"""

import topo

table = topo.results.digits_study()  # the table of `make study`
networks = table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn") & (table["pruner"] != "dense")]
metrics = ["edges", "log10_paths", "spectral_gap", "effective_sparsity", "strength_norm"]
correlations = topo.stats.correlations_by_family(networks, metrics)
figure = topo.plots.correlation_heatmap(topo.stats.with_q_values(correlations)).figure
