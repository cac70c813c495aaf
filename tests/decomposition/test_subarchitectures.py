"""Sub-architectures: how many, which, and what they compute."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import topo
from tests.dag.nets import DenseBlock, Tower, Worked, lively, normal
from tests.dag.test_path_counts import live_dags, random_dag
from tests.zoo import SMALL, small
from topo.dag import Dag, trim
from topo.decomposition import SubNetwork, count_subarchitectures, iterate_subarchitectures, residual_blocks
from topo.errors import InputError


def brute_force(dag: Dag, live: frozenset[int]) -> set[tuple[int, ...]]:
    """Every set of arcs that trimming leaves as it is."""
    subsets = chain.from_iterable(combinations(sorted(live), k) for k in range(1, len(live) + 1))
    return {subset for subset in subsets if trim(dag, subset) == frozenset(subset)}


@given(live_dags(most_nodes=5, most_arcs=5))
def test_counts_and_lists_are_those_of_brute_force(case: tuple[Dag, frozenset[int]]) -> None:
    dag, live = case
    expected = brute_force(dag, live)
    listed = list(iterate_subarchitectures(dag, live))
    assert len(listed) == len(set(listed)) and set(listed) == expected
    assert count_subarchitectures(dag, live) == len(expected)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1, 2, 5, 40])
def test_residual_networks_have_three_to_the_blocks(blocks: int) -> None:
    dag = topo.lift(Tower(blocks), torch.zeros(1, 3)).dag
    assert count_subarchitectures(dag) == 3**blocks
    if blocks <= 5:
        assert len(list(iterate_subarchitectures(dag))) == 3**blocks


def test_a_network_that_is_not_series_parallel() -> None:
    """Not series-parallel, counted by hand: each union of some of the three paths is another sub-architecture."""
    # s=0, a=1, b=2, t=3: s-a, a-b, b-t from the chain, and s-b, a-t.
    dag = random_dag([(0, 2), (1, 3)], 4)
    assert count_subarchitectures(dag) == len(brute_force(dag, frozenset(range(5)))) == 2**3 - 1


def test_series_multiply_and_parallels_multiply_after_adding_one() -> None:
    triple = random_dag([(0, 1), (0, 1)], 2)
    assert count_subarchitectures(triple) == 2**3 - 1
    both = random_dag([(0, 1), (0, 1), (1, 2)], 3)
    assert count_subarchitectures(both) == (2**3 - 1) * (2**2 - 1)


def test_dense_blocks_are_counted_without_a_list() -> None:
    lifting = topo.lift(DenseBlock(3), torch.zeros(1, 2))
    assert count_subarchitectures(lifting.dag) == len(set(iterate_subarchitectures(lifting.dag)))
    assert count_subarchitectures(topo.lift(DenseBlock(6), torch.zeros(1, 2)).dag) > 10**5


@pytest.mark.slow
def test_a_count_that_would_explode_is_refused() -> None:
    dag = topo.lift(topo.models.build("densenet121"), torch.zeros(1, 3, 32, 32)).dag
    with pytest.raises(InputError, match="needs more than 1,000 states at node"):
        count_subarchitectures(dag, limit=1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_whole_is_the_network(name: str) -> None:
    model, inputs = small(name)
    model.eval()
    lifting = topo.lift(model, tuple(x[:1] for x in inputs))
    intact = SubNetwork(lifting, range(len(lifting.dag.arcs)))
    result, expected = intact(*inputs), model(*inputs)
    assert pytree.tree_structure(result) == pytree.tree_structure(expected)
    for a, b in zip(pytree.tree_leaves(result), pytree.tree_leaves(expected), strict=True):
        assert torch.equal(a, b)
    assert {n for n, _ in intact.named_parameters()} == {n for n, _ in model.named_parameters()}
    for arcs in iterate_subarchitectures(lifting.dag):
        outputs = pytree.tree_leaves(SubNetwork(lifting, arcs)(*inputs))
        assert [o.shape for o in outputs] == [b.shape for b in pytree.tree_leaves(expected)]


def test_functions_by_hand() -> None:
    model = lively(Worked())
    lifting = topo.lift(model, torch.zeros(1, 3, dtype=torch.float64))
    x = normal(4, 3)
    f1, skip, f2, rho = (lifting.labels.index(label) for label in ("f1", "I", "f2", "relu"))
    assert torch.equal(SubNetwork(lifting, [skip, rho])(x), torch.relu(x))
    assert torch.equal(SubNetwork(lifting, [f1, f2, rho])(x), torch.relu(model.f2(model.f1(x))))
    # Without f1, f2 starts at a node that nothing reaches: it goes, and so does its bias.
    pruned = SubNetwork(lifting, [skip, f2, rho])
    assert pruned.arcs == (skip, rho) and not list(pruned.parameters())
    assert torch.equal(pruned(x), torch.relu(x))
    assert not SubNetwork(lifting, [f1, f2])(x).any()
    assert repr(SubNetwork(lifting, [skip, rho])) == "SubNetwork(2 of 4 arcs, 1 path)"


def test_a_slot_or_an_output_that_is_gone_is_zero() -> None:
    model, inputs = small("u-net")
    model.eval()
    lifting = topo.lift(model, inputs[0][:1])
    (skip,) = residual_blocks(lifting.dag)[0].skips
    x = inputs[0]
    deep = model.up(model.down(model.enter(x)))
    output = SubNetwork(lifting, set(range(len(lifting.dag.arcs))) - {skip})(x)
    assert torch.equal(output, model.leave(torch.cat([torch.zeros_like(deep), deep], dim=1)))
    model, inputs = small("two-in-two-out")
    model.eval()
    lifting = topo.lift(model, tuple(x[:1] for x in inputs))
    last = [i for i, arc in enumerate(lifting.dag.arcs) if arc.target == lifting.sink and arc.slot == 1]
    classes, value = SubNetwork(lifting, set(range(len(lifting.dag.arcs))) - set(last))(*inputs)
    assert torch.equal(classes, model(*inputs)[0]) and not value.any() and value.shape == (3, 1)


def test_a_subnetwork_trains_the_parameters_of_the_model() -> None:
    model = lively(Tower(2))
    lifting = topo.lift(model, torch.zeros(1, 3, dtype=torch.float64))
    branch = residual_blocks(lifting.dag)[0].branches
    sub = SubNetwork(lifting, set(range(len(lifting.dag.arcs))) - set(branch))
    assert [name for name, _ in sub.named_parameters()] == ["layers.1.weight", "layers.1.bias"]
    assert next(sub.parameters()) is model.layers[1].weight
    sub(normal(2, 3)).sum().backward()
    assert model.layers[0].weight.grad is None and model.layers[1].weight.grad.any()
    assert set(sub.state_dict()) == {"layers.1.weight", "layers.1.bias"}


def test_buffers_come_along() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval()
    lifting = topo.lift(model, torch.zeros(1, 1, 2, 2))
    sub = SubNetwork(lifting, range(len(lifting.dag.arcs)))
    assert {n for n, _ in sub.named_buffers()} >= {"1.running_mean", "1.running_var"}
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    expected: Tensor = model.double()(x)
    assert torch.equal(sub.double()(x), expected)


def test_bad_input() -> None:
    lifting = topo.lift(Worked(), torch.zeros(1, 3))
    with pytest.raises(InputError, match="there is no arc 4"):
        SubNetwork(lifting, [4])
    model, inputs = small("two-in-two-out")
    with pytest.raises(InputError, match="need a Dag with one sink"):
        count_subarchitectures(topo.trace(model, inputs))
