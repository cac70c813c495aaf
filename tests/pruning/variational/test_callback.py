"""Weights and gates trained together: what goes, what stays, and what the run says of itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import topo
from tests.pruning.variational.nets import cost_by_torch
from tests.pruning.variational.runs import EXAMPLE, Mixed, callback, chain, cnn, digits, plan, prune, run, same
from topo.datasets import Split, make_dataset
from topo.errors import InputError
from topo.pruning.variational.budget_target import BudgetTarget, TargetSelection
from topo.pruning.variational.complexity import Complexity
from topo.pruning.variational.config import VariationalConfig
from topo.pruning.variational.estimators import StraightThrough
from topo.pruning.variational.gates import Gates, find_gates
from topo.training import Callback, batch_loss

pytestmark = pytest.mark.usefixtures("traced_once")


@dataclass(frozen=True)
class Worth(StraightThrough):
    """Every gate lowers the loss by as much, whatever the network does."""

    nats: float

    def delta(self, theta, xi, g, chosen, loss=None):
        return torch.full_like(theta, -self.nats), chosen


class Skip(nn.Module):
    """Linear but for one residual block."""

    def __init__(self, features: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.enter, self.head = nn.Linear(features, 8), nn.Linear(8, 2)
            self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x):
        x = self.enter(x.flatten(1))
        return self.head(x + self.down(torch.relu(self.up(x))))


def two_classes(rule):
    """Points of the plane by a rule on their coordinates."""
    points = torch.randn(800, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    halves = [Split(half, rule(*half.flatten(1).T).long()) for half in points.split(400)]
    return make_dataset("points", *halves, 2)


RULES = {"needless": lambda x, y: x + y > 0, "needed": lambda x, y: x * y > 0}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_block_goes_where_it_is_useless_and_stays_where_it_is_needed(rule):
    """A line parts the classes of one task, which takes no block; opposite quadrants are no linear task."""
    options = {"nu": 0.15, "config": {"warmup": 0.3, "horizon": 0.2}, "data": two_classes(RULES[rule])}
    result = prune(Skip(2), recipe=plan(epochs=15, batch_size=20, learning_rate=0.05), **options)
    assert bool(result.is_open[result.gates.is_layer].item()) == (rule == "needed")
    assert result.training.history["test_accuracy"].iloc[-1] > 0.9
    assert any("up" in name for name, _ in result.model.named_modules()) == (rule == "needed")


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_computation_takes_early_filters_and_parameters_take_late_ones(alpha):
    """All filters are worth the same; an early one multiplies more often, and a late one has more parameters."""
    net = cnn()
    complexity = Complexity(find_gates(net, EXAMPLE))
    units = ~complexity.gates.is_layer
    early = (
        complexity.gates.channels.groups()[complexity.gates.units]
        == complexity.gates.channels.groups()[complexity.gates.units[0]]
    )
    cost = complexity.gradient(torch.ones(complexity.gates.count), alpha)[units]
    dear, cheap = (early, ~early) if alpha else (~early, early)
    assert cost[dear].min() > cost[cheap].max()
    # Its coefficient, with units only and nu = 1, is twice what a unit costs.
    worth = float(cost[dear].min() + cost[cheap].max())
    result = prune(net, nu=1.0, kappa=0.0, alpha=alpha, config={"estimator": Worth(worth), "horizon": 0.1})
    assert torch.equal(result.is_open, cheap)
    assert (result.thetas[2][dear] < 0.9).all() and (result.thetas[2][cheap] > 0.9).all()


def test_the_ends_of_the_balance_leave_units_or_layers_alone():
    units, layers = (prune(cnn(), nu=1.0, kappa=kappa, seed=1) for kappa in (0.0, 1.0))
    assert not units.gates.layers and not units.is_open.all() and (units.record["layers"] == 0).all()
    assert not len(layers.gates.units) and not layers.is_open.all() and (layers.record["units"] == 0).all()
    for name, mask in layers.masks().items():
        assert mask.all() or not mask.any() or name.startswith("stem"), name


def test_no_weight_on_complexity_prunes_nothing():
    net = cnn()
    full_cost = cost_by_torch(net, EXAMPLE)
    result = prune(net, nu=0.0)
    assert result.is_open.all() and cost_by_torch(result.model, EXAMPLE) == full_cost
    assert (result.record[["parameters", "macs"]] == list(full_cost.values())).all().all()


def test_everything_pruned_names_the_knob():
    with pytest.raises(InputError, match=r"everything would be pruned.* Lower nu \(now 300\)\.$"):
        prune(chain(), nu=300.0)
    with pytest.raises(InputError, match=r"Lower nu \(now 300\) or raise kappa, so that layers go"):
        prune(Mixed(), nu=300.0)
    assert len(prune(Mixed(), nu=300.0, kappa=1.0).is_open) == 1


@cache
def selection(share: float, budget: str) -> TargetSelection:
    """For the two blocks of `cnn`; not to be changed."""
    gates, complexity = gates_and_complexity()
    return TargetSelection(BudgetTarget(share, budget), gates, complexity)


@cache
def gates_and_complexity() -> tuple[Gates, Complexity]:
    gates = find_gates(cnn(), EXAMPLE)
    return gates, Complexity(gates)


def remaining_share(gates: Gates, is_open: Tensor, budget: str) -> float:
    """What the masks leave of the weights, or the compact network of the costs, as a share."""
    masks, net = gates.masks(is_open), cnn()
    if budget == "weights":
        remaining, full = (sum(int(of(masks[name])) for name in gates.prunable) for of in (torch.sum, torch.numel))
        return remaining / full
    small = topo.compact(net, masks, channels=replace(gates.channels, dag=gates.channels.dag.bind(net)))
    return cost_by_torch(small, EXAMPLE)[budget] / cost_by_torch(net, EXAMPLE)[budget]


def share_of_dearest_unit(gates: Gates, complexity: Complexity, budget: str) -> float:
    costs = complexity.gradient(torch.ones(gates.count), float(budget == "macs"))
    return float(costs[~gates.is_layer].max())


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["weights", "parameters", "macs"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.8])
def test_a_target_is_met_by_at_most_one_unit_too_many(budget, share):
    gates, complexity = gates_and_complexity()
    for seed in range(3):
        theta = torch.rand(gates.count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        is_open = selection(share, budget).within_target(theta, torch.ones(gates.count, dtype=torch.bool))
        remaining = remaining_share(gates, is_open, budget)
        assert share - share_of_dearest_unit(gates, complexity, budget) < remaining <= share


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "share"), [("parameters", 0.8), ("macs", 0.5)])
def test_no_set_of_closed_gates_could_open_again_within_a_target(budget, share):
    """All sets, by brute force; the first layer is the least likely of all gates."""
    gates, _ = gates_and_complexity()
    theta = torch.rand(gates.count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta[gates.is_layer] = torch.tensor([0.0, 1.0], dtype=torch.float64)
    target = selection(share, budget)
    is_open = target.within_target(theta, torch.ones(gates.count, dtype=torch.bool))
    left, closed = target.share(is_open), (~is_open).nonzero().flatten()
    assert left <= share and torch.equal(gates.closure(is_open), is_open)
    assert gates.is_layer[closed].any() and 4 < len(closed) < 9
    for size in range(1, len(closed) + 1):
        for some in torch.combinations(closed, size):
            reached = target.share(gates.closure(is_open.index_fill(0, some, True)))
            assert reached == left or reached > share


def test_layers_alone_meet_a_target_with_all_that_fits():
    gates = replace(gates_and_complexity()[0], units=torch.zeros(0, dtype=torch.int64))
    complexity = Complexity(gates)
    everything = torch.ones(2, dtype=torch.bool)
    shares = {}
    for closed in ([], [0], [1], [0, 1]):
        is_open = everything.index_fill(0, torch.tensor(closed, dtype=torch.int64), False)
        cost = complexity.expected(gates.closure(is_open).double(), "macs")
        shares[tuple(is_open.tolist())] = float(cost) / complexity.full_cost["macs"]
    for theta in ([0.1, 0.2], [0.2, 0.1]):
        for share in (0.4, 0.6, 0.7, 0.9):
            target = TargetSelection(BudgetTarget(share, "macs"), gates, complexity)
            is_open = target.within_target(torch.tensor(theta, dtype=torch.float64), everything)
            kept = shares[tuple(is_open.tolist())]
            assert kept <= share
            more = [s for key, s in shares.items() if all(a <= b for a, b in zip(is_open.tolist(), key)) and s > kept]
            assert all(s > share for s in more)


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "share"), [("weights", 0.5), ("parameters", 0.3), ("macs", 0.5)])
def test_training_meets_its_target(budget, share):
    target = callback(0.5, target=BudgetTarget(share, budget))
    run(cnn(), target)
    remaining = remaining_share(target.gates, target.is_open, budget)
    assert share - share_of_dearest_unit(target.gates, target.complexity, budget) < remaining <= share
    if budget != "weights":
        assert cost_by_torch(target.model, EXAMPLE)[budget] == remaining * target.complexity.full_cost[budget]


def test_a_target_of_all_keeps_all():
    target = callback(5.0, target=BudgetTarget(1.0, "weights"))
    run(cnn(), target)
    assert target.is_open.all()


def test_a_target_is_approached_step_by_step():
    """Where every gate does harm they all close at once, unless a target is to be met in the end only."""
    harmful = {"estimator": Worth(-5.0), "horizon": 0.1}
    free, steered = callback(0.5, config=harmful), callback(0.5, config=harmful, target=BudgetTarget(0.5, "macs"))
    for one in (free, steered):
        run(cnn(), one)
    full_macs = free.complexity.full_cost["macs"]
    courses = [one.record.table()["expected_macs"] / full_macs for one in (free, steered)]
    assert courses[0].iloc[2] < 0.2
    # Of 48 steps the probabilities move in those from 5 to 34, and are at the target after four fifths of them.
    line = [0.9 - 0.4 * min(1, max(0, step - 4.8) / 28.8 / 0.8) for step in (8, 16)]
    assert (courses[1].iloc[1:3] > [0.85 * wanted for wanted in line]).all()
    assert 0.5 - 4608 / full_macs < courses[1].iloc[-1] <= 0.5 or steered.is_open[~steered.gates.is_layer].all()


def test_a_layer_that_saves_too_much_brings_units_back():
    """The least likely are four units and then a layer; with the layer closed, one of the units is enough."""
    gates, complexity = gates_and_complexity()
    without = torch.ones(gates.count, dtype=torch.bool)
    layer = int(gates.is_layer.nonzero()[-1])
    without[layer] = False
    without = gates.closure(without)
    units = (without & ~gates.is_layer).nonzero().flatten()[:4]
    theta = torch.full((gates.count,), 0.9, dtype=torch.float64)
    theta[units], theta[layer] = torch.tensor([0.1, 0.11, 0.12, 0.13], dtype=torch.float64), 0.2
    share = (complexity.expected(without.double(), "parameters") - 1) / complexity.full_cost["parameters"]
    is_open = selection(float(share), "parameters").within_target(theta, torch.ones_like(gates.is_layer))
    assert not is_open[layer] and is_open[units].tolist() == [False, True, True, True]


@pytest.mark.parametrize("share", [0.3, 0.45, 0.6, 0.75, 0.9])
def test_a_layer_stays_where_less_than_it_was_to_be_saved(share):
    """Layers are the least likely of all, and either is worth more than what is to be saved beyond the other."""
    gates, complexity = gates_and_complexity()
    theta = torch.where(gates.is_layer, 0.1, 0.9).double()
    is_open = selection(share, "macs").within_target(theta, torch.ones_like(gates.is_layer))
    remaining = complexity.expected(is_open.double(), "macs") / complexity.full_cost["macs"]
    assert share - share_of_dearest_unit(gates, complexity, "macs") < remaining <= share


def test_a_unit_that_is_still_there_is_spared_not_one_that_has_gone():
    """All theta are zero, and of each group that every path needs only the last unit is open."""
    gates = find_gates(chain(), EXAMPLE)
    smallest = TargetSelection(BudgetTarget(0.01, "weights"), gates, Complexity(gates))
    is_open = torch.zeros(gates.count, dtype=torch.bool)
    is_open[[int(group[-1]) for group in gates.required_groups]] = True
    theta = torch.zeros(gates.count, dtype=torch.float64)
    assert torch.equal(smallest.required(theta, is_open), is_open)
    assert not smallest.affordable(theta, is_open, is_open, 0.0).any()


class Watch(Callback):
    """Compares the network before and after the optimiser of gates looked at it."""

    def __init__(self, inner) -> None:
        self.inner, self.steps = inner, 0

    def on_start(self, state) -> None:
        self.inner.on_start(state)

    def on_gradients(self, state) -> None:
        before = copy.deepcopy(state.model.state_dict())
        self.inner.on_gradients(state)
        assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())
        self.steps += 1
        if self.steps == 1:
            self.by_hand(state)

    def by_hand(self, state) -> None:
        """The first estimate is the difference of two losses of a copy with the gate open and closed."""
        (gate,) = self.inner.updates.seen.nonzero()[0].tolist()
        losses = []
        for value in (1.0, 0.0):
            twin = copy.deepcopy(state.model)
            xi = twin.xi.detach().index_fill(0, torch.tensor([gate]), value)
            losses.append(
                float(
                    batch_loss(lambda x, twin=twin, xi=xi: twin.forward_with(xi, x), *state.batch, state.recipe)[
                        0
                    ].detach()
                )
            )
        assert float(self.inner.updates.mean[gate]) == pytest.approx(losses[0] - losses[1], abs=1e-6)
        assert losses[0] != losses[1]


def test_the_exact_estimator_leaves_weights_and_statistics_alone():
    watch = Watch(callback(1.0, config={"estimator": "exact", "warmup": 0.0}))
    run(cnn(), watch, epochs=1)
    assert watch.steps == 8 and watch.inner.updates.seen.sum() == 8


def test_the_record_says_what_the_network_costs():
    class Measured(Callback):
        costs, known = [cost_by_torch(cnn(), EXAMPLE)], {}

        def on_epoch_end(self, state) -> None:
            if pruned.model not in self.known:
                self.known[pruned.model] = cost_by_torch(pruned.model, EXAMPLE)
            self.costs.append(self.known[pruned.model])
            assert state.model is (pruned.model if pruned.decided else pruned.gated)

    pruned = callback(1.0)
    net, seen = cnn(), Measured()
    history = run(net, pruned, seen).history
    record = pruned.record.table()
    assert record["epoch"].tolist() == list(range(7))
    assert record["seconds"].tolist() == [0.0, *history["seconds"]]
    assert [dict(row) for _, row in record[["parameters", "macs"]].iterrows()] == seen.costs
    spent = [0.0, *(150 * cost["macs"] for cost in seen.costs[:-1])]
    assert record["training_macs"].tolist() == spent
    for budget in ("parameters", "macs"):
        expected = record[f"expected_{budget}"]
        assert (expected >= 0).all() and (expected <= record[budget] + 1e-6).all()
        assert expected.iloc[0] < record[budget].iloc[0] and (expected == record[budget]).iloc[-2:].all()
    thetas = pruned.record.theta_table()
    assert thetas.shape == (7, pruned.gates.count) and thetas.dtype == torch.float32
    assert (thetas[0] == pytest.approx(0.9)) and torch.equal(thetas[-1].bool(), pruned.is_open)
    # What is once gone stays gone.
    assert ((thetas[1:] > 0) <= (thetas[:-1] > 0))[record["macs"].diff().to_numpy()[1:] < 0].all()
    units = pruned.is_open & ~pruned.gates.is_layer
    assert record["units"].iloc[-1] == units.sum() and record["layers"].iloc[-1] == pruned.is_open.sum() - units.sum()
    assert record["macs"].iloc[-1] < record["macs"].iloc[0]


def test_a_seed_decides_everything():
    first, again, other = (prune(cnn(), seed=seed, epochs=4) for seed in (3, 3, 4))
    assert same(first.model, again.model) and torch.equal(first.thetas, again.thetas)
    assert not torch.equal(first.thetas, other.thetas)


def test_it_ends_settled_even_after_a_single_step():
    result = prune(cnn(), recipe=plan(epochs=1, batch_size=150), config={"warmup": 0.0, "settle": 1.0})
    assert (result.record["expected_macs"] == result.record["macs"]).iloc[-1]
    assert torch.equal(result.thetas[-1].bool(), result.is_open)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"initial_theta": 1.5}, "initial_theta must be a number .* 1, not 1.5"),
        ({"initial_theta": 0.0}, "initial_theta must be a number above 0 .*, not 0"),
        ({"ema_decay": 1.0}, "ema_decay must be a number of at least 0 and below 1, not 1"),
        ({"horizon": "long"}, "horizon must be a number from 0 to 1, not 'long'"),
        ({"estimator": "layers:exact,units:trapezoidal"}, "'trapezoidal'; did you mean 'trapezoid'"),
        ({"warmup": 0.7, "settle": 0.5}, "settle must be above warmup, not 0.5 and 0.7"),
    ],
)
def test_impossible_settings(changes, reason):
    with pytest.raises(InputError, match=reason):
        VariationalConfig(**changes)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"nu": -1.0}, "nu .* at least 0, not -1.0"),
        ({"kappa": 1.1}, "kappa .* from 0 to 1, not 1.1"),
        ({"alpha": None}, "alpha .* from 0 to 1, not None"),
        ({"config": {"estimator": "exakt"}}, "exakt"),
        ({"config": {"matching": "slope"}}, "slope"),
    ],
)
def test_impossible_knobs(options, reason):
    with pytest.raises(InputError, match=reason):
        prune(cnn(), **options)


def test_layers_only_where_there_is_no_layer_to_close():
    with pytest.raises(InputError, match="kappa = 1 prunes layers only, but this network has no gates of layers"):
        prune(chain(), kappa=1.0)


def test_masks_have_no_place_in_it():
    net = cnn()
    with pytest.raises(InputError, match="trains a whole network; give it no masks"):
        run(net, callback(1.0), masks=topo.Masks.dense(net))


def test_data_of_the_tests():
    assert digits().n_batches("train", plan().batch_size) == 8 and len(digits().train) == 150
