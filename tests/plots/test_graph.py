from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy import sparse

from tests.fresh import run_fresh
from topo.encoding.graph import BipartiteGraph, Block, LayerGraphs, MultipartiteGraph, Part
from topo.errors import InputError
from topo.plots import draw_graph, draw_graphs
from topo.plots import graph_layout as layout


def named(ax, gid) -> LineCollection | None:
    collections = [c for c in ax.collections if c.get_gid() == gid]
    return collections[0] if collections else None


@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans(), st.integers(1, 6))
def test_edges_between_groups_equal_a_count_one_by_one(seed, most, single, chunk):
    generator = np.random.default_rng(seed)
    parts = [Part("a", (4, 2, 3), 0, 0), Part("b", (7,), 1, 24)]
    matrix = sparse.csr_array((generator.random((24, 7)) < 0.3).astype(np.float32))
    graph = MultipartiteGraph(parts, [Block(0, 1, matrix)])
    degree = graph.degrees()
    a, b = (layout.lay_out_part(p, degree[p.nodes], single=single, most_groups=most) for p in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "EDGES_AT_ONCE", chunk)
        counts = layout.edges_between_groups(graph.blocks[0], a, b)
    expected = np.zeros((a.count, b.count), int)
    for i, j in zip(*matrix.nonzero(), strict=True):
        expected[a.group[i], b.group[j]] += 1
    assert (counts == expected).all()
    assert a.sizes.tolist() == np.bincount(a.group).tolist() and a.sizes.sum() == 24


def test_degrees_equal_the_adjacency(make_graph):
    graph = make_graph([(2, 3, 3), (4, 3, 3), (5,)], skips=[(0, 2)])
    edges = np.concatenate(graph.edges()[:2])
    assert graph.degrees().tolist() == np.bincount(edges, minlength=graph.n_nodes).tolist()


def test_hidden_channels_are_sorted_by_degree_and_images_hold_it():
    part = Part("conv", (3, 2, 2), 1, 0)
    degree = np.array([1, 1, 1, 1, 5, 6, 7, 8, 0, 0, 2, 0])
    placed = layout.lay_out_part(part, degree, single=False, most_groups=8)
    assert [image.tolist() for image in placed.images] == [[[5, 6], [7, 8]], [[1, 1], [1, 1]], [[0, 0], [2, 0]]]
    kept = layout.lay_out_part(Part("x", (3, 2, 2), 0, 0, "input"), degree, single=False, most_groups=8)
    assert kept.images[1].tolist() == [[5, 6], [7, 8]]


def test_large_images_shrink_to_block_means():
    degree = np.arange(50 * 30, dtype=float)
    placed = layout.lay_out_part(Part("x", (1, 50, 30), 0, 0), degree, single=False, most_groups=8, most_pixels=10)
    blocks = degree.reshape(10, 5, 10, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(placed.images[0], blocks)


def test_a_small_graph_shows_every_edge_and_node(make_graph):
    graph = make_graph([(6,), (4,), (3,)], density=0.4)
    ax = draw_graph(graph)
    assert len(named(ax, "edges").get_segments()) == graph.n_edges
    dots = [c for c in ax.collections if len(c.get_offsets()) > 1]
    assert sum(len(c.get_offsets()) for c in dots) == graph.n_nodes


def test_edges_join_the_dots_they_should():
    graph = BipartiteGraph(sparse.csr_array(np.array([[0, 1.0], [0, 0], [1, 0]], dtype=np.float32)))
    ax = draw_graph(graph)
    left, right = (c.get_offsets() for c in ax.collections if len(c.get_offsets()) > 1)
    ends = sorted((s[0, 1], s[-1, 1]) for s in named(ax, "edges").get_segments())
    np.testing.assert_allclose(ends, [(left[2, 1], right[0, 1]), (left[0, 1], right[1, 1])], atol=1e-12)


def test_skips_are_arcs_above_every_column(make_graph):
    graph = make_graph([(3, 8, 8), (8, 8, 8), (8, 8, 8), (8, 8, 8), (10,)], density=0.02, skips=[(1, 3), (0, 4)])
    ax = draw_graph(graph)
    arcs = named(ax, "skips").get_segments()
    assert len(arcs) == 2
    roof = max(p.get_extents().y1 for c in ax.collections if c.get_gid() is None for p in c.get_paths())
    assert all(arc[:, 1].max() > roof for arc in arcs)
    assert [ax.get_ylim()[1] > arc[:, 1].max() for arc in arcs] == [True, True]


SHAPES = {
    "one layer": [(5,), (3,)],
    "mlp": [(64,), (32,), (16,), (10,)],
    "small channels": [(1, 8, 8), (4, 8, 8), (8, 4, 4), (10,)],
    "tokens": [(3, 32, 32), (65, 48), (65, 48), (10,)],
    "long": [(3, 8, 8), *[(16, 8, 8)] * 30, (10,)],
    "very long": [(3, 4, 4), *[(8, 4, 4)] * 60, (10,)],
    "scalar": [(4,), (), (2,)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_no_texts_collide(name, make_graph, collisions):
    shapes = SHAPES[name]
    graph = make_graph(shapes, density=0.02, skips=[(i, i + 2) for i in range(1, len(shapes) - 2, 2)])
    assert collisions(draw_graph(graph, title="a network").figure) == []


def test_branches_of_one_level_share_a_column(collisions):
    parts = [
        Part("x", (4, 4, 4), 0, 0, "input"),
        Part("branch1", (4, 4, 4), 1, 64),
        Part("branch2", (8, 4, 4), 1, 128),
        Part("out", (10,), 2, 256, "output"),
    ]
    generator = np.random.default_rng(0)

    def block(i, j):
        dense = generator.random((parts[i].size, parts[j].size)) < 0.1
        return Block(i, j, sparse.csr_array(dense.astype(np.float32)))

    graph = MultipartiteGraph(parts, [block(0, 1), block(0, 2), block(1, 3), block(2, 3)])
    ax = draw_graph(graph)
    assert "branch1 +1" in [t.get_text() for t in ax.texts]
    assert collisions(ax.figure) == []


def letters(figure) -> list:
    return [text for ax in figure.axes for text in ax.texts if text.get_text()]


@pytest.mark.parametrize("size", [(4, 3), (7, 2.5), (2.2, 2.2)])
def test_it_fits_axes_that_are_given_with_letters_that_can_be_read(make_graph, size):
    figure = Figure(figsize=size)
    ax = figure.add_axes((0, 0, 1, 1))
    graph = make_graph([(3, 8, 8), (8, 8, 8), (8, 8, 8), (10,)], density=0.02, skips=[(0, 2)])
    assert draw_graph(graph, ax) is ax
    assert min(text.get_fontsize() for text in letters(figure)) >= 6
    assert np.ptp(ax.get_xlim()) == pytest.approx(size[0]) and np.ptp(ax.get_ylim()) == pytest.approx(size[1])


@pytest.mark.slow
@pytest.mark.parametrize("width", ["column", "page", 5.5])
@pytest.mark.parametrize("name", ["mlp", "small channels", "long", "very long"])
def test_no_text_collides_or_shrinks_in_a_width_that_is_given(name, width, make_graph, collisions):
    shapes = SHAPES[name]
    graph = make_graph(shapes, density=0.02, skips=[(i, i + 2) for i in range(1, len(shapes) - 2, 2)])
    figure = draw_graph(graph, width=width, title="a network").figure
    assert figure.get_figwidth() == {"column": 3.4, "page": 7.0}.get(width, width)
    assert min(text.get_fontsize() for text in letters(figure)) >= 6
    assert collisions(figure) == []


@pytest.mark.slow
def test_three_networks_in_a_column_fill_it(make_graph, collisions):
    shapes = [(1, 8, 8), (8, 8, 8), (8, 8, 8), (16, 4, 4), (16, 4, 4), (10,)]
    graphs = {name: make_graph(shapes, density=0.03, skips=[(1, 3)]) for name in ("one", "two", "a longer name")}
    figure = draw_graphs(graphs, columns=3, width="column")
    assert min(text.get_fontsize() for text in letters(figure)) >= 6
    feet = []
    for panel in figure.axes[:3]:
        extents = np.array([image.get_extent() for image in panel.images])
        shown = np.ptp(extents[:, :2])
        assert shown > 0.8 * np.ptp(panel.get_xlim())  # it was half of it
        assert np.ptp(extents[:, 2:]) > 0.25 * np.ptp(panel.get_ylim())
        feet.append(panel.get_position().y0 + extents[:, 2].min() - panel.get_ylim()[0])
    assert np.ptp(feet) < 1e-9  # they stand on one line
    assert collisions(figure) == []


def test_several_graphs_share_one_scale(make_graph, collisions):
    graphs = {"thin": make_graph([(4, 8, 8), (6, 8, 8), (10,)], density=0.01)}
    graphs["thick"] = make_graph([(4, 8, 8), (6, 8, 8), (10,)], density=0.6)
    figure = draw_graphs(graphs, columns=2)
    assert collisions(figure) == [] and min(text.get_fontsize() for text in letters(figure)) >= 6
    thin, thick = (ax.images[4].get_array()[..., :3] for ax in figure.axes[:2])
    assert thin.mean() > thick.mean()  # the darker, the more edges
    alone = draw_graph(graphs["thin"]).images[4].get_array()[..., :3]
    bounds = draw_graph(graphs["thin"], vmin=1, vmax=10_000).images[4].get_array()[..., :3]
    assert bounds.mean() > alone.mean()
    with pytest.raises(InputError, match="mapping from titles"):
        draw_graphs({})
    with pytest.raises(InputError, match="columns"):
        draw_graphs(graphs, columns=0)


def test_several_graphs_are_drawn_by_channel_where_asked():
    graph = BipartiteGraph(sparse.csr_array(np.eye(1, 2, dtype=np.float32)))
    single, grouped = (draw_graphs({"a": graph}, max_single_nodes=n).axes[0] for n in (4, 3))
    assert len(single.images) == 0 and len(grouped.images) == 3
    assert any(text.get_text().endswith("3 nodes · 1 edge") for text in single.texts)


def test_only_the_layers_asked_for_are_drawn(make_graph):
    graph = make_graph([(3, 8, 8), (8, 8, 8), (8, 8, 8), (10,)], density=0.05, skips=[(0, 2)])
    names = [part.name for part in graph.parts]
    ax = draw_graph(graph, layers=names[1:3])
    shown = [text.get_text() for text in ax.texts]
    assert names[1] in shown and names[0] not in shown
    edges = sum(block.matrix.nnz for block in graph.blocks if (block.source, block.target) == (1, 2))
    assert f"1,024 of {graph.n_nodes:,} nodes · {edges:,} of {graph.n_edges:,} edges" in shown
    few, degree = layout.chosen_parts(graph, graph.degrees(), names[1:3])
    assert [part.name for part in few.parts] == names[1:3] and len(few.blocks) == 1
    assert degree.tolist() == np.concatenate([graph.degrees()[p.nodes] for p in graph.parts[1:3]]).tolist()
    with pytest.raises(InputError, match="no part of the graph is called 'nothing'"):
        draw_graph(graph, layers="nothing")


def test_a_layer_that_reads_an_earlier_tensor_is_no_skip():
    parts = [Part("x", (3, 4, 4), 0, 0), Part("a", (3, 4, 4), 1, 48), Part("b", (3, 4, 4), 2, 96)]
    eye = sparse.eye_array(48, format="csr", dtype=np.float32)
    blocks = [Block(0, 1, eye, "a"), Block(1, 2, eye, "b"), Block(0, 2, eye, "b")]
    ax = draw_graph(MultipartiteGraph(parts, blocks))
    assert named(ax, "skips") is None and len(named(ax, "layers").get_segments()) == 1
    assert "skip connection" not in [text.get_text() for text in ax.texts]


def test_a_graph_without_edges(make_graph):
    parts = [Part("a", (3,), 0, 0, "input"), Part("b", (2,), 1, 3, "output")]
    empty = MultipartiteGraph(parts, [Block(0, 1, sparse.csr_array((3, 2), dtype=np.float32))])
    assert named(draw_graph(empty), "edges") is None


def test_a_million_nodes_in_seconds(make_graph):
    graph = make_graph([(3, 128, 128), *[(64, 64, 64)] * 4, (10,)], density=1.0, skips=[(1, 3)])
    assert graph.n_nodes > 1_000_000
    ax = draw_graph(graph)
    ax.figure.draw_without_rendering()
    assert len(named(ax, "edges").get_segments()) <= 5 * 16 * 16


def test_bad_input():
    with pytest.raises(InputError, match="LayerGraphs"):
        draw_graph(LayerGraphs({}))
    with pytest.raises(InputError, match="no parts"):
        draw_graph(MultipartiteGraph([], []))


def test_graphs_draw_themselves(make_graph):
    assert make_graph([(5,), (3,)]).draw(title="x").texts
    with pytest.raises(InputError, match="did you mean 'matplotlib'"):
        make_graph([(5,), (3,)]).draw("matplotlb")


@pytest.mark.slow
def test_graphs_draw_themselves_where_no_figure_has_been_drawn(tmp_path):
    code = (
        "import topo, torch, sys; graph = topo.encode(torch.nn.Linear(3, 2), example=(3,)); "
        "assert 'topo.plots' not in sys.modules; print(type(graph.draw()).__name__)"
    )
    done = run_fresh(code, folder=tmp_path)
    assert done.stdout.strip() == "Axes"
