from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots import layer_density, layer_density_grid
from topo.plots.layers import short_layer_names


@pytest.fixture
def layers():
    generator = np.random.default_rng(0)
    names = [f"layer{i}.0.conv1.weight" for i in range(40)]
    rows = [
        (pruner, sparsity, seed, name, float(np.clip((1 - sparsity) * generator.lognormal(), 0, 1)))
        for pruner in ("snip", "er", "magnitude-layerwise", "grasp")
        for sparsity in (0.8, 0.9, 0.95)
        for seed in range(2)
        for name in names
    ]
    return pd.DataFrame(rows, columns=["pruner", "sparsity", "seed", "layer", "density"])


def test_lines_are_the_means_in_network_order(layers):
    snip = layers[layers["pruner"] == "snip"]
    ax = layer_density(snip)
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 40]
    names = snip["layer"].unique()
    for y, (_, group) in zip(drawn, snip.groupby("sparsity"), strict=True):
        np.testing.assert_allclose(y, group.groupby("layer")["density"].mean()[names])


def test_an_empty_layer_is_drawn_at_the_lower_limit(layers):
    snip = layers[layers["pruner"] == "snip"].copy()
    snip.loc[snip["layer"] == "layer3.0.conv1.weight", "density"] = 0.0
    ax = layer_density(snip)
    low = ax.get_ylim()[0]
    assert all(low <= line.get_ydata()[3] < 1.2 * low for line in ax.lines if len(line.get_xdata()) == 40)


@pytest.mark.slow
def test_no_texts_collide(layers, collisions):
    figure = layer_density_grid(layers)
    assert len(figure.axes) == 4
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert collisions(figure) == []


def test_single_layer(collisions):
    table = pd.DataFrame({"pruner": "er", "sparsity": [0.9], "layer": "fc", "density": 0.1})
    assert collisions(layer_density_grid(table)) == []


def test_bad_input(layers):
    with pytest.raises(InputError, match="no column 'density'"):
        layer_density(layers.drop(columns="density"))
    with pytest.raises(InputError, match=r"2 models \(a, b\); draw one at a time: table\[table\['model'\] == 'a'\]"):
        layer_density_grid(layers.assign(model=["a", "b"] * (len(layers) // 2)))
    with pytest.raises(InputError, match="4 pruners"):
        layer_density(layers)
    with pytest.raises(InputError, match="no rows"):
        layer_density_grid(layers[:0])


def test_long_names_begin_where_a_part_does():
    names = ["stages.1.0.shortcut.0.weight", *(f"encoder.layers.{i}.attention.query" for i in (1, 11)), "x" * 30]
    assert short_layer_names(names) == [
        "stages.1.0.shortcut.0", "…1.attention.query", "…11.attention.query", "…" + "x" * 21
    ]  # fmt: skip
    assert short_layer_names(["one.two.three"], 6) == ["…three"] and short_layer_names(["one.two.three"], 7) == [
        "…three"
    ]
