"""Tiny public transformers, built from configurations: traced, encoded, measured, pruned and compacted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils import _pytree as pytree

import topo
from tests.public_models import TRANSFORMERS, public_dag, public_inputs
from topo.pruning.variational import GatedModel, find_gates

TRANSPOSED = pytest.mark.xfail(strict=True, reason="weights that are multiplied as they are, x @ w, are not prunable")
PRUNED = [
    "bert",
    pytest.param("gpt2", marks=TRANSPOSED),
    "llama",
    "t5",
    "vit",
]


def tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def assert_compacted(name: str, masks: Mapping[str, Tensor]) -> None:
    """The smaller network computes what the masked one does, on another number of samples than it was traced with."""
    dag, inputs = public_dag(name), public_inputs(name, 2, seed=3)
    small = topo.compact(dag.model, masks, public_inputs(name))
    masked = {k: p.detach() * masks[k] if k in masks else p.detach() for k, p in dag.model.named_parameters()}
    with torch.no_grad():
        wanted = tensors(functional_call(dag.model, masked, (), inputs))
        got = tensors(small(**inputs))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(wanted, got, strict=True))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in dag.model.parameters())


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_traced_network_equals_the_model_bit_for_bit_for_other_inputs_and_numbers_of_samples(name: str) -> None:
    dag = public_dag(name)
    for samples in (1, 3):
        inputs = public_inputs(name, samples)
        with torch.no_grad():
            wanted, got = dag.model(**inputs), dag(**inputs)
        assert type(got) is type(wanted) and list(got.keys()) == list(wanted.keys())
        tensors = [key for key, value in wanted.items() if isinstance(value, Tensor)]
        assert tensors and all(torch.equal(got[key], wanted[key]) for key in tensors)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRUNED)
def test_heads_groups_of_heads_and_units_are_pruned_and_compacted(name: str) -> None:
    model, example = public_dag(name).model, public_inputs(name)
    masks = topo.prune(model, "l1-filter", sparsity=0.3, example=example, device="cpu")
    attention = {k: m for k, m in masks.items() if k.endswith(("k.weight", "key.weight", "k_proj.weight"))}
    assert any(not m.all() for m in attention.values())
    # A head goes whole, and a group of queries with its key and value.
    assert all(
        m.view(-1, 4, m.shape[1]).flatten(1).float().mean(1).unique().tolist() in ([0, 1], [1])
        for m in attention.values()
    )
    if name == "llama":
        (query,) = (m for k, m in masks.items() if "q_proj" in k)
        (key,) = attention.values()
        assert torch.equal(query.view(2, 2, 4, -1).any((1, 2, 3)), key.view(2, 4, -1).any((1, 2)))
    assert_compacted(name, masks)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRUNED)
def test_the_dag_pruner_drops_branches_units_and_heads(name: str) -> None:
    masks = topo.prune(public_dag(name).model, "dag", sparsity=0.4, example=public_inputs(name), device="cpu")
    assert_compacted(name, masks)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRUNED)
def test_gates_multiply_units_and_heads(name: str) -> None:
    model, inputs = public_dag(name).model, public_inputs(name, 2, seed=3)
    gates = find_gates(model, public_inputs(name))
    gated = GatedModel(model, gates).eval()
    with torch.no_grad():
        assert all(map(torch.equal, tensors(gated(**inputs)), tensors(model(**inputs))))
        is_open = torch.arange(gates.count) % 3 > 0
        gated.fixed.copy_(is_open)
        closed = tensors(gated(**inputs))
    masks = gates.masks(is_open)
    masked = {k: p.detach() * masks[k] if k in masks else p.detach() for k, p in model.named_parameters()}
    wanted = tensors(functional_call(model, masked, (), inputs))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(closed, wanted, strict=True))
    assert_compacted(name, masks)
