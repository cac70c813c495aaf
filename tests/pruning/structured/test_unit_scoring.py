from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import topo
from topo.dag.channel_coupling import coupled_channels
from topo.dag.costs import BUDGETS
from topo.errors import InputError
from topo.masks import prunable_parameters
from topo.pruning import PRUNERS
from topo.pruning.structured.unit_scoring import SCOPES, along, by_unit_score, select_units


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3),
        )  # fmt: skip


@pytest.fixture(scope="module")
def channels(net):
    return coupled_channels(topo.trace(net, torch.zeros(1, 1, 6, 6)))


def task(net, channels, **patterns):
    return SimpleNamespace(name="a score", weights=prunable_parameters(net, **patterns), model=net, counted=())


def everything(channels):
    return torch.ones(channels.count, dtype=torch.bool)


@pytest.mark.slow
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("share", [0.97, 0.6, 0.25])
def test_the_fewest_of_the_worst_units_go_and_what_fits_comes_back(net, channels, scope, budget, share):
    groups = channels.groups()
    for seed in range(10):
        scores = torch.randn(channels.count, generator=torch.Generator().manual_seed(seed))
        alive = select_units(task(net, channels), channels, scores, share, everything(channels), scope, budget)
        allowed = share * channels.costs(everything(channels))[budget]
        assert channels.costs(alive)[budget] <= allowed
        # By hand: in the order of scores, or of the share of its group that scores no more, but never a group's best.
        same = groups[:, None] == groups
        below = (same & (scores <= scores[:, None])).sum(1) / same.sum(1)
        key = (scores if scope == "global" else below).tolist()
        best = (~same | (scores <= scores[:, None])).all(1)
        order = sorted((~best).nonzero().flatten().tolist(), key=key.__getitem__)
        staying = everything(channels)
        count = next(n for n in range(len(order) + 1) if costs_without(channels, order[:n], budget) <= allowed)
        staying[order[:count]] = False
        for unit in reversed(order[:count]):
            staying[unit] = True
            staying[unit] = channels.costs(staying)[budget] <= allowed
        assert torch.equal(alive, staying)


def costs_without(channels, units, budget):
    staying = everything(channels)
    staying[units] = False
    return channels.costs(staying)[budget]


def test_the_floor_of_every_group_stays(net, channels):
    scores = torch.arange(channels.count, dtype=torch.float64)
    alive = select_units(task(net, channels), channels, scores, 0.35, everything(channels), floor=2)
    groups = channels.groups()
    left = [alive[groups == g].sum() for g in groups.unique()]
    assert min(left) == 2
    for g in groups.unique():
        here = alive[groups == g]
        assert here[-2:].all()


@pytest.mark.parametrize("floor", [0, 1.5, True])
def test_a_floor_that_is_no_count_is_refused(net, channels, floor):
    with pytest.raises(InputError, match="floor"):
        select_units(task(net, channels), channels, torch.ones(channels.count), 0.5, everything(channels), floor=floor)


def test_a_budget_that_cannot_be_met_is_refused_with_what_could_be(net, channels):
    smallest = channels.costs(torch.isin(torch.arange(channels.count), torch.tensor([0, 5, 9])))["weights"]
    full = channels.costs(everything(channels))["weights"]
    scores = -torch.arange(1.0, channels.count + 1)
    exact = select_units(task(net, channels), channels, scores, smallest / full, everything(channels))
    assert exact.nonzero().flatten().tolist() == [0, 5, 9]
    with pytest.raises(InputError, match=f"{smallest} remain, most of them in .*; lower the sparsity to at most 0.926"):
        select_units(task(net, channels), channels, scores, (smallest - 1) / full, everything(channels))
    with pytest.raises(InputError, match="or lower the floor of 4"):
        select_units(task(net, channels), channels, scores, 0.3, everything(channels), floor=4)


def test_units_that_excluded_layers_write_stay(net, channels):
    scores = torch.arange(1.0, channels.count + 1)
    alive = select_units(task(net, channels, exclude="0.weight"), channels, scores, 0.5, everything(channels))
    assert alive[:5].all()
    assert not alive[5:].all()
    with pytest.raises(InputError, match="leave fewer layers out than"):
        select_units(task(net, channels, include="8.weight"), channels, scores, 0.5, everything(channels))


def test_an_infinite_score_keeps_a_unit_and_what_is_not_a_number_is_refused(net, channels):
    scores = torch.arange(1.0, channels.count + 1)
    scores[0] = torch.inf
    assert select_units(task(net, channels), channels, scores, 0.3, everything(channels))[0]
    for bad in (torch.nan, -torch.inf):
        scores[0] = bad
        with pytest.raises(InputError, match="not all numbers"):
            select_units(task(net, channels), channels, scores, 0.3, everything(channels))
    with pytest.raises(InputError, match="zero"):
        select_units(task(net, channels), channels, torch.zeros(channels.count), 0.3, everything(channels))


@pytest.mark.parametrize("setting", ["scope", "budget"])
def test_unknown_settings_are_refused(net, channels, setting):
    with pytest.raises(InputError, match=setting):
        select_units(
            task(net, channels), channels, torch.ones(channels.count), 0.3, everything(channels), **{setting: "flops"}
        )


def test_units_that_went_before_do_not_come_back(net, channels):
    alive = everything(channels)
    alive[3] = False
    scores = torch.arange(channels.count, 0, -1.0)
    scores[3] = 100.0
    left = select_units(task(net, channels), channels, scores, 0.7, alive)
    assert not left[3]
    assert left.sum() < channels.count - 1


def test_rounds_score_what_is_left(net, monkeypatch):
    seen = []

    @by_unit_score(scope="global")
    def last(task, channels, alive, *, offset: int = 1):
        """Keeps the last units."""
        seen.append((alive.clone(), copy.deepcopy(task.model[3].weight.detach())))
        return torch.arange(channels.count) + offset

    monkeypatch.setattr(PRUNERS, "_entries", dict(PRUNERS._entries))
    PRUNERS.register("last", family="structured", stage="trained", needs_data=False)(last)
    masks = topo.prune(net, "last", sparsity=0.75, rounds=2, example=(1, 6, 6), offset=2)
    assert len(seen) == 2
    assert seen[0][0].all()
    gone = (~seen[1][0]).nonzero().flatten()
    assert (gone == torch.arange(len(gone))).all()
    assert 0 < len(gone) < int((~masks["0.weight"].flatten(1).any(1)).sum()) + 9
    assert (seen[1][1][:, gone[gone < 5]] == 0).all()
    assert masks.settings["rounds"] == 2
    assert masks.sparsity >= 0.75


def test_without_an_example_there_are_no_units(net):
    with pytest.raises(InputError, match="needs an example"):
        topo.prune(net, "l1-filter", sparsity=0.5)
    with pytest.raises(InputError, match="no unit"):
        topo.prune(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "l1-filter", sparsity=0.5, example=(1, 2, 2))


def test_a_score_can_be_looked_at_weight_by_weight(net):
    scores = topo.pruning.score(net, "l1-filter", example=(1, 6, 6))
    assert {name: score.shape for name, score in scores.items()} == {
        name: p.shape for name, p in prunable_parameters(net).items()
    }
    torch.testing.assert_close(scores["3.weight"][:, 1, 2, 0], net[3].weight.detach().double().abs().sum((1, 2, 3)))
    assert scores["8.weight"].isinf().all()
    with pytest.raises(InputError, match="scope"):
        topo.pruning.score(net, "l1-filter", example=(1, 6, 6), scope="global")


def test_values_of_units_lie_along_the_axes_of_their_parameters(net, channels):
    values = torch.arange(1.0, channels.count + 1, requires_grad=True)
    assert along(channels, "3.weight", values, "out").flatten().tolist() == [6, 7, 8, 9]
    assert along(channels, "3.weight", values, "in").shape == (1, 5, 1, 1)
    both = along(channels, "3.weight", values)
    assert both.shape == (4, 5, 1, 1)
    assert both[2, 3].item() == 8 + 4
    assert along(channels, "8.weight", values, "out", 7.0).item() == 7.0
    both.sum().backward()
    assert values.grad.tolist() == [4.0] * 5 + [5.0] * 4 + [0.0] * 6


def test_masks_take_a_unit_from_all_that_reads_it(net):
    masks = topo.prune(net, "l1-filter", sparsity=0.4, example=(1, 6, 6))
    written = masks["3.weight"].flatten(1).any(dim=1)
    read = masks["6.weight"].any(dim=0).view(4, 4).all(dim=1)
    assert torch.equal(written, read)
    assert not written.all()


def test_units_need_a_network_that_can_be_traced():
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.b(self.a(x)) if float(x.sum()) > 0 else self.a(x)

    with pytest.raises(InputError):
        topo.prune(Untraceable(), "l1-filter", sparsity=0.5, example=(2,))


def test_multiple_inputs_come_from_the_data():
    from tests.zoo import small

    net, inputs = small("two-in-two-out")
    targets = torch.zeros(len(inputs[0]), dtype=torch.int64)
    masks = topo.prune(net, "l1-filter", sparsity=0.3, data=(inputs, targets), device="cpu")
    assert masks == topo.prune(net, "l1-filter", sparsity=0.3, example=inputs, device="cpu")
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in inputs)
    assert masks == topo.prune(net, "l1-filter", sparsity=0.3, example=shapes, device="cpu")


def test_a_table_tied_to_a_layer_is_named_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.inner, self.out = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
            self.out.weight = self.table.weight

        def forward(self, tokens):
            return self.out(torch.relu(self.inner(self.table(tokens))))

    with pytest.raises(InputError, match=r"leave fewer layers out than 'table\.weight'\."):
        topo.prune(Tied(), "l1-filter", sparsity=0.6, example=torch.zeros(1, 5, dtype=torch.long), device="cpu")
