"""
Level factors
=============

Row v, column u of a level's factor holds the functions on the arcs from u to v: the network is their product.
"""

import torch

import topo

lifting = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
figure = topo.plots.draw_lifting(lifting, title="resnet20").figure
