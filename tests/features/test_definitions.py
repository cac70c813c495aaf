"""What is said of every metric holds: its values are within the stated bounds, its reasons are those on its page."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.features.graphs import graphs, layers, random_layer
from topo import features
from topo.encoding.graph import BipartiteGraph, Block, MultipartiteGraph, Part
from topo.errors import InputError
from topo.features import METRICS, measure, metric
from topo.features.registry import COMPUTED_BY

PAGES = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "generated_pages.py"))
OWN = [entry for entry in METRICS.entries() if entry.source.built_in]
STATED = {entry.name: PAGES["_undefined_reasons"](entry.item) for entry in OWN}
# Of these, no small graph is an example.
UNPROVOKED = {
    "more paths than a float64 holds; see log10_paths",
    "the eigenvalue iteration did not converge, from two different starts",
}


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.name)
def test_a_metric_says_all_that_its_page_needs(entry):
    assert {*entry.info["formulas"]} == {*entry.info["columns"]} == {*entry.info["bounds"]}
    assert entry.info["cost"].startswith("O(") and "\\" not in entry.info["cost"]
    assert entry.info["computed_by"] in COMPUTED_BY
    assert "…" not in STATED[entry.name]  # a reason of which nothing is known but when it is given


def assert_within_bounds(graph: MultipartiteGraph) -> pd.Series:
    row = measure(graph, metrics=[entry.name for entry in OWN])  # also those of the other kind of graph
    names = {"N": row["nodes"], "E": row["edges"], "inf": inf, "min": min, "max": max}
    for entry in OWN:
        for column, (low, high) in entry.info["bounds"].items():
            value = row[column]
            if np.isnan(value):
                reason = row.attrs["undefined"][column]
                assert any(matches(stated, reason) for stated in STATED[entry.name]), (column, reason)
                continue
            least, most = (eval(str(bound), {"__builtins__": {}}, names) for bound in (low, high))
            slack = 1e-6 * max(1.0, abs(value))
            assert least - slack <= value <= most + slack, (column, least, value, most)
    return row


def matches(stated: str, reason: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, stated.split("…"))), reason) is not None


@settings(max_examples=60, deadline=None)
@given(st.one_of(graphs, layers), st.floats(0, 1))
def test_values_are_within_the_stated_bounds(graph, share):
    counts = {"weights_total": 20, "weights_kept": int(20 * share), "weights_effective": int(20 * share**2)}
    graph.attributes.update(counts)
    assert_within_bounds(graph)


def layer(rows: list[list[float]]) -> BipartiteGraph:
    matrix = np.array(rows, np.float32)
    where = np.nonzero(matrix == matrix)  # NaN is no edge
    entries = (matrix[where], tuple(index.astype(np.int32) for index in where))
    return BipartiteGraph(sparse.csr_array(entries, shape=matrix.shape))


def network(graph: BipartiteGraph, *roles: str) -> MultipartiteGraph:
    """The layer twice in a row, its parts in the given roles."""
    matrix = graph.matrix
    sizes = [matrix.shape[0], matrix.shape[1], matrix.shape[0]]
    offsets = [0, sizes[0], sizes[0] + sizes[1]]
    parts = [
        Part(f"part{level}", (size,), level, offset, role)
        for level, (size, offset, role) in enumerate(zip(sizes, offsets, roles, strict=True))
    ]
    return MultipartiteGraph(parts, [Block(0, 1, matrix, "one"), Block(1, 2, matrix.T.tocsr(), "two")])


def odd_graphs() -> list[MultipartiteGraph]:
    """Graphs on which metrics have no value."""
    none = float("nan")
    ordinary = random_layer(9, 9, 0.6, 0)
    ends = ("input", "hidden", "output")
    apart = layer([[none, none], [none, none]])
    direct = layer([[1, 2], [none, 3]])
    unended = replace(direct.parts[0], role="hidden"), replace(direct.parts[1], role="hidden")
    matched = layer([[1, none], [none, 1]])
    counted, empty = random_layer(4, 4, 0.5, 1), random_layer(4, 4, 0.5, 1)
    counted.attributes.update(weights_total=16, weights_kept=8)
    empty.attributes.update(weights_total=0, weights_kept=0, weights_effective=0)
    return [
        *(layer(rows) for rows in ([[1]], [[none]], [[1, 1, 1]], [[float("inf"), 1], [1, 1]], [[0, 0], [0, none]])),
        BipartiteGraph(sparse.csr_array((0, 3), dtype=np.float32)),
        BipartiteGraph(sparse.csr_array((1, 0), dtype=np.float32)),
        *(apart, direct, matched, counted, empty, random_layer(9, 9, 1.0, 0), ordinary),
        *(network(graph, *ends) for graph in (apart, direct, matched, ordinary, layer([[float("inf")]]), layer([[0]]))),
        network(direct, "hidden", "hidden", "hidden"),
        network(empty, *ends),
        MultipartiteGraph(list(direct.parts), list(direct.blocks)),
        MultipartiteGraph(list(unended), list(direct.blocks)),
        MultipartiteGraph([Part("alone", (1,), 0, 0, "input")], []),
    ]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_stated_reason_is_one_that_a_graph_gives():
    given: dict[str, set[str]] = {entry.name: set() for entry in OWN}
    for graph in odd_graphs():
        undefined = assert_within_bounds(graph).attrs["undefined"]
        for entry in OWN:
            given[entry.name] |= {undefined[column] for column in entry.info["columns"] if column in undefined}
    left = {
        (name, stated)
        for name, reasons in STATED.items()
        for stated in {*reasons} - UNPROVOKED
        if not any(matches(stated, reason) for reason in given[name])
    }
    assert sorted(left) == []


def test_the_package_alone_registers_every_metric():
    # The file of each metric is imported with the package, not by whatever else needs it.
    imports = ast.parse(inspect.getsource(features)).body
    at_once = {alias.name for node in imports if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {entry.source.module.rpartition(".")[2] for entry in OWN} - at_once == set()


def test_what_is_said_of_a_column_names_a_column():
    for said in ({"formula": {"othr": "N"}}, {"bounds": {"othr": (0, 1)}}):
        with pytest.raises(InputError, match="'othr'"):
            metric("other", category="general", **said)
    with pytest.raises(InputError, match="computed_by"):
        metric("other", category="general", computed_by="hand")
