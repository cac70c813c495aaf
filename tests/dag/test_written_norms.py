"""Norms that a model writes out are norms, and what only looks like one is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topo
from tests.dag.test_relations import Apply, path_matrix
from topo.dag import coarsen
from topo.dag.structure import structure
from topo.dag.written_norms import written_norms

WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "root mean square": lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "the other way round": lambda x: torch.rsqrt((x * x).mean(dim=(1, 2), keepdim=True)) * x,
    "quotient": lambda x: x / torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-6),
    "length": lambda x: x / x.norm(dim=-1, keepdim=True).clamp_min(1e-8),
    "sum": lambda x: x / x.abs().sum(-1, keepdim=True),
    "power": lambda x: x * x.pow(2).mean(-1, keepdim=True).add(1e-6).pow(-0.5),
    "over another axis": lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True)),
    "library's": lambda x: F.normalize(x, dim=1),
    "library's, absolute": lambda x: F.normalize(x, p=1, dim=2),
    "centred": lambda x: (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-6),
    "channels first": lambda x: channels_first(x),
    "deviation": lambda x: 3 * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6),
    "moments": lambda x: (
        (x - x.mean(1, keepdim=True)) * (x.pow(2).mean(1, keepdim=True) - x.mean(1, keepdim=True) ** 2 + 1).rsqrt()
    ),
    "of both at once": lambda x: at_once(*torch.var_mean(x, (1, 2), keepdim=True), x),
    "multiplied out": lambda x: multiplied_out(x, torch.rsqrt(x.var(1, keepdim=True) + 1e-6)),
    "axes left out": lambda x: (x - x.mean(1)[:, None]) / (x.std(1).unsqueeze(1) + 1e-6),
    "in groups": lambda x: channels_first(x.reshape(-1, 3, 2, 2).transpose(1, 2)).transpose(1, 2).reshape(x.shape),
    "between extremes": lambda x: (
        (x - x.amin(-1, keepdim=True)) / (x.amax(-1, keepdim=True) - x.amin(-1, keepdim=True))
    ),
}


def channels_first(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)


def at_once(variance: Tensor, mean: Tensor, x: Tensor) -> Tensor:
    return (x - mean) * torch.rsqrt(variance + 1e-6)


def multiplied_out(x: Tensor, scale: Tensor) -> Tensor:
    return x * scale - x.mean(1, keepdim=True) * scale


OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "gate": lambda x: x * x.mean(-1, keepdim=True),
    "gate of squares": lambda x: x * x.pow(2).mean(-1, keepdim=True).sqrt(),
    "wrong power": lambda x: x / x.pow(2).mean(-1, keepdim=True),
    "bent": lambda x: x * torch.sigmoid(x.pow(2).mean(-1, keepdim=True)),
    "upside down": lambda x: x.pow(2).mean(-1, keepdim=True).sqrt() / x,
    "no statistic": lambda x: x * x.pow(2).rsqrt(),
    "centred alone": lambda x: x - x.mean(1, keepdim=True),
    "over the wrong axis": lambda x: x[..., :3] * torch.rsqrt(x[..., :3].pow(2).mean(1).unsqueeze(2)),
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
    jacobian = torch.autograd.functional.jacobian(OTHERS[name], x).reshape(-1, 12).T.numpy() != 0
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


class Annotated(nn.Module):
    """A norm whose parameters are applied on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.scale * (x - mean) / (deviation + 1e-6) + self.shift


def test_parameters_are_read_where_the_norm_applies_them() -> None:
    model, x = Annotated().double(), torch.randn(3, 3, 4, dtype=torch.float64)
    dag = topo.trace(model, x[:1])
    (arc, _) = next(iter(written_norms(dag).values()))
    assert arc.steps[0].name == "layer_norm" and arc.steps[0].values == ("scale",)
    assert torch.equal(coarsen(dag)(x), model(x))
    assert (path_matrix(structure(dag)) == np.eye(12)).all()


SOFTMAX: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda s: s.exp() / s.exp().sum(-1, keepdim=True),
    "stable": lambda s: shares((s - s.amax(-1, keepdim=True)).exp()),
    "with a temperature": lambda s: shares(((s - s.max(-1, keepdim=True)[0]) / 0.5).exp()),
}


def shares(x: Tensor) -> Tensor:
    return x / x.sum(-1, keepdim=True)


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_softmax_that_is_written_out_is_one(name: str) -> None:
    mask = torch.ones(3, 3).triu(1).bool()

    def attend(x: Tensor) -> Tensor:
        return SOFTMAX[name]((x @ x.transpose(1, 2)).masked_fill(mask, -torch.inf)) @ x

    def expected_bin(x: Tensor) -> Tensor:
        return SOFTMAX[name](x) @ torch.arange(4, dtype=x.dtype)

    wanted = [structure(topo.trace(Apply(with_module), example())) for with_module in (library_attention, library_bin)]
    for function, known in zip((attend, expected_bin), wanted, strict=True):
        found = structure(topo.trace(Apply(function), example()))
        assert np.array_equal(path_matrix(found) != 0, path_matrix(known) != 0)
        assert found.statistics == known.statistics


def library_attention(x: Tensor) -> Tensor:
    return torch.softmax((x @ x.transpose(1, 2)).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf), -1) @ x


def library_bin(x: Tensor) -> Tensor:
    return torch.softmax(x, -1) @ torch.arange(4, dtype=x.dtype)
