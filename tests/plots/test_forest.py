from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from topo.plots.confounders import MOST_DOTS, relative_strips
from topo.plots.forest import forest_plot
from topo.plots.pooled_heatmap import pooled_heatmap

METRICS = ["edges", "sink_nodes_norm", "removable_in_norm", "mean_component_size_norm", "spectral_gap"]


def rows(groups: int) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        [(m, f"group number {g}") for g in range(groups) for m in METRICS], columns=["metric", "scope"]
    )
    table["r"] = generator.uniform(-0.7, 0.7, len(table))
    return table.assign(low=table["r"] - 0.2, high=table["r"] + 0.2)


def texts_overlap(drawn) -> list[tuple[str, str]]:
    """Pairs of texts of a figure that lie on each other."""
    drawn.draw_without_rendering()
    texts = [t for t in drawn.findobj(Text) if t.get_text().strip() and t.get_visible()]
    flat = [t for t in texts if t.get_rotation() == 0]
    boxes = [(t.get_text(), t.get_window_extent()) for t in flat]
    wide, high = drawn.bbox.width, drawn.bbox.height
    outside = [(text, "outside") for text, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > wide + 1 or b.y1 > high + 1]
    return outside + [(a[0], b[0]) for a, b in combinations(boxes, 2) if a[1].overlaps(b[1])]


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_forest_texts_are_apart_and_inside(groups):
    table = rows(groups)
    drawn = forest_plot(table, list(dict.fromkeys(table["scope"])), title="A title")
    assert texts_overlap(drawn) == []


def test_forest_draws_the_numbers_of_the_table():
    table = rows(2)
    table.loc[0, ["r", "low", "high"]] = np.nan
    lines = forest_plot(table, ["group number 0", "group number 1"]).axes[0].get_lines()
    drawn = [x for line in lines if line.get_linestyle() == "None" for x in line.get_xdata()]
    assert sorted(drawn) == pytest.approx(sorted(table["r"].dropna()))


def test_heatmap_texts_are_apart_and_what_is_missing_is_hatched():
    table = rows(1).rename(columns={"scope": "level"}).assign(q=[0.01, 0.2, 0.3, 0.01, 0.5])
    long = table.assign(level="wide-resnet-28-2")
    blocks = {"architecture": pd.concat([table, long]), "sparsity": table.assign(level="90%").iloc[:-1]}
    drawn = pooled_heatmap(blocks, METRICS, title="A title")
    assert texts_overlap(drawn) == []
    ax = drawn.axes[0]
    assert len(ax.patches) == 14 and len(ax.collections[0].get_segments()) == 4
    numbers = [t for t in ax.texts if t.get_fontsize() < 8]
    assert len(numbers) == 14 and sum(t.get_fontweight() == "bold" for t in numbers) == 6


def test_strips_draw_every_network_or_an_even_choice():
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"pruner": ["snip"] * 1000 + ["rigl"] * 50, "family": ["initial"] * 1000 + ["dynamic"] * 50})
    table["edges"] = np.exp(generator.normal(size=1050))
    density = pd.DataFrame({"metric": ["bound"] * 3, "r": [0.8, 0.9, 0.95]})
    drawn = relative_strips(table, {"edges": "edges"}, density=density)
    assert texts_overlap(drawn) == []
    counts = [len(line.get_xdata()) for line in drawn.axes[0].get_lines() if line.get_marker() == "o"]
    assert counts == [MOST_DOTS, 50]
    snip = drawn.axes[0].get_lines()[0].get_xdata()
    assert (snip.min(), snip.max()) == (table["edges"][:1000].min(), table["edges"][:1000].max())
