"""What the tests of figures share: finding texts that collide, and graphs of any size."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import sparse

from topo.encoding.graph import Block, MultipartiteGraph, Part


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Every figure function leaves matplotlib's settings and pyplot's figures as they were."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def _corners(text: Text) -> np.ndarray:
    """Corners of a text's box, shrunk by a pixel, in the direction it is written in."""
    box = text.get_window_extent()
    return np.array([[box.x0 + 1, box.y0 + 1], [box.x1 - 1, box.y1 - 1]])


@pytest.fixture
def collisions() -> Callable[[Figure], list[str]]:
    """Pairs of visible texts whose boxes overlap, and texts that leave the figure."""

    def find(figure: Figure) -> list[str]:
        figure.draw_without_rendering()
        axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
        ticks = {t for axis in axes for tick in (*axis.majorTicks, *axis.minorTicks) for t in tick.findobj(Text)}
        drawn = {t for a in axes if a.axes.axison for tick in a._update_ticks() for t in tick.findobj(Text)}
        shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
        shown = [t for t in shown if t not in ticks or t in drawn]
        boxes = [(t.get_text(), _corners(t)) for t in shown]
        boxes = [(name, box) for name, box in boxes if (box[0] < box[1]).all()]
        low, high = np.array([box for _, box in boxes]).reshape(-1, 2, 2).swapaxes(0, 1)
        overlap = (np.minimum(high[:, None], high) > np.maximum(low[:, None], low)).all(axis=2)
        faults = [
            f"{boxes[i][0]!r} over {boxes[j][0]!r}" for i, j in zip(*np.nonzero(np.triu(overlap, 1)), strict=True)
        ]
        width, height = figure.bbox.size
        for name, box in boxes:
            if box.min() < -1 or box[1, 0] > width + 1 or box[1, 1] > height + 1:
                faults.append(f"{name!r} outside")
        return faults

    return find


@pytest.fixture
def make_graph() -> Callable[..., MultipartiteGraph]:
    """A random multipartite graph: parts in a row, skips between the parts given."""

    def make(shapes, *, density=0.2, skips=(), seed=0) -> MultipartiteGraph:
        generator = np.random.default_rng(seed)
        parts, offset = [], 0
        for i, shape in enumerate(shapes):
            role = "input" if i == 0 else "output" if i == len(shapes) - 1 else "hidden"
            parts.append(Part(f"layer{i // 3}.{i % 3}.conv", tuple(shape), i, offset, role))
            offset += parts[-1].size
        pairs = [*((i, i + 1) for i in range(len(shapes) - 1)), *skips]
        blocks = []
        for source, target in pairs:
            rows, columns = parts[source].size, parts[target].size
            count = min(int(density * rows * columns) + 1, 400_000)
            i, j = generator.integers(rows, size=count), generator.integers(columns, size=count)
            matrix = sparse.csr_array((np.ones(count, np.float32), (i, j)), shape=(rows, columns))
            matrix.sum_duplicates()
            # The encodings name the layer of a block; a skip has none.
            blocks.append(Block(source, target, matrix, parts[target].name if target == source + 1 else ""))
        return MultipartiteGraph(parts, blocks)

    return make
