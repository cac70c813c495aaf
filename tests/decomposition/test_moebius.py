"""Moebius terms add up to the output; a linear network is its paths, others have interactions."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
import torch
from torch.utils import _pytree as pytree

import topo
from tests.dag.nets import DenseBlock, Tower, lively, normal
from tests.zoo import small
from topo.decomposition import SubNetwork, count_subarchitectures, moebius_decomposition, residual_blocks, trim
from topo.errors import InputError


def lifted(model: torch.nn.Module, width: int = 3) -> topo.decomposition.Lifting:
    return topo.lift(lively(model), torch.zeros(1, width, dtype=torch.float64))


def by_definition(lifting: topo.decomposition.Lifting, x: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    """Delta_H of every set of arcs H, by the alternating sum over all its subsets."""
    every = range(len(lifting.dag.arcs))
    subsets = list(chain.from_iterable(combinations(every, k) for k in range(len(every) + 1)))
    phi = {h: SubNetwork(lifting, h)(x).detach() for h in subsets}
    return {
        h: sum((-1) ** (len(h) - len(k)) * phi[k] for k in subsets if set(k) <= set(h))
        for h in subsets
    }  # fmt: skip


def test_terms_are_those_of_the_definition() -> None:
    lifting = lifted(Tower(2, torch.tanh))
    x = normal(4, 3)
    expected = by_definition(lifting, x)
    decomposition = moebius_decomposition(lifting, x)
    terms = dict(zip(decomposition.sets, decomposition.terms, strict=True))
    for h, term in expected.items():
        if h in terms:
            torch.testing.assert_close(terms[h], term)
        else:
            assert trim(lifting.dag, h) != set(h) or not h
            assert term.abs().max() < 1e-12, "what is no sub-architecture has no term"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["u-net", "gate", "attention", "two-in-two-out", "shared", "doubling", "in-place"])
def test_terms_add_up_to_the_output(name: str) -> None:
    model, inputs = small(name)
    model.double().eval()
    inputs = tuple(x.double() for x in inputs)
    lifting = topo.lift(model, tuple(x[:1] for x in inputs))
    decomposition = moebius_decomposition(lifting, *inputs)
    expected = torch.cat([y.detach().flatten(1) for y in pytree.tree_leaves(model(*inputs))], dim=1)
    torch.testing.assert_close(decomposition.output, expected)
    assert len(decomposition.sets) == count_subarchitectures(lifting.dag)
    assert decomposition.shares().sum() == pytest.approx(1)


def test_two_tanh_blocks_have_four_path_terms_and_one_interaction() -> None:
    decomposition = moebius_decomposition(lifted(Tower(2, torch.tanh)), normal(6, 3))
    table = decomposition.table()
    assert len(table) == 9
    present = table[table["norm"] > 1e-9]
    assert present["kind"].value_counts().to_dict() == {"path": 4, "interaction": 1}
    assert present[present["kind"] == "interaction"]["order"].tolist() == [3]


def test_a_linear_network_is_its_paths() -> None:
    model = Tower(3, lambda x: x)
    for layer in model.layers:
        layer.bias = None
    decomposition = moebius_decomposition(lifted(model), normal(6, 3))
    table = decomposition.table()
    assert (table["kind"] == "path").sum() == 8 and len(table) == 27
    assert table[table["kind"] == "interaction"]["norm"].max() < 1e-12
    assert decomposition.shares()["path"] == pytest.approx(1)


def test_groups_are_switched_together() -> None:
    model = Tower(3, torch.tanh)
    lifting = lifted(model)
    x = normal(5, 3)
    groups = [block.branches for block in residual_blocks(lifting.dag)]
    decomposition = moebius_decomposition(lifting, x, groups=groups)
    assert [len(h) for h in decomposition.sets] == [0, 1, 1, 1, 2, 2, 2, 3]
    torch.testing.assert_close(decomposition.output, model(x).detach())
    terms = dict(zip(decomposition.sets, decomposition.terms, strict=True))
    torch.testing.assert_close(terms[()], x)
    for i in range(3):
        torch.testing.assert_close(terms[(i,)], torch.tanh(model.layers[i](x)).detach())
    assert decomposition.table()["kind"].tolist() == ["base", *["single"] * 3, *["interaction"] * 4]
    assert decomposition.shares().sum() == pytest.approx(1)


@pytest.mark.slow
def test_bad_input() -> None:
    lifting = lifted(Tower(7))
    with pytest.raises(InputError, match="2,187 sub-architectures, more than 1,024; switch arcs together"):
        moebius_decomposition(lifting, normal(1, 3))
    with pytest.raises(InputError, match=r"subsets of 11 groups are 2\^11"):
        moebius_decomposition(lifting, normal(1, 3), groups=[[i] for i in range(11)])
    with pytest.raises(InputError, match="groups share an arc"):
        moebius_decomposition(lifting, normal(1, 3), groups=[[0, 1], [1, 2]])
    with pytest.raises(InputError, match="there is no arc 99"):
        moebius_decomposition(lifting, normal(1, 3), groups=[[99]])
    dense = lifted(DenseBlock(9), 2)
    with pytest.raises(InputError, match=r"sub-architectures, more than|needs more than"):
        moebius_decomposition(dense, normal(1, 2))
