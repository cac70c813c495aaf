"""A sparsity means the same to every pruner, whatever the patterns, and what was reached is recorded."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import topo
from topo.dag.structure import weight_counts
from topo.errors import InputError
from topo.pruning import PRUNERS
from topo.study.config import StudyConfig
from topo.training import recipe

WITHOUT = "3.weight"
OPTIONS = {name: {"rounds": 2} for name in ("synflow", "force", "iterative-snip", "ntk-sap", "px")} | {
    "variational": {"settle": 0.9}
}


@cache
def data() -> topo.datasets.Dataset:
    return topo.datasets.load("digits", subset=4)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
        ),
        *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)),
    )


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_takes_the_share_of_the_same_weights(name):
    net = network()
    sizes = {key: weight.numel() for key, weight in topo.masks.prunable_parameters(net).items()}
    total, included = sum(sizes.values()), sum(sizes.values()) - sizes[WITHOUT]
    plan = recipe("digits", epochs=2, batch_size=20)
    for of, counted in (("included", included), ("all", total)):
        masks = topo.prune(
            *(net, name),
            sparsity=0.4,
            data=data(),
            recipe=plan,
            exclude=WITHOUT,
            sparsity_of=of,
            device="cpu",
            **OPTIONS.get(name, {}),
        )
        left = {key: int(masks[key].sum()) if key in masks else size for key, size in sizes.items()}
        of_included = 1 - (sum(left.values()) - left[WITHOUT]) / included
        reached = {"included": of_included, "all": 1 - sum(left.values()) / total}
        assert {key: masks.reached(key) for key in reached} == pytest.approx(reached)
        assert (masks.sparsity_of, masks.asked_sparsity) == (of, 0.4)
        if PRUNERS.entry(name).family == "structured":
            # a channel of these layers holds at most 240 of the weights, and one less would not do
            assert 0.4 <= reached[of] < 0.4 + 240 / counted
        else:
            assert left[WITHOUT] == sizes[WITHOUT]
            assert round(reached[of] * counted) == counted - round(0.6 * counted)


def test_what_it_is_a_share_of_goes_with_the_masks(tmp_path):
    masks = topo.prune(network(), "l1-filter", sparsity=0.3, exclude="0.*", example=(1, 8, 8), sparsity_of="all")
    for other in (topo.Masks.load(masks.save(tmp_path / "m.safetensors")), masks.replaced(masks)):
        assert other.sparsity_of == "all" and other.reached("included") == masks.reached("included")
        assert masks.reached("all") == masks.sparsity != masks.reached("included")
    plain = topo.prune(network(), "l1-filter", sparsity=0.3, example=(1, 8, 8))
    assert plain.reached("all") == plain.reached("included") == plain.sparsity


def test_masks_within_a_model_count_as_before():
    net = nn.Linear(4, 4)
    prune.l1_unstructured(net, "weight", 4)
    masks = topo.prune(net, "magnitude", sparsity=0.5, sparsity_of="all")
    assert masks["weight"].sum() == 8 and masks.reached("all") == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity_of": "alll"}, "unknown value of sparsity_of 'alll'; did you mean 'all'"),
        ({"sparsity_of": "all", "sparsity": 0.9}, r"leaves 250 of 2504, and 576 are not open to pruning; lower it"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        topo.prune(network(), "magnitude", **({"sparsity": 0.5, "exclude": WITHOUT} | arguments))


def test_cells_that_do_as_before_keep_their_keys():
    def decides(name: str, **settings) -> dict:
        entry = {"name": name, **settings}
        pruner = StudyConfig.parse({"models": ["digits-cnn"], "pruners": [entry], "sparsities": [0.5]}).pruners[0]
        return pruner.decides()

    assert "sparsity_of" not in decides("magnitude", exclude="fc.*")
    assert "sparsity_of" not in decides("l1-filter", sparsity_of="all", exclude="fc.*")
    assert decides("magnitude", sparsity_of="all", exclude="fc.*")["sparsity_of"] == "all"
    assert decides("l1-filter", exclude="fc.*")["sparsity_of"] == "included"
    assert "sparsity_of" not in decides("l1-filter") and "sparsity_of" not in decides("magnitude", sparsity_of="all")


def test_networks_whose_output_is_constant_are_told():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    cut = topo.Masks({"0.weight": [[1, 1, 1], [0, 0, 0]], "2.weight": [[0, 1], [0, 1]]})
    assert not cut.connected(net, (3,)) and not cut.empty_layers()
    outputs = cut.apply(net)(torch.randn(5, 3))
    assert (outputs == outputs[:1]).all()
    assert cut.replaced({**cut, "2.weight": torch.tensor([[0, 0], [1, 0]])}).connected(net, (3,))
    with torch.no_grad():
        net[2].weight[:] = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
        net[0].weight[:] = torch.tensor([[3.0, 3.0, 3.0], [1.0, 1.0, 1.0]])
    whole = {"0.weight": torch.ones(2, 3), "2.weight": torch.ones(2, 2)}
    assert topo.Masks(whole).connected(topo.trace(net, (3,)))


class Normalised(nn.Linear):
    def forward(self, x):
        return nn.functional.normalize(super().forward(x), dim=1)


class Binary(nn.Linear):
    def forward(self, x):
        return (super().forward(x) > 0).to(x.dtype)


class Largest(nn.Linear):
    def forward(self, x):
        return nn.functional.one_hot(super().forward(x).argmax(1), self.out_features).to(x.dtype)


BY_VALUES = {
    "layer norm": lambda: [nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2)],
    "rms norm": lambda: [nn.Linear(3, 3), nn.RMSNorm(3), nn.Linear(3, 2)],
    "group norm": lambda: [nn.Linear(3, 4), nn.GroupNorm(2, 4), nn.Linear(4, 2)],
    "instance norm": lambda: [
        *(nn.Unflatten(1, (1, 1, 3)), nn.Conv2d(1, 3, (1, 2), padding=(0, 1))),
        *(nn.InstanceNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)),
    ],
    "written norm": lambda: [Normalised(3, 3), nn.Linear(3, 2)],
    "comparison": lambda: [Binary(3, 3), nn.Linear(3, 2)],
    "places": lambda: [Largest(3, 3), nn.Linear(3, 2)],
}


@pytest.mark.parametrize("name", BY_VALUES)
def test_networks_are_disconnected_only_where_their_output_is_constant(name):
    """Statistics join what a norm treats together, and what has no slope is no constant either."""
    torch.manual_seed(0)
    net = nn.Sequential(*BY_VALUES[name]()).double().eval()
    dag, inputs = topo.trace(net, (3,)), 3 * torch.randn(200, 3, dtype=torch.float64)
    dense = copy.deepcopy(net.state_dict())
    found = []
    for _ in range(24):
        net.load_state_dict(dense)
        masks = topo.Masks({key: torch.rand(w.shape) < 0.4 for key, w in topo.masks.prunable_parameters(net).items()})
        with torch.no_grad():
            outputs = masks.apply(net)(inputs)
        varies = bool((outputs - outputs[:1]).abs().max() > 1e-12)
        found.append((masks.connected(dag), varies))
    assert (True, True) in found
    assert (False, True) not in found
    if name not in ("comparison", "places"):  # which may come out the same for every input
        assert (True, False) not in found


def test_weights_that_statistics_alone_pass_on_count_where_values_do():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1))
    masks = topo.Masks({"0.weight": [[1, 1], [0, 0]], "2.weight": [[0, 1]]})
    dag = topo.trace(net, (2,))
    assert weight_counts(dag, masks).effective == 0
    assert weight_counts(dag, masks, reads="values").effective == 3 and masks.connected(dag)


def test_a_skip_without_weights_connects():
    class Skip(nn.Linear):
        def forward(self, x):
            return x + super().forward(x)

    nothing = topo.Masks({"weight": torch.zeros(3, 3)})
    assert nothing.connected(Skip(3, 3), (3,)) and not nothing.connected(nn.Linear(3, 3), (3,))


def test_pruning_warns_of_a_network_that_it_disconnects():
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    with pytest.warns(UserWarning, match="connect no input to an output, so that the output is the same"):
        masks = topo.prune(net, "uniform", sparsity=0.97, example=(6,), seed=1)
    assert not masks.connected(net, (6,))
