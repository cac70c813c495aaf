from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from topo.encoding.graph import BipartiteGraph
from topo.errors import InputError
from topo.plots import degree_distribution, metric_distribution
from topo.plots.theme import HUES, pruner_color
from topo.results import example_results


def test_degrees_equal_the_edges_by_direction(make_graph):
    graph = make_graph([(2, 3, 3), (4, 3, 3), (5,)], skips=[(0, 2)])
    sources, targets = graph.edges()[:2]
    out, into = (np.bincount(ends, minlength=graph.n_nodes) for ends in (sources, targets))
    assert (graph.degrees("out") == out).all() and (graph.degrees("in") == into).all()
    assert (graph.degrees() == out + into).all()
    with pytest.raises(InputError, match="direction"):
        graph.degrees("up")


def test_a_line_is_the_share_of_nodes_with_as_many_edges_or_more(make_graph, collisions):
    graphs = {f"density {density}": make_graph([(30,), (20,), (10,)], density=density) for density in (0.1, 0.5)}
    ax = degree_distribution(graphs, title="two")
    for line, graph in zip(ax.lines, graphs.values(), strict=True):
        for degree, share in line.get_xydata():
            assert share == pytest.approx((graph.degrees() >= degree).mean())
    assert collisions(ax.figure) == []


def test_pruners_have_their_colours_and_letters_fit_a_column(make_graph, collisions):
    graph = make_graph([(30,), (20,), (10,)], density=0.3)
    ax = degree_distribution({"synflow": graph, "rigl": graph}, width="column")
    assert [line.get_color() for line in ax.lines] == [pruner_color("synflow"), pruner_color("rigl")]
    assert ax.figure.get_figwidth() == 3.4 and collisions(ax.figure) == []
    ax = degree_distribution({"synflow": graph, "rigl, at the end": graph}, width="page")
    assert [line.get_color() for line in ax.lines] == list(HUES[:2])
    many = degree_distribution({f"graph {i}": graph for i in range(8)})
    assert collisions(many.figure) == []
    with pytest.raises(InputError, match="width"):
        degree_distribution({"a": graph}, width="broad")


def test_graphs_without_edges_and_no_graphs_are_refused():
    empty = BipartiteGraph(sparse.csr_array((3, 2), dtype=np.float32))
    with pytest.raises(InputError, match="no graph has an edge"):
        degree_distribution({"empty": empty})
    with pytest.raises(InputError, match="mapping"):
        degree_distribution({})


def test_a_metric_is_shown_for_every_pruner(collisions):
    table = example_results()
    ax = metric_distribution(table, "edges")
    for line, (_, values) in zip(ax.lines, table.dropna(subset="edges").groupby("pruner")["edges"], strict=True):
        for value, share in line.get_xydata()[1:]:
            assert share <= (values <= value).mean() + 1e-12
        assert line.get_xdata()[-1] == values.max()
    assert collisions(ax.figure) == []
    with pytest.raises(InputError, match="no column 'nothing'"):
        metric_distribution(table, "nothing")
    with pytest.raises(InputError, match="no network"):
        metric_distribution(pd.DataFrame({"pruner": ["a"], "edges": [np.nan]}), "edges")
