"""
A network to be explored
========================

Every element and every edge in a browser: the pointer tells what is under it, the wheel zooms.
"""

import topo

model = topo.models.build("digits-cnn", input_shape=(1, 8, 8), seed=0)
masks = topo.prune(model, "synflow", sparsity=0.95, example=(1, 8, 8))
graph = topo.encode(model, masks, example=(1, 8, 8))
topo.plots.draw_interactively(graph, title="digits-cnn, synflow at 95%")  # .save("network.html") writes the page
