from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from topo.errors import InputError
from topo.features import column_names
from topo.plots import correlation_heatmap, spearman_heatmap
from topo.results import example_results
from topo.results.schema import ALL_FAMILIES
from topo.stats import correlations_by_family, significant


@pytest.fixture
def wide_table():
    """A table with every whole-network metric."""
    generator = np.random.default_rng(0)
    table = example_results(seeds=3)
    return table.assign(**{c: generator.normal(size=len(table)) for c in column_names()})


def test_cells_are_scipys_correlations():
    table = example_results()
    correlations = correlations_by_family(table)
    sparse = table[table["pruner"] != "dense"]
    checked = 0
    for cell in correlations.itertuples():
        group = sparse[sparse["sparsity"] == cell.sparsity]
        group = group if cell.family == ALL_FAMILIES else group[group["family"] == cell.family]
        if len(group) < 5 or cell.metric == "nodes":
            assert np.isnan(cell.r) and cell.reason
            continue
        means = group.groupby("pruner")[[cell.metric, "accuracy"]].mean()
        assert cell.r == pytest.approx(stats.spearmanr(means[cell.metric], means["accuracy"]).statistic)
        checked += 1
    assert checked == 2 * 3 * 11


def test_the_figure_draws_the_correlations():
    correlations = correlations_by_family(example_results())
    ax = correlation_heatmap(correlations)
    drawn, hatched = ax.collections
    defined = correlations["r"].notna()
    np.testing.assert_allclose(drawn.get_array(), correlations.loc[defined, "r"])
    # The trained family has too few networks everywhere: it takes no column.
    empty = correlations["family"] == "trained"
    assert not defined[empty].any()
    assert len(hatched.get_segments()) == 4 * (~defined & ~empty).sum() > 0
    assert any("no value at all: trained" in text.get_text() for text in ax.figure.texts)
    assert (drawn.norm.vmin, drawn.norm.vmax) == (-1, 1)
    assert drawn.cmap(0.5)[:3] == pytest.approx((0.97, 0.96, 0.96), abs=0.02)


def test_rows_are_where_their_labels_are():
    correlations = correlations_by_family(example_results(), ["edges", "spectral_gap"])
    ax = correlation_heatmap(correlations)
    numbers = {t.get_position()[1] for t in ax.texts if t.get_text().lstrip("+−").startswith(".")}
    assert len(numbers) == 2
    np.testing.assert_allclose(sorted(numbers), sorted(ax.get_yticks()), atol=0.05)


def test_bold_numbers_are_the_significant_ones():
    correlations = correlations_by_family(example_results(seeds=4))
    ax = correlation_heatmap(correlations)
    clear = significant(correlations).sum()
    cells = [t for t in ax.texts if t.get_fontsize() == 7.2]
    assert len(cells) == correlations["r"].notna().sum()
    assert sum(t.get_fontweight() == "bold" for t in cells) == clear > 0


@pytest.mark.parametrize("options", [{}, {"sparsities": (0.9,)}, {"pruners": ("snip",), "seeds": 6}])
def test_no_texts_collide(options, collisions):
    ax = spearman_heatmap(example_results(**options), title="digits · small-cnn")
    assert collisions(ax.figure) == []


def test_all_metrics_fit(wide_table, collisions):
    ax = spearman_heatmap(wide_table, title="all")
    assert len(ax.get_yticklabels()) > 25
    assert collisions(ax.figure) == []


def test_one_family_is_not_repeated_as_all():
    correlations = correlations_by_family(example_results(pruners=("snip", "er")))
    assert set(correlations["family"]) == {"initial"}


def test_bad_input():
    with pytest.raises(InputError, match="no metric columns"):
        spearman_heatmap(example_results()[["accuracy", "pruner", "sparsity"]])
    with pytest.raises(InputError, match="2 pairs of dataset and model"):
        spearman_heatmap(example_results(models=("a", "b")))
    with pytest.raises(InputError, match="nothing to correlate"):
        spearman_heatmap(example_results().assign(accuracy=np.nan))
