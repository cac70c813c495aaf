from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots import layer_profiles


@pytest.fixture
def layers() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = [
        (pruner, sparsity, seed, f"stages.{i}.conv.weight", generator.uniform(0.001, 1), generator.uniform(2, 9))
        for pruner in ("snip", "magnitude-layerwise", "er")
        for sparsity in (0.8, 0.9)
        for seed in range(2)
        for i in range(12)
    ]
    return pd.DataFrame(rows, columns=["pruner", "sparsity", "seed", "layer", "density", "rolled__mean_degree"])


def test_lines_are_means_and_bands_are_extremes(layers):
    figure = layer_profiles(layers, "rolled__mean_degree", sparsity=0.9)
    (ax,) = figure.axes
    here = layers[(layers["sparsity"] == 0.9) & (layers["pruner"] == "er")]
    means = here.groupby("layer", sort=False)["rolled__mean_degree"].mean()
    assert any(np.allclose(line.get_ydata(), means) for line in ax.lines if len(line.get_ydata()) == 12)
    bands = [np.ptp(band.get_paths()[0].vertices[:, 1]) for band in ax.collections]
    assert max(bands) == pytest.approx(
        max(np.ptp(group["rolled__mean_degree"]) for _, group in layers[layers["sparsity"] == 0.9].groupby("pruner"))
    )


@pytest.mark.parametrize("width", ["column", "page"])
def test_letters_can_be_read_and_do_not_collide(layers, width, collisions):
    figure = layer_profiles(layers, ["density", "rolled__mean_degree"], width=width)
    assert figure.get_figwidth() == {"column": 3.4, "page": 7.0}[width]
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear"]
    texts = [text for ax in figure.axes for text in (*ax.texts, ax.title, ax.yaxis.label, *ax.get_xticklabels())]
    assert min(text.get_fontsize() for text in texts) >= 6
    assert collisions(figure) == []


def test_a_layer_without_a_value_leaves_a_gap(layers):
    layers.loc[layers["layer"] == "stages.3.conv.weight", "density"] = np.nan
    (ax,) = layer_profiles(layers).axes
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [place == 3 for place in range(12)]


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ("degre", {}, "no column 'degre'"),
        ("layer", {}, "holds no numbers"),
        ([], {}, "columns is empty"),
        ("density", {"sparsity": 0.5}, "no network has sparsity 0.5"),
        ("density", {"width": "wide"}, "width"),
    ],
)
def test_bad_input(layers, columns, options, said):
    with pytest.raises(InputError, match=said):
        layer_profiles(layers, columns, **options)
