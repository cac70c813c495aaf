"""Tiny public transformers, built from configurations: traced, encoded, measured, pruned and compacted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils import _pytree as pytree

import topo
from tests.jacobians import Reference, positive, random_masks
from tests.public_models import public_dag, public_inputs, public_model
from topo.pruning.variational import GatedModel, find_gates

PRUNED = ["bert", "gpt2", "llama", "t5", "vit"]


def tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def assert_compacted(name: str, masks: Mapping[str, Tensor]) -> None:
    """The smaller network computes what the masked one does, on another number of samples than it was traced with."""
    dag, inputs = public_dag(name), public_inputs(name, 2, seed=3)
    small = topo.compact(dag, masks)
    masked = {k: p.detach() * masks[k] if k in masks else p.detach() for k, p in dag.model.named_parameters()}
    with torch.no_grad():
        wanted = tensors(functional_call(dag.model, masked, (), inputs))
        got = tensors(small(**inputs))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(wanted, got, strict=True))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in dag.model.parameters())


@pytest.mark.parametrize("name", PRUNED)
def test_the_traced_network_equals_the_model_bit_for_bit_for_other_inputs_and_numbers_of_samples(name: str) -> None:
    dag = public_dag(name)
    for samples in (1, 3):
        inputs = public_inputs(name, samples)
        with torch.no_grad():
            wanted, got = dag.model(**inputs), dag(**inputs)
        shown = [key for key, value in wanted.items() if not type(value).__name__.endswith("Cache")]
        assert type(got) is type(wanted) and list(got.keys()) == shown
        tensors = [key for key, value in wanted.items() if isinstance(value, Tensor)]
        assert tensors and all(torch.equal(got[key], wanted[key]) for key in tensors)


def assert_edges_of_derivatives(dag: topo.Dag, masks: Mapping[str, Tensor]) -> None:
    """Of every pair of parts, every pair of elements; dag's parameters are all positive."""
    graph = topo.encode(dag, masks)
    reference = Reference(dag, masks, graph)
    blocks = {(b.source, b.target): b.matrix for b in graph.blocks}
    for target in reference.results:
        for source, jacobian in reference.rows(target, list(range(graph.parts[target].size))).items():
            wanted = jacobian.T != 0
            matrix = blocks.get((source, target))
            found = torch.zeros(wanted.shape, dtype=torch.bool)
            if matrix is not None:
                at = matrix.tocoo().coords
                found[torch.as_tensor(at[0]).long(), torch.as_tensor(at[1]).long()] = True
            assert torch.equal(found, wanted), (graph.parts[source].name, graph.parts[target].name)


PADDED = {"attention_mask": torch.tensor([[1, 1, 1, 0, 0]])}


EVERY = [*((name, "sdpa") for name in ("bert", "gpt2", "llama", "t5", "vit")), ("gpt2", "eager")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attention"), EVERY)
def test_edges_are_the_nonzero_derivatives(name: str, attention: str) -> None:
    dag = positive_dag(name, attention)
    masks = {key: mask for key, mask in random_masks(dag.model, 0.7).items() if key in dag.state}
    assert_edges_of_derivatives(dag, masks)
    assert topo.measure(topo.encode(dag, masks), metrics=["local"]).notna().all()


@cache
def positive_dag(name: str, attention: str) -> topo.Dag:
    return public_dag(name, attention).bind(positive(public_model(name, attention=attention)[0]))


@pytest.mark.slow
def test_padding_given_in_the_example_leaves_out_what_it_forbids() -> None:
    name, attention = "t5", "sdpa"
    model = positive(public_model(name, attention=attention)[0])
    inputs = public_inputs(name)
    dag = topo.trace(model, {**inputs, **PADDED})
    assert_edges_of_derivatives(dag, {})
    graph, whole = topo.encode(dag), topo.encode(positive_dag(name, attention))
    # The mask is no part, and the parts are those of the network without one.
    assert [part.name for part in graph.parts if part.role == "input"] == list(inputs)
    assert sum(b.matrix.nnz for b in graph.blocks) < sum(b.matrix.nnz for b in whole.blocks)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRUNED)
def test_heads_groups_of_heads_and_units_are_pruned_and_compacted(name: str) -> None:
    masks = topo.prune(public_dag(name), "l1-filter", sparsity=0.3, device="cpu")
    attention = {k: m for k, m in masks.items() if k.endswith(("k.weight", "key.weight", "k_proj.weight"))}
    attention |= {k: m.T for k, m in masks.items() if k.endswith("c_attn.weight")}  # queries, keys and values
    assert any(not m.all() for m in attention.values())
    # A head goes whole, and a group of queries with its key and value.
    assert all(
        m.reshape(-1, 4, m.shape[1]).flatten(1).float().mean(1).unique().tolist() in ([0, 1], [1])
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
    masks = topo.prune(public_dag(name), "dag", sparsity=0.4, device="cpu")
    assert_compacted(name, masks)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRUNED)
def test_gates_multiply_units_and_heads(name: str) -> None:
    model, inputs = public_dag(name).model, public_inputs(name, 2, seed=3)
    gates = find_gates(public_dag(name))
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
