"""Paths, their counts and what is left when arcs are dropped, against brute force on random multigraphs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import topo
from tests.dag.nets import Tower
from tests.zoo import SMALL, small
from topo.dag import (
    Arc,
    Dag,
    Interpreter,
    Node,
    Output,
    PathCounts,
    count_paths,
    heaviest_paths,
    paths,
    residual_blocks,
    trim,
)
from topo.errors import InputError


def random_dag(pairs: list[tuple[int, int]], count: int) -> Dag:
    """A multigraph of nodes 0 to count - 1, from the first to the last, with these arcs (lower to higher) and a chain
    so that every node has a level."""
    arcs = [Arc(i, i + 1) for i in range(count - 1)] + [Arc(min(p), max(p)) for p in pairs if p[0] != p[1]]
    levels = [0] * count
    for node in range(1, count):
        levels[node] = 1 + max(levels[a.source] for a in arcs if a.target == node)
    nodes = [Node(str(i), "sum" if i else "input", levels[i], (1, 1)) for i in range(count)]
    return Dag(tuple(nodes), tuple(arcs), (Output(count - 1),), {}, {}, (), 1)


@st.composite
def dags(draw, most_nodes: int = 6, most_arcs: int = 7) -> Dag:
    count = draw(st.integers(2, most_nodes))
    node = st.integers(0, count - 1)
    return random_dag(draw(st.lists(st.tuples(node, node), max_size=most_arcs)), count)


@st.composite
def live_dags(draw, **sizes: int) -> tuple[Dag, frozenset[int]]:
    dag = draw(dags(**sizes))
    return dag, draw(st.frozensets(st.integers(0, len(dag.arcs) - 1)))


def walks(dag: Dag, live: frozenset[int]) -> list[tuple[int, ...]]:
    """Every path, by plain recursion."""

    def walk(node: int, path: tuple[int, ...]) -> list[tuple[int, ...]]:
        completed = [path] if node == len(dag.nodes) - 1 else []
        for i in live:
            if dag.arcs[i].source == node:
                completed += walk(dag.arcs[i].target, (*path, i))
        return completed

    return walk(0, ())


@given(live_dags())
def test_counts_and_trim_are_those_of_brute_force(case: tuple[Dag, frozenset[int]]) -> None:
    dag, live = case
    every = walks(dag, live)
    counts = PathCounts(dag, live)
    assert counts.total == len(every)
    assert sorted(paths(dag, live)) == sorted(every)
    assert set(counts.live) == {arc for path in every for arc in path} == trim(dag, live)
    assert trim(dag, trim(dag, live)) == trim(dag, live)
    for arc in range(len(dag.arcs)):
        assert counts.through(arc) == sum(arc in path for path in every)


@given(live_dags(), st.data())
def test_dropping_arcs_of_a_level_subtracts_what_passes_them(case: tuple[Dag, frozenset[int]], data) -> None:
    dag, live = case
    counts = PathCounts(dag, live)
    if not counts.total:
        return
    level = data.draw(st.sampled_from(sorted({dag.nodes[dag.arcs[a].target].level for a in counts.live})))
    here = [a for a in counts.live if dag.nodes[dag.arcs[a].target].level == level]
    dropped = data.draw(st.sets(st.sampled_from(here)))
    expected = walks(dag, frozenset(counts.live) - dropped)
    assert counts.after(dropped) == len(expected)
    before, other = list(counts.live), counts.copy()
    if not expected:
        with pytest.raises(InputError, match="would cut every path"):
            counts.drop(dropped)
        assert counts.live == before and counts.total == other.total
        return
    died = counts.drop(dropped)
    assert counts.total == len(expected) and other.live == before
    assert set(died) == set(before) - {arc for path in expected for arc in path} >= dropped
    assert counts.after(died[:1]) == counts.total, "what is dead already costs nothing"


def test_counts_do_not_add_up_across_levels() -> None:
    dag = topo.lift(Tower(2), torch.zeros(1, 3)).dag
    counts = PathCounts(dag)
    first, second = (block.branches for block in residual_blocks(dag))
    assert counts.total == 4 and counts.total - counts.through(first[0]) - counts.through(second[0]) == 0
    with pytest.raises(InputError, match="levels 1 to 2 share paths"):
        counts.after([*first, *second])
    counts.drop([*first, *second])
    assert counts.total == 1


@given(live_dags(), st.data())
def test_heaviest_paths_come_in_order(case: tuple[Dag, frozenset[int]], data) -> None:
    dag, live = case
    number = st.integers(0, 5)
    weight = data.draw(st.lists(number, min_size=len(dag.arcs), max_size=len(dag.arcs)))
    for combine in ("sum", "product"):

        def total(path: tuple[int, ...], combine: str = combine) -> int:
            result = 0 if combine == "sum" else 1
            for arc in path:
                result = result + weight[arc] if combine == "sum" else result * weight[arc]
            return result

        listed = list(heaviest_paths(dag, weight, combine=combine, live=live))
        assert [w for w, _ in listed] == [total(path) for _, path in listed]
        assert sorted(path for _, path in listed) == sorted(walks(dag, live))
        assert [w for w, _ in listed] == sorted((w for w, _ in listed), reverse=True)


@pytest.mark.slow
def test_the_heaviest_of_very_many_paths_are_there_at_once() -> None:
    dag = topo.lift(topo.models.build("resnet56"), torch.zeros(1, 3, 32, 32)).dag
    assert PathCounts(dag).total == 2**27
    first = list(islice(heaviest_paths(dag, lambda arc: 1 + arc % 3), 100))
    assert [w for w, _ in first] == sorted((w for w, _ in first), reverse=True) and len({p for _, p in first}) == 100
    # Each block keeps the better of its two ways, so the best path is found block by block.
    (best, path) = first[0]
    assert best == sum(1 + arc % 3 for arc in path)
    assert len(next(paths(dag))) == len(path) == 56


@pytest.mark.parametrize("blocks", [1, 3, 9])
def test_residual_networks_have_two_to_the_blocks_paths(blocks: int) -> None:
    dag = topo.lift(Tower(blocks), torch.zeros(1, 3)).dag
    assert PathCounts(dag).total == len(list(paths(dag))) == 2**blocks
    found_blocks = residual_blocks(dag)
    assert len(found_blocks) == blocks
    assert all(len(block.skips) == len(block.branches) == 1 for block in found_blocks)
    assert all(not dag.arcs[block.skips[0]].steps for block in found_blocks)


@pytest.mark.slow
def test_residual_blocks_of_published_networks() -> None:
    dag = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32)).dag
    names = [block.name for block in residual_blocks(dag)]
    assert names == [f"stages.{i}.{j}.conv2" for i in range(3) for j in range(3)]
    assert residual_blocks(topo.lift(torch.nn.Linear(2, 2), torch.zeros(1, 2)).dag) == ()
    model, inputs = small("attention")
    assert [block.name for block in residual_blocks(topo.lift(model, inputs).dag)] == ["attention.linear#2", "mlp.3"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_counts_agree_with_the_dag(name: str) -> None:
    model, inputs = small(name)
    dag = topo.trace(model, tuple(x[:1] for x in inputs))

    class Counting(Interpreter):
        """Values are how many paths lead there."""

        def arc(self, place: int, operands: tuple[int, ...]) -> int:
            return sum(operands)

        def join(self, node: int, arrived: Mapping[int, int]) -> int | tuple[int, ...]:
            return tuple(arrived.values()) if dag.nodes[node].kind == "product" else sum(arrived.values())

        def output(self, output: Output) -> int:
            return 0 if output.node is None else sum(self.operands(output.node))

    counting = Counting(dag, garbage_collect_values=False)
    counts = PathCounts(dag)
    assert sum(counting.evaluate([1] * len(dag.inputs))) == counts.total == count_paths(dag)
    assert counts.forward == [sum(counting.operands(node)) for node in range(len(dag.nodes))]
    assert counts.total == sum(counts.backward[node] for node in dag.inputs)


def test_bad_input() -> None:
    dag = topo.lift(Tower(1), torch.zeros(1, 3)).dag
    with pytest.raises(InputError, match="there is no arc 7"):
        PathCounts(dag, [0, 7])
    with pytest.raises(InputError, match="the 'sum' or the 'product'"):
        next(heaviest_paths(dag, [1, 1], combine="max"))
    with pytest.raises(InputError, match="weighs -1"):
        next(heaviest_paths(dag, [-1, -1], combine="product"))
    with pytest.raises(InputError, match="weighs nan"):
        next(heaviest_paths(dag, [float("nan")] * 2))
