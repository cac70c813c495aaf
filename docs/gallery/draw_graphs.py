"""
Networks side by side
=====================

One scale of shades for all, so that darker means more edges everywhere; ``width="page"`` or ``"column"`` keeps letters
readable in print.
"""

import topo

model = topo.models.build("digits-cnn", input_shape=(1, 8, 8), seed=0)
graphs = {}
for pruner in ("erk", "synflow", "magnitude-init"):
    masks = topo.prune(model, pruner, sparsity=0.95, example=(1, 8, 8))
    graphs[pruner] = topo.encode(model, masks, example=(1, 8, 8))
figure = topo.plots.draw_graphs(graphs, columns=3, width="page")
