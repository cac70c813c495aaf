from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from topo.errors import InputError
from topo.plots import accuracy_against_metric, pruner_color, scatter_panels
from topo.results import category_of, example_results
from topo.stats import strongest_metrics


def test_points_are_the_networks():
    table = example_results()
    ax = accuracy_against_metric(table, "edges")
    points = np.concatenate([c.get_offsets() for c in ax.collections])
    sparse = table[table["pruner"] != "dense"].sort_values("sparsity", kind="stable")
    np.testing.assert_allclose(points, sparse[["edges", "accuracy"]])
    colors = np.concatenate([c.get_facecolors()[:, :3] for c in ax.collections])
    np.testing.assert_allclose(colors, [to_rgb(pruner_color(p)) for p in sparse["pruner"]])
    assert len(ax.collections) == 3


def test_each_sparsity_has_its_marker():
    ax = accuracy_against_metric(example_results(), "edges")
    shapes = {c.get_label(): c.get_paths()[0].vertices.shape for c in ax.collections}
    assert list(shapes) == ["80%", "90%", "95%"]
    assert len({repr(c.get_paths()[0].vertices) for c in ax.collections}) == 3


@pytest.mark.parametrize("scale", [1e-9, 1.0, 3e7])
def test_no_texts_collide(scale, collisions):
    table = example_results()
    table["edges"] = table["edges"] * scale
    table["spectral_gap"] = np.geomspace(1e-4, 1e6, len(table)) * scale
    assert collisions(scatter_panels(table, title="digits")) == []


def test_panels_keep_to_metrics_with_values():
    table = example_results().assign(spectral_gap=np.nan)
    figure = scatter_panels(table, ["edges", "spectral_gap"])
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["edges"]


def test_strongest_metrics_one_a_category_none_constant():
    chosen = strongest_metrics(example_results())
    assert len({category_of(m) for m in chosen}) == len(chosen) <= 6
    assert "nodes" not in chosen and "edges" in chosen


def test_strongest_metrics_where_groups_are_small():
    assert "edges" in strongest_metrics(example_results(pruners=("snip", "er", "erk"), seeds=1))


def test_bad_input():
    with pytest.raises(InputError, match="no column 'k_cores'"):
        accuracy_against_metric(example_results(), "k_cores")
    with pytest.raises(InputError, match="no sparse network"):
        accuracy_against_metric(example_results().assign(edges=np.nan), "edges")
    with pytest.raises(InputError, match="no metric"):
        scatter_panels(example_results().assign(edges=np.nan), ["edges"])
