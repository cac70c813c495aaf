from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from topo.errors import InputError
from topo.plots import layer_allocation
from topo.plots.theme import DIVERGING, figure_of


def table(layers: int, sparsities: tuple[float, ...] = (0.8, 0.9, 0.95)) -> pd.DataFrame:
    """A network of layers of 100 weights, the first ever denser, for three pruners and two seeds."""
    rows = []
    for pruner in ("snip", "er", "magnitude-layerwise"):
        for sparsity in sparsities:
            for seed in range(2):
                kept = np.full(layers, round(100 * (1 - sparsity)))
                if pruner == "snip" and layers > 1:
                    kept[:2] = kept[0] + (1 + seed) * kept[0] // 2, kept[0] - (1 + seed) * kept[0] // 2
                rows += [(pruner, sparsity, seed, f"stages.{i}.0.conv1.weight", 100, k) for i, k in enumerate(kept)]
    return pd.DataFrame(rows, columns=["pruner", "sparsity", "seed", "layer", "weights", "kept"])


def test_cells_are_the_densities_and_colours_compare_them_with_the_network():
    ax = layer_allocation(table(4), sparsity=0.8)
    (mesh,) = ax.collections
    # Pruners in the order of the house: er, snip, magnitude-layerwise; means over seeds.
    assert [label.get_text() for label in ax.get_yticklabels()] == ["er", "snip", "magnitude-layerwise"]
    assert [text.get_text() for text in ax.texts] == ["20"] * 4 + ["35", "5.0", "20", "20"] + ["20"] * 4
    expected = np.zeros((3, 4))
    expected[1, :2] = np.log2([35 / 20, 5 / 20])
    np.testing.assert_allclose(mesh.get_array().reshape(3, 4), expected)
    assert mesh.get_clim() == (-3, 3) and to_rgb(mesh.get_cmap()(0.5)) == to_rgb(DIVERGING(0.5))


def test_the_middle_sparsity_is_drawn_unless_another_is_asked_for():
    assert figure_of(layer_allocation(table(3))).texts[0].get_text() == "% of weights kept, 90% sparsity"
    with pytest.raises(InputError, match=r"no network has sparsity 0.5; the table has 0.8, 0.9, 0.95"):
        layer_allocation(table(3), sparsity=0.5)


def test_an_empty_layer_has_the_deepest_colour_and_an_absent_one_none():
    some = table(3, (0.9,))
    some.loc[(some["pruner"] == "er") & (some["layer"] == "stages.0.0.conv1.weight"), "kept"] = 0
    some = some[~((some["pruner"] == "snip") & (some["layer"] == "stages.2.0.conv1.weight"))]
    ax = layer_allocation(some)
    drawn = ax.collections[0].get_array().reshape(3, 3)
    assert drawn[0, 0] == -3 and np.ma.getmaskarray(drawn).sum() == 1 and np.ma.getmaskarray(drawn)[1, 2]
    assert ax.texts[0].get_text() == "0" and len(ax.texts) == 8


@pytest.mark.parametrize("layers", [1, 7, 60])
def test_no_texts_collide(layers, collisions):
    ax = layer_allocation(table(layers).replace("snip", "a-pruner-of-a-very-long-name"))
    assert bool(ax.texts) == (layers < 60)
    assert collisions(figure_of(ax)) == []


def test_bad_input():
    with pytest.raises(InputError, match="no column 'kept'; it needs pruner, sparsity, layer, weights, kept, "):
        layer_allocation(table(3).drop(columns="kept"))
    with pytest.raises(InputError, match="2 datasets"):
        layer_allocation(table(3).assign(dataset=["a", "b"] * 27))
