"""
Density of layers
=================

Where pruners leave the weights: a line per sparsity, from masks.
"""

import topo

model = topo.models.build("resnet20", input_shape=(3, 32, 32), seed=0)
masks = {
    f"{pruner} {sparsity}": topo.prune(model, pruner, sparsity=sparsity, example=(3, 32, 32))
    for pruner in ("erk", "synflow", "magnitude-init")
    for sparsity in (0.8, 0.9, 0.95)
}
layers = topo.results.layer_table(masks)
figure = topo.plots.layer_density(layers[layers["pruner"] == "synflow"]).figure

# %%
# The same for several pruners on the same axes.

figure = topo.plots.layer_density_grid(layers)

# %%
# How dense each layer is next to the whole network, at one sparsity.

figure = topo.plots.layer_allocation(layers, sparsity=0.9).figure
