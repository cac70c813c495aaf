"""What all structured algorithms share, and the networks that all of them take."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo.pruning
from tests.pruning.structured.conftest import Little, find, kept_units
from tests.pruning.variational.nets import cost_by_torch
from topo.dag.channel_coupling import coupled_channels
from topo.dag.compaction.compactor import compact
from topo.dag.costs import cost
from topo.errors import InputError
from topo.models.resnet import resnet
from topo.pruning import PRUNERS
from topo.torchvision_import import import_torchvision
from topo.training import recipe

tv = import_torchvision().models
EXAMPLE = torch.zeros(1, 1, 8, 8)
NAMES = [name for name in PRUNERS if PRUNERS.entry(name).family == "structured"]
OWN = ["fpgm", "group-norm", "hrank", "l0", "l1-filter", "l2-filter", "slimming", "taylor"]
SCORED = ["fpgm", "group-norm", "hrank", "l1-filter", "l2-filter", "slimming", "taylor"]
QUICK = recipe("digits", epochs=1, batch_size=30)


# no more samples than there are
SETTINGS = {"taylor": {"samples": 60}}


def mobilenet() -> nn.Module:
    net = tv.MobileNetV2(10, inverted_residual_setting=[[1, 8, 1, 1], [4, 8, 2, 1], [4, 16, 1, 2]], width_mult=0.25)
    net.features[0][0] = nn.Conv2d(1, 8, 3, padding=1, bias=False)
    return net


def densenet() -> nn.Module:
    net = tv.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=10)
    net.features.conv0 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
    return net


def vit() -> nn.Module:
    net = tv.VisionTransformer(8, 4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=10)
    net.conv_proj = nn.Conv2d(1, 16, 4, 4)
    nn.init.normal_(net.heads.head.weight)
    return net


NETS = {
    "little": Little,
    "resnet8": lambda: resnet(8, (1, 8, 8), 10),
    "mobilenet": mobilenet,
    "densenet": densenet,
    "vit": vit,
}


@pytest.fixture(scope="session", params=NETS)
def traced(request):
    """A network and its Dag, traced once for all algorithms."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = NETS[request.param]()
    return request.param, net, topo.trace(net, EXAMPLE)


@pytest.fixture
def known(traced, monkeypatch):
    name, net, dag = traced
    monkeypatch.setattr("topo.pruning.structured.unit_scoring.trace", lambda model, example: dag.bind(model))
    return name, net, dag


def test_all_are_here():
    assert set(OWN) <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_the_smaller_network_computes_what_the_masked_one_does(known, few_digits, name):
    which, net, dag = known
    options = {"sparsity": 0.3, "data": few_digits, "recipe": QUICK, "device": "cpu", **SETTINGS.get(name, {})}
    if which == "vit" and name == "slimming":
        with pytest.raises(InputError, match="batch norm"):
            topo.prune(net, name, **options)
        return
    masks = topo.prune(net, name, **options)
    assert masks.sparsity >= 0.3
    masked = masks.install(copy.deepcopy(net)).double().eval()
    small = compact(masked, masks, channels=coupled_channels(dag.bind(masked)))
    inputs = few_digits.test_inputs[:5].double()
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), masked(inputs), rtol=1e-10, atol=1e-10)
    # Counted as they run: the smaller network need not be traced.
    before, after = cost_by_torch(copy.deepcopy(net).eval(), EXAMPLE), cost_by_torch(small, EXAMPLE.double())
    assert after["parameters"] < 0.8 * before["parameters"]
    assert after["macs"] < before["macs"]


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["weights", "parameters", "macs"])
@pytest.mark.parametrize("name", OWN)
def test_the_budget_is_kept(little, few_digits, name, budget):
    options = {"data": few_digits, "recipe": QUICK, "device": "cpu", **SETTINGS.get(name, {})}
    masks = topo.prune(little, name, sparsity=0.4, budget=budget, scope="global", **options)
    masked = masks.install(copy.deepcopy(little))
    small = compact(masked, masks, channels=find(masked))
    dense, left = cost(find(little).dag), cost(small, EXAMPLE)
    for each in (dense, left):
        each["weights"] = 0
    dense["weights"], left["weights"] = (
        sum(p.numel() for key, p in net.named_parameters() if p.ndim > 1) for net in (little, small)
    )
    assert left[budget] <= 0.6 * dense[budget]
    channels, allowed = find(little), 0.6 * dense[budget]
    kept = kept_units(channels, masks)
    assert channels.costs(kept)[budget] == left[budget]
    norms = [name for name, module in little.named_modules() if isinstance(module, nn.BatchNorm2d)]
    scaled = torch.cat([channels.axes[f"{norm}.weight"][0] for norm in norms])
    for unit in (~kept).nonzero().flatten():
        assert name != "slimming" or unit in scaled
        assert channels.costs(kept.index_fill(0, unit[None], True))[budget] > allowed


@pytest.mark.parametrize("name", SCORED)
def test_renumbering_the_channels_renumbers_the_scores(exact, images, name):
    untrained = {"penalty": 0} if name == "slimming" else {}
    before = topo.pruning.score(exact, name, data=images, **untrained)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        for tensor in (exact.conv1.weight, exact.conv1.bias, *exact.norm1.state_dict().values()):
            if tensor.ndim:
                tensor.copy_(tensor[order])
        exact.conv2.weight.copy_(exact.conv2.weight[:, order])
    after = topo.pruning.score(exact, name, data=images, **untrained)
    torch.testing.assert_close(after["conv1.weight"], before["conv1.weight"][order])
    torch.testing.assert_close(after["stem.weight"], before["stem.weight"])
    assert before["conv1.weight"][:, 0, 0, 0].unique().numel() > 1


@pytest.mark.parametrize("name", OWN)
def test_the_same_seed_gives_the_same_masks_and_the_model_stays(little, few_digits, name):
    state = copy.deepcopy(little.state_dict())
    options = {
        "sparsity": 0.5,
        "data": few_digits,
        "recipe": QUICK,
        "device": "cpu",
        "seed": 3,
        **SETTINGS.get(name, {}),
    }
    first, second = (topo.prune(little, name, **options) for _ in range(2))
    assert first == second
    assert all(torch.equal(value, state[key]) for key, value in little.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in little.parameters())
    assert not little.training
