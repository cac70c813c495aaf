from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
from scipy import sparse

from topo.encoding.graph import BipartiteGraph, MultipartiteGraph
from topo.errors import InputError
from topo.plots import draw_interactively


def drawn(page: str) -> dict:
    return json.loads(re.search(r"^const data = (.*);$", page, re.M).group(1))


def numbers(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def test_every_node_and_every_edge_is_on_the_page(make_graph):
    graph = make_graph([(2, 3, 3), (4, 3, 3), (4, 3, 3), (5,)], skips=[(0, 2)])
    data = drawn(graph.draw("html", title="mine").html)
    assert data["title"] == "mine" and [part["name"] for part in data["parts"]] == [part.name for part in graph.parts]
    ends = [np.concatenate([numbers(e[end], "<u4") for e in data["edges"]]) for end in ("source", "target")]
    assert sorted(zip(*ends, strict=True)) == sorted(zip(*graph.edges()[:2], strict=True))
    assert numbers(data["in"], "<u4").tolist() == graph.degrees("in").tolist()
    assert numbers(data["out"], "<u4").tolist() == graph.degrees("out").tolist()
    assert [edges["skip"] for edges in data["edges"]].count(True) == 1


def test_no_two_nodes_of_a_column_are_in_one_place(make_graph):
    graph = make_graph([(2, 3, 3), (4, 3, 3), (5,)])
    heights = numbers(drawn(draw_interactively(graph).html)["height"], "<f4")
    assert heights.min() == 0 and heights.max() == 1
    for part in graph.parts:
        assert len({*heights[part.nodes].tolist()}) == part.size


def test_names_are_shown_and_never_obeyed(tmp_path):
    graph = BipartiteGraph(sparse.csr_array(np.eye(2, dtype=np.float32)), "</script><script>alert(1)</script>")
    page = draw_interactively(graph, title="<b>x</b>")
    assert page.html.count("<script>") == 1
    assert page.save(tmp_path / "graph.html").read_text() == page.html
    assert "<script>" not in page._repr_html_()


def test_only_what_a_browser_can_draw(make_graph):
    graph = make_graph([(20,), (20,), (20,)], density=0.9)
    with pytest.raises(InputError, match="more than the 10 that a browser draws"):
        draw_interactively(graph, max_edges=10)
    names = [part.name for part in graph.parts]
    assert len(drawn(draw_interactively(graph, layers=names[:2]).html)["parts"]) == 2
    with pytest.raises(InputError, match="no parts"):
        draw_interactively(MultipartiteGraph([], []))


def test_printing_it_does_not_print_the_page(make_graph):
    assert repr(draw_interactively(make_graph([(2,), (3,)]))) == "InteractiveDrawing()"
