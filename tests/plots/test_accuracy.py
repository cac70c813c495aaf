from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots import accuracy_against_sparsity, accuracy_grid
from topo.results import example_results


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_lines_are_the_means_over_seeds():
    table = example_results(seeds=3)
    drawn = lines(accuracy_against_sparsity(table))
    for pruner, group in table[table["pruner"] != "dense"].groupby("pruner"):
        means = group.groupby("sparsity")["accuracy"].mean()
        np.testing.assert_allclose(drawn[pruner].get_ydata(), means)
        np.testing.assert_allclose(drawn[pruner].get_xdata(), -np.log10(1 - means.index))
    dense = table.loc[table["pruner"] == "dense", "accuracy"].mean()
    np.testing.assert_allclose(drawn["dense"].get_ydata(), dense)


def test_bars_span_the_seeds():
    table = example_results(pruners=("snip",), seeds=3)
    ax = accuracy_against_sparsity(table)
    (bars,) = ax.collections
    got = [segment[:, 1].tolist() for segment in bars.get_segments()]
    groups = table[table["pruner"] == "snip"].groupby("sparsity")["accuracy"]
    np.testing.assert_allclose(got, groups.agg(["min", "max"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pruners": ("snip",)},
        {"sparsities": (0.9,)},
        {"seeds": 1},
        {"sparsities": (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)},
        {"pruners": tuple(f"pruner-number-{i}" for i in range(14))},
    ],
)
def test_no_texts_collide(options, collisions):
    assert collisions(accuracy_against_sparsity(example_results(**options)).figure) == []


def test_every_line_is_named_beside_it():
    ax = accuracy_against_sparsity(example_results())
    named = {t.get_text(): t.get_color() for t in ax.texts}
    assert set(named) == set(lines(ax))
    assert all(named[name] == line.get_color() for name, line in lines(ax).items())


def test_failed_networks_are_left_out():
    table = example_results(pruners=("snip", "er"))
    table.loc[(table["pruner"] == "er") & (table["sparsity"] == 0.95), "accuracy"] = np.nan
    assert len(lines(accuracy_against_sparsity(table))["er"].get_xdata()) == 2


def test_without_baseline_and_in_percent():
    table = example_results().query("pruner != 'dense'")
    ax = accuracy_against_sparsity(table.assign(accuracy=100 * table["accuracy"]))
    assert "dense" not in lines(ax)
    assert ax.get_ylim()[1] > 50


def test_only_a_baseline():
    assert set(lines(accuracy_against_sparsity(example_results().query("pruner == 'dense'")))) == {"dense"}


def test_grid_has_a_panel_for_each_pair(collisions):
    figure = accuracy_grid(example_results(datasets=("a", "b"), models=("m", "n", "o")))
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"{d} · {m}" for d in "ab" for m in "mno"]
    assert collisions(figure) == []


def test_published_table(shared_data, collisions):
    table = pd.read_csv(shared_data / "mge-snn" / "unrolled" / "unrolled.csv")
    figure = accuracy_grid(table)
    assert len(figure.axes) == 10
    assert collisions(figure) == []


def test_bad_input():
    with pytest.raises(InputError, match="2 pairs"):
        accuracy_against_sparsity(example_results(models=("a", "b")))
    with pytest.raises(InputError, match="has an accuracy"):
        accuracy_grid(example_results().assign(accuracy=np.nan))
    with pytest.raises(InputError, match="has an accuracy"):
        accuracy_against_sparsity(example_results().assign(accuracy=np.nan))
