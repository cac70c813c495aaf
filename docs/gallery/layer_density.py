"""
Density of layers
=================

Where pruners leave the weights: a line per sparsity, from masks.
"""

import pandas as pd

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

# %%
# Any column of a table of layers, along the layers: density, and metrics of each layer's graph. ``layers.parquet`` of a
# study is such a table.

measured = pd.concat(
    topo.measure_layers(
        topo.encode(model, kept, encoding="rolled", example=(3, 32, 32)), metrics=["degrees", "delta_r"]
    )
    .add_prefix("rolled__")
    .assign(network=name)
    for name, kept in masks.items()
)
table = layers.merge(measured.rename_axis("layer").reset_index(), on=["network", "layer"])
figure = topo.plots.layer_profiles(
    table, ["density", "rolled__mean_degree", "rolled__delta_r"], sparsity=0.9, width="column"
)
