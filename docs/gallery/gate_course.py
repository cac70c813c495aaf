"""
Gates of variational pruning
============================

Which units and branches close, and when: a row a gate, from the start of the training to its end.
"""

import topo

data = topo.datasets.load("digits")
model = topo.models.build("digits-cnn", input_shape=(1, 8, 8), blocks=2, seed=0)
run = topo.pruning.variational.train(model, data, topo.training.recipe("digits", epochs=12), nu=0.3)
figure = topo.plots.gate_course(run.thetas, run.gates.names, run.gates.is_layer)
