"""Norms that a model writes out are norms, and what only looks like one is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import topo
from tests.dag.test_relations import Apply, path_matrix
from topo.dag import coarsen
from topo.dag.structure import structure

WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "root mean square": lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "the other way round": lambda x: torch.rsqrt((x * x).mean(dim=(1, 2), keepdim=True)) * x,
    "quotient": lambda x: x / torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-6),
    "length": lambda x: x / x.norm(dim=-1, keepdim=True).clamp_min(1e-8),
    "sum": lambda x: x / x.abs().sum(-1, keepdim=True),
    "power": lambda x: x * x.pow(2).mean(-1, keepdim=True).add(1e-6).pow(-0.5),
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "gate": lambda x: x * x.mean(-1, keepdim=True),
    "gate of squares": lambda x: x * x.pow(2).mean(-1, keepdim=True).sqrt(),
    "wrong power": lambda x: x / x.pow(2).mean(-1, keepdim=True),
    "bent": lambda x: x * torch.sigmoid(x.pow(2).mean(-1, keepdim=True)),
    "upside down": lambda x: x.pow(2).mean(-1, keepdim=True).sqrt() / x,
    "no statistic": lambda x: x * x.pow(2).rsqrt(),
    "not the last axis": lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True)),
    "of another": lambda x: x * torch.rsqrt(x.flip(1).pow(2).mean(-1, keepdim=True)),
}


def example() -> Tensor:
    return torch.rand(1, 3, 4, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("name", WRITTEN)
def test_a_norm_that_is_written_out_is_element_by_element(name: str) -> None:
    dag = topo.trace(Apply(WRITTEN[name]), example())
    assert (path_matrix(structure(dag)) == np.eye(12)).all()
    assert len(coarsen(dag).nodes) < len(dag.nodes)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.equal(coarsen(dag)(x), WRITTEN[name](x))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_such_norm_has_the_edges_of_its_jacobian(name: str) -> None:
    x = example()
    found = path_matrix(structure(topo.trace(Apply(OTHERS[name]), x))) != 0
    jacobian = torch.autograd.functional.jacobian(OTHERS[name], x).reshape(12, 12).T.numpy() != 0
    assert (found >= jacobian).all() and (name == "no statistic" or np.array_equal(found, jacobian))


def test_a_written_norm_has_the_graph_of_the_module() -> None:
    class Written(nn.RMSNorm):
        def forward(self, x: Tensor) -> Tensor:
            y = x.to(torch.float32)
            return self.weight * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)

    graphs = []
    for norm in (nn.RMSNorm(4), Written(4)):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 2))
        graphs.append(topo.encode(net, example=(3, 4), pooling="node"))
    assert graphs[0].parts == graphs[1].parts
    assert all(np.array_equal(a.matrix.toarray(), b.matrix.toarray()) for a, b in zip(*(g.blocks for g in graphs)))
