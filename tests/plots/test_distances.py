from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from topo.errors import InputError
from topo.plots.clustered_distances import clustered_distances
from topo.plots.mds_map import mds_map
from topo.plots.theme import PRUNERS, pruner_color, style


def boxes(drawn, ax):
    with style():
        drawn.draw_without_rendering()
    return [t.get_window_extent() for t in ax.texts if t.get_text()]


@pytest.mark.slow
@pytest.mark.parametrize("algorithms", [3, 11, 25])
def test_no_name_on_the_map_covers_another_or_leaves_the_panel(algorithms):
    generator = np.random.default_rng(algorithms)
    rows = []
    for pruner in PRUNERS[:algorithms]:
        middle = generator.normal(size=2)
        rows += [(pruner, *(middle + generator.normal(0, 0.1, 2))) for _ in range(3)]
    places = pd.DataFrame(rows, columns=["pruner", "x", "y"])
    places = places.assign(dataset="d", model="m", sparsity=0.9, stress=0.1)
    drawn = mds_map(places)
    (ax,) = drawn.axes
    name_boxes, frame = boxes(drawn, ax)[:-1], ax.get_window_extent()
    assert len(name_boxes) == algorithms
    for i, box in enumerate(name_boxes):
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        assert not any(box.overlaps(other) for other in name_boxes[:i])


def test_points_lie_where_the_table_says_in_their_colour():
    places = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": 0.9, "pruner": ["er", "snip", "er"],
                           "x": [0.0, 1.0, 2.0], "y": [0.0, 3.0, 1.0], "stress": 0.1})  # fmt: skip
    (ax,) = mds_map(places).axes
    points = {to_hex(line.get_color()): line.get_xydata().tolist() for line in ax.lines if line.get_marker() != "None"}
    assert points == {pruner_color("er"): [[0, 0], [2, 1]], pruner_color("snip"): [[1, 3]]}
    with pytest.raises(InputError, match="no network"):
        mds_map(places.iloc[:0])


def test_the_matrix_shows_every_distance_in_the_order_of_the_tree():
    names = ["a", "b", "c", "d"]
    values = np.array([[0.1, 0.9, 0.2, 0.8], [0.9, 0.1, 0.8, 0.3], [0.2, 0.8, 0.1, 0.7], [0.8, 0.3, 0.7, np.nan]])
    drawn = clustered_distances(pd.DataFrame(values, names, names), {"a": "initial"})
    ax = drawn.axes[0]
    order = [t.get_text().split()[0] for t in ax.get_yticklabels()]
    assert [t.get_text() for t in ax.get_xticklabels()] == order
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset("ac"), frozenset("bd")}
    assert len(ax.texts) == 15
    for text in ax.texts:
        x, y = (order[int(v)] for v in text.get_position())
        assert float("0" + text.get_text()) == values[names.index(x), names.index(y)]
    with pytest.raises(InputError, match="two kinds"):
        clustered_distances(pd.DataFrame([[0.0]], ["a"], ["a"]))
