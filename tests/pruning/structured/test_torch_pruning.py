"""Importances of torch-pruning, an independent implementation, where its definitions and ours agree."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import topo.pruning
from topo.torchvision_import import import_torchvision

import_torchvision()  # which torch-pruning imports
pruning = pytest.importorskip("torch_pruning")

LAYERS = ["stem", "conv1", "wide", "hidden"]


class Plain(nn.Module):
    """A residual block, then linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv1, self.norm1 = nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.wide = nn.Conv2d(6, 12, 1)
        self.hidden, self.head = nn.Linear(12, 9), nn.Linear(9, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))
        return self.head(torch.relu(self.hidden(torch.relu(self.wide(x)).mean((2, 3)))))


@pytest.fixture(scope="module")
def plain():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Plain().eval()
        for norm in (net.stem_norm, net.norm1, net.norm2):
            nn.init.uniform_(norm.weight)
        return net


def theirs(net, layer, importance):
    graph = pruning.DependencyGraph().build_dependency(net, example_inputs=torch.zeros(1, 1, 8, 8))
    module = getattr(net, layer)
    prune = graph.get_pruner_of_module(module).prune_out_channels
    count = module.weight.shape[0]
    return importance(graph.get_pruning_group(module, prune, idxs=list(range(count)))).double()


def ours(net, name, layer, **settings):
    scores = topo.pruning.score(net, name, example=(1, 8, 8), **settings)
    return scores[f"{layer}.weight"].flatten(1)[:, 0]


@pytest.mark.parametrize("layer", LAYERS)
def test_group_norm_is_the_same(plain, layer):
    importance = pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean")
    torch.testing.assert_close(ours(plain, "group-norm", layer), theirs(plain, layer, importance), rtol=1e-5, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "p", "power"), [("l1-filter", 1, 1), ("l2-filter", 2, 2)])
@pytest.mark.parametrize("layer", ["conv1", "wide", "hidden"])
def test_filter_norms_of_layers_that_are_not_coupled_are_the_same(plain, layer, name, p, power):
    importance = pruning.importance.GroupMagnitudeImportance(p=p, group_reduction="first", normalizer=None)
    torch.testing.assert_close(ours(plain, name, layer) ** power, theirs(plain, layer, importance), rtol=1e-5, atol=0)


@pytest.mark.parametrize("layer", ["stem", "conv1"])
def test_slimming_scales_are_the_same(plain, layer):
    norms = [nn.modules.batchnorm._BatchNorm]
    importance = pruning.importance.GroupMagnitudeImportance(
        p=1, group_reduction="mean", normalizer=None, target_types=norms
    )
    data = (torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
    scores = topo.pruning.score(plain, "slimming", data=data, penalty=0)[f"{layer}.weight"][:, 0, 0, 0]
    torch.testing.assert_close(scores, theirs(plain, layer, importance), rtol=1e-5, atol=0)
