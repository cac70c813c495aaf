from __future__ import annotations

import numpy as np
import pytest

from topo.errors import InputError
from topo.plots import gate_course


def course(units=(8, 16, 3), layers: int = 2, records: int = 40):
    """Gates that fall from .9 to 0 or rise to 1, one after the other, their names, and which are layers'."""
    names = [f"stages.{i}.conv1" for i, count in enumerate(units) for _ in range(count)]
    names += [f"stages.{i}.conv2" for i in range(layers)]
    gates = np.arange(len(names))
    start = records * (0.1 + 0.6 * gates / len(names))
    moved = np.clip((np.arange(records)[:, None] - start) / (0.2 * records), 0, 1)
    return 0.9 + moved * np.where(gates % 2, 0.1, -0.9), names, gates >= sum(units)


def shades(figure):
    return [np.asarray(ax.collections[0].get_array()) for ax in figure.axes[:-1]]


def test_a_row_is_a_gate_and_those_that_go_first_are_at_the_bottom():
    thetas, names, is_layer = course()
    drawn = gate_course(thetas, names, is_layer)
    first, *_, of_layers = shades(drawn)
    expected = thetas[:, :8].T[np.argsort(-thetas[:, :8].mean(axis=0), kind="stable")]
    np.testing.assert_array_equal(first, expected)
    assert drawn.axes[0].get_ylim() == (8, 0)  # the first row is at the top
    np.testing.assert_array_equal(of_layers, thetas[:, is_layer].T)
    assert [text.get_text() for ax in drawn.axes for text in ax.texts] == ["4 of 8", "8 of 16", "1 of 3", "1 of 2"]


def test_units_of_a_name_are_together_wherever_they_are():
    thetas = np.array([[0.9, 0.9, 0.9], [0.1, 0.6, 0.2]])
    drawn = gate_course(thetas, ["a", "b", "a"], [False] * 3)
    assert [s.tolist() for s in shades(drawn)] == [[[0.9, 0.2], [0.9, 0.1]], [[0.9, 0.6]]]


def test_a_shade_reaches_from_its_time_to_the_next():
    thetas, names, is_layer = course(records=3)
    drawn = gate_course(thetas, names, is_layer, times=[0.0, 0.5, 2.0])
    corners = drawn.axes[0].collections[0].get_coordinates()
    assert corners[0, :, 0].tolist() == [0.0, 0.5, 2.0, 3.5]


def test_a_long_course_is_thinned_out_from_end_to_end():
    thetas = np.linspace(0, 1, 5000)[:, None]
    ((row,),) = shades(gate_course(thetas, ["a"], [False]))
    assert 1000 <= len(row) < 2000 and row[0] == 0 and row[-1] == 1


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize(
    ("units", "layers", "records"), [((8, 16, 3), 2, 40), ((1,), 0, 1), ((), 3, 5), ((2000, 7), 9, 4)]
)
def test_letters_can_be_read_and_do_not_collide(units, layers, records, width, collisions):
    drawn = gate_course(*course(units, layers, records), width=width)
    assert drawn.get_figwidth() == {"column": 3.4, "page": 7.0}[width] and drawn.get_figheight() < 9
    texts = [
        text for ax in drawn.axes for text in (*ax.texts, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels())
    ]
    assert min(text.get_fontsize() for text in texts) >= 6
    assert collisions(drawn) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ["a"]}, r"with 1 name,"),
        ({"is_layer": [True]}, r"is_layer of shape \(1,\)"),
        ({"times": [0.0, 1.0]}, r"times of shape \(2,\)"),
        ({"times": [0.0] * 40}, "times must rise"),
        ({"thetas": np.full((40, 29), 1.5)}, "outside 0 to 1"),
        ({"thetas": np.full((40, 29), np.nan)}, "outside 0 to 1"),
        ({"thetas": np.zeros((0, 29))}, r"shape \(0, 29\)"),
        ({"width": "wide"}, "width"),
    ],
)
def test_bad_input(change, said):
    thetas, names, is_layer = course()
    with pytest.raises(InputError, match=said):
        gate_course(**{"thetas": thetas, "names": names, "is_layer": is_layer, **change})
