from __future__ import annotations

from functools import cache

import pytest
import torch
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure

import topo
from tests.zoo import SMALL, small
from topo.decomposition.lifting import Lifting
from topo.errors import InputError
from topo.plots import draw_lifting


@cache
def lifted(name: str) -> Lifting:
    if name in SMALL:
        model, inputs = small(name)
        return topo.lift(model, tuple(x[:1] for x in inputs))
    return topo.lift(topo.models.build(name), torch.zeros(1, 3, 32, 32))


def cells(ax) -> list[tuple[float, float, float]]:
    """Left, top and width of every cell of an arc."""
    drawn = [c for c in ax.collections if isinstance(c, PatchCollection) and c.get_zorder() == 2]
    boxes = [path.get_extents() for path in drawn[0].get_paths()]
    return [(box.x0, box.y0, box.width) for box in boxes]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["u-net", "attention", "two-in-two-out", "doubling", "resnet20"])
def test_every_arc_is_a_cell_below_the_diagonal(name: str) -> None:
    lifting = lifted(name)
    place = {node: i for i, node in enumerate(lifting.order)}
    drawn_cells = sorted((int(x), int(y)) for x, y, _ in cells(draw_lifting(lifting)))
    assert drawn_cells == sorted((place[a.source], place[a.target]) for a in lifting.dag.arcs)
    assert all(x < y for x, y in drawn_cells)


def test_parallel_arcs_share_a_cell() -> None:
    widths = sorted(width for x, y, width in cells(draw_lifting(lifted("doubling"))) if (int(x), int(y)) == (0, 1))
    assert len(widths) == 2 and all(width < 0.5 for width in widths)


@pytest.mark.slow
@pytest.mark.parametrize("title", ["", "a network"])
@pytest.mark.parametrize("name", [*SMALL, "resnet20"])
def test_no_texts_collide(name: str, title: str, collisions) -> None:
    assert collisions(draw_lifting(lifted(name), title=title).figure) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet56", "densenet121"])
def test_no_texts_collide_in_deep_networks(name: str, collisions) -> None:
    assert collisions(draw_lifting(lifted(name), title=name).figure) == []


def test_on_given_axes() -> None:
    ax = Figure(figsize=(4, 4)).add_subplot()
    assert draw_lifting(lifted("u-net"), ax) is ax
    assert [t.get_text() for t in ax.get_xticklabels()] == list("01234567")
    assert ax.get_yticklabels()[0].get_text() == "input"


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"draws what topo\.lift returns; got Linear"):
        draw_lifting(torch.nn.Linear(2, 2))
