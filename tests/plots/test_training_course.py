from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots import metric_course
from topo.plots.theme import pruner_color


@pytest.fixture
def table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = [
        (pruner, seed, epoch, generator.uniform(3, 4), generator.uniform(0, 0.3), 1000 * generator.uniform(1, 2))
        for pruner in ("erk", "set", "rigl", "snfs")
        for seed in range(3)
        for epoch in range(7)
    ]
    return pd.DataFrame(rows, columns=["pruner", "seed", "epoch", "k_core", "changed", "motifs"])


RANDOM = pd.DataFrame({"mean": [3.5, np.nan], "sd": [0.1, 0.0]}, index=["k_core", "motifs"])


def test_lines_are_means_and_bands_extremes_over_seeds(table):
    (ax,) = metric_course(table, "k_core").axes
    by_time = table[table["pruner"] == "rigl"].groupby("epoch")["k_core"]
    (line,) = [line for line in ax.lines if line.get_color() == pruner_color("rigl") and len(line.get_xdata()) == 7]
    np.testing.assert_allclose(line.get_ydata(), by_time.mean())
    (band,) = [b for b in ax.collections if np.allclose(b.get_facecolor()[0, :3], [*_rgb("rigl")])]
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == by_time.max().max() and heights.min() == by_time.min().min()


def _rgb(pruner: str) -> tuple[float, ...]:
    return tuple(int(pruner_color(pruner)[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_random_masks_are_a_band_of_two_standard_deviations_where_they_have_a_value(table):
    first, second, third = metric_course(table, ["k_core", "motifs", "changed"], random=RANDOM, columns=3).axes
    (span,) = first.patches
    assert (span.get_y(), span.get_y() + span.get_height()) == pytest.approx((3.3, 3.7))
    assert not second.patches and not third.patches
    assert ["random" in [text.get_text() for text in ax.texts] for ax in (first, second, third)] == [True, False, False]


def test_a_band_goes_no_lower_than_the_metric_can(table):
    table = table.assign(disconnected_nodes=table["changed"], assortativity=table["changed"])
    random = pd.DataFrame({"mean": [0.3] * 3, "sd": 0.4}, index=["disconnected_nodes", "assortativity", "changed"])
    axes = metric_course(table, list(random.index), random=random, columns=3).axes
    assert [ax.patches[0].get_y() for ax in axes] == pytest.approx([0, -0.5, -0.5])
    for ax in axes:
        assert ax.patches[0].get_y() + ax.patches[0].get_height() == pytest.approx(1.1)


def test_a_value_that_is_missing_is_left_out(table):
    table.loc[(table["pruner"] == "set") | (table["epoch"] == 3), "k_core"] = np.nan
    (ax,) = metric_course(table, "k_core").axes
    assert {text.get_text() for text in ax.texts} == {"erk", "rigl", "snfs"}
    assert all(3 not in line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 6)


@pytest.mark.parametrize(("width", "columns"), [("column", 1), ("page", 2), ("page", 3)])
def test_letters_can_be_read_and_do_not_collide(table, width, columns, collisions):
    metrics = ["k_core", "changed", "motifs"]
    drawn = metric_course(table, metrics, random=RANDOM, width=width, columns=columns)
    assert drawn.get_figwidth() == {"column": 3.4, "page": 7.0}[width]
    texts = [t for ax in drawn.axes for t in (*ax.texts, ax.title, ax.xaxis.label, *ax.get_yticklabels())]
    assert min(text.get_fontsize() for text in texts) >= 6
    assert collisions(drawn) == []


@pytest.mark.parametrize(
    ("metrics", "options", "said"),
    [
        ([], {}, "metrics is empty"),
        ("k_cor", {}, "no column 'k_cor'"),
        ("k_core", {"x": "step"}, "no column 'step'"),
        ("pruner", {}, "holds no numbers"),
        ("k_core", {"random": RANDOM[["mean"]]}, "no columns 'mean' and 'sd'"),
        ("k_core", {"width": "wide"}, "width"),
    ],
)
def test_bad_input(table, metrics, options, said):
    with pytest.raises(InputError, match=said):
        metric_course(table, metrics, **options)


def test_a_table_without_rows(table):
    with pytest.raises(InputError, match="no rows"):
        metric_course(table.iloc[:0], "k_core")
