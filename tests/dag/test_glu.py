"""One operation, the gated linear unit, known to all of the toolkit from its record alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topo
import topo.pruning
from topo.pruning.linearized_model import LinearizedOperations


class GatedConvolutions(nn.Module):
    """A stem, a gated convolution whose halves multiply, a residual sum and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 6, 3, padding=1)
        self.glu, self.norm = nn.GLU(1), nn.BatchNorm2d(3)
        self.inner, self.back, self.head = nn.Linear(3, 8), nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = (x + self.norm(self.glu(self.wide(x)))).mean((2, 3))
        x = x + self.back(F.glu(self.inner(x)))
        return self.head(x)


@pytest.fixture
def gated() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return GatedConvolutions().eval(), torch.rand(3, 2, 4, 4)


def test_glu_is_traced_and_lifted(gated):
    model, x = gated
    dag = topo.trace(model, x[:1])
    assert [step.name for arc in dag.arcs for step in arc.steps].count("glu") == 2
    assert torch.equal(dag(x), model(x))
    assert torch.equal(topo.lift(dag)(x), model(x))


def test_glu_has_the_edges_of_its_jacobian():
    module, x = nn.GLU(1), torch.rand(1, 6, 2, 2, dtype=torch.float64)
    dag = topo.trace(module, x)
    (arc,) = dag.arcs
    edges = topo.dag.relation(dag, arc).matrix().toarray() != 0
    jacobian = torch.autograd.functional.jacobian(module, x).reshape(12, 24)
    assert torch.equal(torch.from_numpy(edges.T), jacobian != 0)


def test_glu_is_encoded(gated):
    model, x = gated
    graph = topo.encode(topo.trace(model, x[:1]), encoding="multipartite")
    assert {"wide", "inner", "back"} <= {part.name for part in graph.parts}


def test_the_two_halves_of_a_glu_are_coupled(gated):
    model, x = gated
    channels = topo.dag.coupled_channels(topo.trace(model, x[:1]))
    rows = channels.axes["inner.weight"][0]
    assert torch.equal(rows[:4], rows[4:]) and rows[:4].unique().numel() == 4
    rows = channels.axes["wide.weight"][0]
    assert torch.equal(rows[:3], rows[3:]) and torch.equal(rows[:3], channels.axes["stem.weight"][0])


def test_a_network_with_glu_is_compacted(gated):
    model, x = gated
    channels = topo.dag.coupled_channels(topo.trace(model, x[:1]))
    alive = torch.ones(channels.count, dtype=torch.bool)
    alive[[int(channels.axes["inner.weight"][0][1]), int(channels.axes["stem.weight"][0][2])]] = False
    masks = channels.masks(alive, [name for name, _ in model.named_parameters()])
    masked = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in masked.named_parameters():
            parameter.mul_(masks[name])
    small = topo.compact(model, masks, x[:1])
    torch.testing.assert_close(small(x), masked(x))
    assert small.get_submodule("inner").out_features == 6 and small.get_submodule("wide").out_channels == 4


def test_glu_is_a_sum_in_a_linearised_model(gated):
    model, x = gated
    with LinearizedOperations():
        assert torch.equal(F.glu(x, 1), x[:, :1] + x[:, 1:])
    scores = topo.pruning.score(model, "synflow", data=(x, torch.tensor([0, 1, 0])))
    # Synaptic flow is conserved: what enters the two halves of a unit leaves it.
    entering = scores["inner.weight"].sum(1)
    torch.testing.assert_close(entering[:4] + entering[4:], scores["back.weight"].sum(0))
