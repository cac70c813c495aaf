"""
Look and colours
================

``topo.plots.style()`` gives figures of your own the look of the library; a pruner has the same colour in every figure.
"""

import matplotlib.pyplot as plt

import topo

with topo.plots.style():
    figure, ax = plt.subplots(figsize=(5, 2))
    for position, pruner in enumerate(
        ["dense", "uniform", "erk", "snip", "grasp", "synflow", "set", "rigl", "magnitude"]
    ):
        ax.bar(position, 1, color=topo.plots.pruner_color(pruner))
        ax.text(position, 0.5, pruner, rotation=90, ha="center", va="center", color="white")
    ax.set_axis_off()
