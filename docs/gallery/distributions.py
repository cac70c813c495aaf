"""
Distributions
=============

The share of nodes with at least so many edges, of several networks: regular, random and gathered wiring look apart.
"""

import topo

model = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
graphs = {}
for pruner in ("ramanujan", "er", "synflow"):
    masks = topo.prune(model, pruner, sparsity=0.9, example=(1, 8, 8))
    graphs[pruner] = topo.encode(model, masks, example=(1, 8, 8))
figure = topo.plots.degree_distribution(graphs, title="digits-mlp at 90%").figure

# %%
# A metric over the networks of a study.

table = topo.results.digits_study()  # the table of `make study`
networks = table[(table["dataset"] == "digits") & (table["model"] == "digits-cnn") & (table["pruner"] != "dense")]
figure = topo.plots.metric_distribution(networks, "log10_paths").figure
