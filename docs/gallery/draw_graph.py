"""
A network as a graph
====================

A column is a tensor, a square a channel shaded by the degree of its elements, a ribbon the edges between two channels.
Orange channels have lost every edge.
"""

import topo

model = topo.models.build("digits-cnn", input_shape=(1, 8, 8), seed=0)
masks = topo.prune(model, "synflow", sparsity=0.95, example=(1, 8, 8))
graph = topo.encode(model, masks, example=(1, 8, 8))
figure = topo.plots.draw_graph(graph, title="digits-cnn, synflow at 95%").figure
