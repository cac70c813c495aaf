"""
Structured pruning step by step
===============================

Which units and branches the pruner ``dag`` removed, in which order, and how many weights each of its rounds left.
"""

import topo

model = topo.models.build("digits-cnn", input_shape=(1, 8, 8), seed=0)
masks = topo.prune(model, "dag", sparsity=0.5, example=(1, 8, 8))
figure = topo.plots.removal_course(masks.record, title="digits-cnn").figure
