from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots import pruning_course


def course(epochs: int = 6, left: tuple[float, float] = (0.3, 0.4), units: int = 7, layers: int = 3):
    """A record, the chances in it, and which gates are layers'."""
    steps = np.linspace(0, 1, epochs + 1)
    record = pd.DataFrame({"epoch": np.arange(epochs + 1), "seconds": [0.0, *(3 - 2 * steps[1:])]})
    for column, full, share in (("macs", 4e6, left[0]), ("parameters", 3e5, left[1])):
        record[f"expected_{column}"] = full * (0.9 + (share - 0.9) * steps)
        record[column] = np.where(steps < 0.5, full, full * share)
    ends = np.random.default_rng(0).integers(0, 2, units + layers)
    thetas = 0.9 + (ends - 0.9) * steps[:, None]
    return record, thetas, np.arange(units + layers) >= units


@pytest.mark.slow
@pytest.mark.parametrize("left", [(0.3, 0.4), (0.5, 0.5), (0.01, 0.02), (0.0, 0.0), (1.0, 1.0), (0.97, 0.99)])
@pytest.mark.parametrize("epochs", [1, 6, 200])
def test_no_texts_collide(left, epochs, collisions):
    assert collisions(pruning_course(*course(epochs, left))) == []


@pytest.mark.parametrize(("units", "layers", "said"), [(0, 3, "no unit gates"), (7, 0, "no layer gates")])
def test_gates_of_one_kind(units, layers, said, collisions):
    drawn = pruning_course(*course(units=units, layers=layers))
    assert [t.get_text() for ax in drawn.axes for t in ax.texts].count(said) == 1
    assert collisions(drawn) == []


def test_what_is_drawn():
    record, thetas, is_layer = course()
    units, layers, cost, time = pruning_course(record, thetas, is_layer).axes
    (mean,) = units.lines
    np.testing.assert_allclose(mean.get_ydata(), thetas[:, ~is_layer].mean(axis=1))
    band = units.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == thetas[:, ~is_layer].min() and band[:, 1].max() == thetas[:, ~is_layer].max()
    np.testing.assert_allclose([line.get_ydata() for line in layers.lines], thetas[:, is_layer].T)
    shares = [record[c] / record[c.removeprefix("expected_")].iloc[0] for c in
              ("expected_macs", "macs", "expected_parameters", "parameters")]  # fmt: skip
    np.testing.assert_allclose([line.get_ydata() for line in cost.lines], shares)
    np.testing.assert_allclose(time.lines[0].get_xydata(), record[["epoch", "seconds"]].iloc[1:])
    assert time.get_ylim()[0] == 0


def test_a_run_that_has_just_begun(collisions):
    record, thetas, is_layer = course()
    drawn = pruning_course(record.iloc[:1], thetas[:1], is_layer)
    assert len(drawn.axes) == 4 and collisions(drawn) == []


@pytest.mark.parametrize("cut", [np.s_[:-1], np.s_[:, :-1]])
def test_shapes_that_do_not_fit(cut):
    record, thetas, is_layer = course()
    with pytest.raises(InputError, match=r"7 rows and 10 gates need \(7, 10\)"):
        pruning_course(record, thetas[cut], is_layer)
