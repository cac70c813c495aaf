from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo.pruning
from topo.errors import InputError
from topo.pruning import PRUNERS, Task
from topo.pruning.samples import Samples
from topo.torchvision_import import import_torchvision


def test_two_inputs_by_hand():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[3.0, -1.0], [1.0, 1.0]])
    data = (torch.tensor([[3.0, 6.0], [4.0, -8.0]]), torch.tensor([0, 1]))
    scores = topo.pruning.score(layer, "wanda", data=data)
    assert scores["weight"].tolist() == [[15.0, 10.0], [5.0, 10.0]]
    assert topo.prune(layer, "wanda", sparsity=0.5, data=data)["weight"].tolist() == [[True, False], [False, True]]


def test_scores_of_convolutions_by_unfolding():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2).double()
        inputs = torch.randn(5, 4, 6, 7, dtype=torch.float64)
    scores = topo.pruning.score(conv, "wanda", data=(inputs, torch.zeros(5, 2)))["weight"]
    norms = nn.functional.unfold(inputs, (3, 2), padding=1, stride=2).square().sum((0, 2)).sqrt().view(2, 2, 3, 2)
    torch.testing.assert_close(scores, conv.weight.detach().abs() * norms.repeat_interleave(3, 0))


@pytest.mark.parametrize("sparsity", [0.25, 0.6])
def test_every_row_keeps_the_same_number_and_its_largest_scores(sparsity, awkward, images):
    masks = topo.prune(awkward, "wanda", sparsity=sparsity, data=images, sequential=False)
    scores = topo.pruning.score(awkward, "wanda", data=images)
    assert masks.counts()["kept"].sum() == round((1 - sparsity) * masks.counts()["total"].sum())
    for name, mask in masks.items():
        outputs = 1 if name == "up.weight" else 0  # of a transposed convolution the second axis
        rows, values = (tensor.movedim(outputs, 0).flatten(1) for tensor in (mask, scores[name]))
        assert int(rows.sum(1).max()) - int(rows.sum(1).min()) <= 1
        kept, pruned = values.masked_fill(~rows, torch.inf), values.masked_fill(rows, -torch.inf)
        assert (kept.amin(1) >= pruned.amax(1)).all()


def test_layers_see_what_the_pruned_ones_before_them_let_through():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 4)).double()
        data = torch.randn(30, 8, dtype=torch.float64) * torch.linspace(0.1, 3, 8), torch.arange(30) % 4
    first = topo.prune(net, "wanda", sparsity=0.75, data=data, include="0.*")
    pruned = first.apply(copy.deepcopy(net))
    both = topo.prune(net, "wanda", sparsity=0.75, data=data)
    alone = topo.prune(pruned, "wanda", sparsity=0.75, data=data, include="2.*")
    at_once = topo.prune(net, "wanda", sparsity=0.75, data=data, sequential=False)
    assert torch.equal(both["0.weight"], first["0.weight"])
    assert torch.equal(both["2.weight"], alone["2.weight"])
    assert torch.equal(at_once["0.weight"], first["0.weight"])
    assert not torch.equal(at_once["2.weight"], both["2.weight"])
    assert both.state is None


def test_scoring_leaves_the_weights_as_they_were(layer):
    model, data = layer
    before = model.weight.detach().clone()
    samples = Samples(data, torch.Generator())
    task = Task(model, {"weight": model.weight}, 10, samples, torch.Generator(), torch.device("cpu"))
    with torch.no_grad():
        PRUNERS["wanda"].score(task, sequential=True)
    assert torch.equal(model.weight, before)


def test_scale_of_the_data_and_of_the_rows_does_not_matter(layer):
    model, (inputs, targets) = layer
    masks = topo.prune(model, "wanda", sparsity=0.5, data=(inputs, targets))
    other = copy.deepcopy(model)
    other.weight.data *= torch.tensor([[4.0], [-1.0], [0.5], [8.0], [2.0]])
    assert topo.prune(other, "wanda", sparsity=3 / 7, data=(-16 * inputs, targets)) == topo.prune(
        model, "wanda", sparsity=3 / 7, data=(inputs, targets)
    )
    inputs = inputs.clone()
    inputs[:, 3] = 0.0
    assert not topo.prune(model, "wanda", sparsity=0.5, data=(inputs, targets))["weight"][:, 3].any()
    assert masks["weight"][:, 3].any()


@pytest.mark.parametrize("sequential", [True, False])
def test_vision_transformers(sequential):
    vit = import_torchvision().models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=3
    )
    nn.init.normal_(vit.heads.head.weight)
    data = torch.randn(64, 3, 8, 8), torch.arange(64) % 3
    before = copy.deepcopy(vit.state_dict())
    masks = topo.prune(vit, "wanda", sparsity=0.5, data=data, sequential=sequential)
    assert all((mask.flatten(1).sum(1) * 2 == mask[0].numel()).all() for mask in masks.values())
    assert all(torch.equal(value, before[key]) for key, value in vit.state_dict().items())


def test_patterns(layer):
    wide = nn.Linear(8, 3)
    masks = topo.prune(wide, "wanda", sparsity=0.5, data=(torch.randn(9, 8), torch.zeros(9, 3)), allocation="2:4")
    assert (masks["weight"].unflatten(1, (2, 4)).sum(-1) == 2).all()


def test_bad_input(layer):
    model, (inputs, targets) = layer
    with pytest.raises(InputError, match="needs data"):
        topo.prune(model, "wanda", sparsity=0.5)
    with pytest.raises(InputError, match="not all finite"):
        topo.prune(model, "wanda", sparsity=0.5, data=(inputs * torch.nan, targets))
    with pytest.raises(InputError, match="multiplies its inputs by bias"):
        topo.prune(model, "wanda", sparsity=0.5, data=(inputs, targets), include="bias")
    with pytest.raises(InputError, match="samples must be a whole number"):
        topo.prune(model, "wanda", sparsity=0.5, data=(inputs, targets), samples=-1)
