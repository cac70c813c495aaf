"""
Metrics along the training
==========================

What the graph of a network becomes while dynamic sparse training changes its mask, beside random masks with as many
weights in every layer.
"""

import pandas as pd

import topo
from topo.study import MaskTrajectory, measure_trajectory

data = topo.datasets.load("digits")
metrics = ["std_degree", "k_core", "disconnected_nodes"]
tables = []
for pruner in ("set", "rigl"):
    model = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    callback = topo.pruning.sparse_training_callback(model, pruner, sparsity=0.9, example=(1, 8, 8))
    trajectory = MaskTrajectory(every="epoch")
    topo.training.train(model, data, "digits", masks=callback.masks, callbacks=[callback, trajectory], progress=False)
    measured = measure_trajectory(model, trajectory, example=(1, 8, 8), metrics=metrics)
    tables.append(measured.assign(pruner=pruner))
random = topo.z_scores(model, trajectory[0], example=(1, 8, 8), metrics=metrics)
figure = topo.plots.metric_course(pd.concat(tables), ["changed", *metrics], random=random)
