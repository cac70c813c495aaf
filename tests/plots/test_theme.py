from __future__ import annotations

import io
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from topo.plots import pruner_color, style
from topo.plots.labels import label_line_ends, short_number, spread_apart
from topo.plots.overview import accuracy_overview
from topo.plots.pruners import ranked_pruners
from topo.plots.scatter import scatter_panels
from topo.plots.theme import HUES, PRUNERS, pruner_dashes, pruner_marker, pruner_order
from topo.pruning import PRUNERS as REGISTERED
from topo.results import example_results
from topo.results.labels import percent

# Machado, Oliveira, Fernandes, *A physiologically-based model for simulation of color vision deficiency* (2009),
# severity 1: normal sight, protanopia, deuteranopia, tritanopia, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color):
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    xyz = xyz / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
def test_the_first_eight_hues_stay_apart_for_every_sight(sight):
    seen = [lab(np.clip(SIGHT[sight] @ linear(c), 0, 1)) for c in HUES[:8]]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15


@pytest.mark.parametrize("hue", HUES)
def test_hues_show_on_white_and_on_the_dark_page(hue):
    light = linear(hue) @ [0.2126, 0.7152, 0.0722]
    dark = linear("#14171c") @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (light + 0.05) > 2.1
    assert (light + 0.05) / (dark + 0.05) > 2.1


def test_registered_pruners_have_distinct_fixed_colours():
    names = list(dict.fromkeys([*PRUNERS, *REGISTERED]))
    colors = [pruner_color(name) for name in names]
    assert len(set(colors)) == len(names)
    assert colors[:2] == ["#0072b2", "#e69f00"]


def test_unknown_pruners_have_fixed_colours_and_markers():
    assert pruner_color("mine") == pruner_color("mine")
    assert pruner_order(["mine", "snip", "er"]) == ["er", "snip", "mine"]
    assert pruner_marker("mine") and pruner_dashes("mine")


def test_settings_are_restored_after_an_error():
    before = dict(mpl.rcParams)
    with pytest.raises(RuntimeError), style():
        raise RuntimeError
    assert dict(mpl.rcParams) == before


@given(st.lists(st.floats(-5, 105), min_size=1, max_size=20), st.floats(0.5, 10))
def test_spread_keeps_gap_order_and_range(positions, gap):
    placed = spread_apart(positions, gap, 0, 100)
    room = min(gap, 100 / max(len(positions) - 1, 1))
    assert (np.diff(np.sort(placed)) >= room - 1e-6).all()
    assert placed.min() >= -1e-6 and placed.max() <= 100 + 1e-6
    order = np.argsort(positions, kind="stable")
    assert (np.diff(placed[order]) > 0).all()


def test_spread_leaves_alone_what_fits():
    assert spread_apart([10, 30, 80], 5, 0, 100).tolist() == [10, 30, 80]


def test_labels_under_a_layout_engine(collisions):
    ax = Figure(figsize=(5, 3), layout="constrained").add_subplot()
    ax.plot([0, 1], [0, 1])
    labels = label_line_ends(ax, [(1, 1), (1, 0.99), (1, 0.98)], ["a", "b", "c"], ["k"] * 3)
    assert [t.get_text() for t in labels] == ["a", "b", "c"]
    assert collisions(ax.figure) == []


def test_numbers_as_text():
    assert (percent(0.6), percent(0.999), short_number(0), short_number(2.5e9)) == ("60%", "99.9%", "0", "2.5G")


@pytest.mark.parametrize("draw", [accuracy_overview, ranked_pruners, scatter_panels])
def test_names_with_dollars_are_no_formulas(draw):
    table = example_results(sparsities=(0.8, 0.9))
    table["pruner"] = table["pruner"].replace({"snip": r"$\frac{x$", "erk": "a $b$ c"})
    draw(table).savefig(io.BytesIO(), format="png")
