"""
Variational pruning as it happens
=================================

The probabilities that gates are open, what the network is expected to cost, and the time an epoch takes.
"""

import topo

data = topo.datasets.load("digits")
model = topo.models.build("digits-cnn", input_shape=(1, 8, 8), seed=0)
run = topo.pruning.variational.train(model, data, "digits", nu=1.0, kappa=0.5, alpha=0.5)
figure = topo.plots.pruning_course(run.record, run.thetas, run.gates.is_layer)
