from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots.confusion import confusion_matrix
from topo.plots.interval_dots import interval_dots
from topo.plots.predicted import predicted_against_true


@pytest.fixture
def table() -> pd.DataFrame:
    names = ("sparsity", "multipartite without metrics of trained weights", "rolled")
    rows = [(n, b, v) for n in names for b in ("an unseen dataset", "model") for v in ("pooled", "within groups")]
    table = pd.DataFrame(rows, columns=["set", "by", "scope"])
    table["r2"] = np.linspace(-3, 0.9, len(table))
    return table.assign(low=table["r2"] - 0.2, high=table["r2"] + 0.2)


def test_texts_do_not_collide(table, collisions):
    for variant in ("scope", None):
        for limits in ((-0.6, 1.0), None):
            shown = table if variant else table.drop_duplicates(["set", "by"])
            drawn = interval_dots(
                shown, row="set", value="r2", low="low", high="high", panel="by", variant=variant, limits=limits,
                axis="held-out R² of a forest",
            )  # fmt: skip
            assert collisions(drawn) == []


def test_labels_of_three_lines_do_not_collide(collisions):
    names = [f"mean component size (norm., mean) of {word}, rolled-channel" for word in ("one", "another", "a third")]
    table = pd.DataFrame({"set": names, "by": "model", "r2": [0.1, 0.2, 0.3]})
    drawn = interval_dots(table, row="set", value="r2", panel="by")
    assert {label.get_text().count("\n") for label in drawn.axes[0].get_yticklabels()} == {2}
    assert collisions(drawn) == []


def test_a_key_wider_than_the_panels_fits(table, collisions):
    wide = table[table["by"] == "model"].replace({"scope": {"pooled": "a variant with an uncommonly long name"}})
    assert collisions(interval_dots(wide, row="set", value="r2", panel="by", variant="scope")) == []


def test_dots_stand_at_their_values_and_rows_keep_their_places(table):
    drawn = interval_dots(table, row="set", value="r2", panel="by", variant="scope")
    lines = [line for line in drawn.axes[0].lines if line.get_marker() in "oD"]
    dots = sorted((line.get_xdata()[0], round(line.get_ydata()[0])) for line in lines)
    places = {n: i for i, n in enumerate(dict.fromkeys(table["set"]))}
    unseen = table[table["by"] == "an unseen dataset"]
    assert dots == sorted(zip(unseen["r2"], unseen["set"].map(places), strict=True))


def test_values_beyond_the_limits_are_named_at_the_edge(table):
    drawn = interval_dots(table, row="set", value="r2", panel="by", variant="scope", limits=(-0.6, 1.0))
    assert "−3.0" in [t.get_text() for t in drawn.axes[0].texts]


def test_rows_without_a_value_leave_a_gap_and_none_at_all_is_refused(table):
    half = table.assign(r2=table["r2"].where(table["set"] != "rolled"))
    assert len(interval_dots(half, row="set", value="r2", panel="by").axes[0].get_yticklabels()) == 3
    with pytest.raises(InputError, match="nothing to draw"):
        interval_dots(table.assign(r2=np.nan), row="set", value="r2", panel="by")


@pytest.mark.parametrize("count", [1, 2, 11])
def test_confusion_matrix(count, collisions):
    names = ["magnitude-layerwise", *(f"pruner{i}" for i in range(count - 1))]
    shares = pd.DataFrame(np.full((count, count), 1 / count), index=names, columns=names)
    shares.iloc[-1] = np.nan
    ax = confusion_matrix(shares, title="rolled-channel / size, mask only, unseen dataset")
    assert collisions(ax.figure) == []
    assert len(ax.texts) == count * (count - 1)


def test_predicted_against_true(collisions):
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.uniform(size=(5000, 2)), columns=["actual", "predicted"])
    table["model"] = [f"Wide-Resnet-{i % 5}" for i in range(5000)]
    drawn = predicted_against_true({"unseen dataset": table, "unseen model": table.head(30), "none": table.head(0)})
    assert len(drawn.axes) == 2 and collisions(drawn) == []
    drawn_points = [sum(len(c.get_offsets()) for c in ax.collections) for ax in drawn.axes]
    assert drawn_points == [4000, 30]
    with pytest.raises(InputError, match="no prediction"):
        predicted_against_true({"none": table.head(0)})
