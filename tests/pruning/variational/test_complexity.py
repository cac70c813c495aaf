"""Expected complexity, against enumeration, sampled networks, compact networks and the closed forms."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
import torch

import topo
from tests.pruning.variational.nets import NETS, compacted, cost_by_torch, prepared, published
from topo.errors import InputError
from topo.pruning.variational.complexity import COMPLEXITIES, Complexity
from topo.pruning.variational.survival_polynomials import ALWAYS, both, either, polynomial


@cache
def complexity_of(name):
    return Complexity(prepared(name)[2])


def uniform(count, seed=0):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def counted(gates, xi):
    """Elements that masks leave alive, and how often they are used: parameters and multiply-accumulates."""
    network = gates.network
    names = [name for name, value in gates.channels.dag.state.items() if isinstance(value, torch.nn.Parameter)]
    closed = [arc for layer, on in zip(gates.layers, xi[gates.is_layer], strict=True) if not on for arc in layer.arcs]
    dead = (~gates.remaining_units(xi.bool())).nonzero().flatten().tolist()
    state = network.intact().without(arcs=closed, units=dead)
    remaining = {name: int(mask.sum()) for name, mask in network.masks(state, names).items()}
    live = set(state.counts.live)
    macs = sum(
        remaining[layer.weight] * layer.positions
        for arc, applied in enumerate(network.layers)
        if arc in live
        for _, layer in applied
    )
    return sum(remaining.values()) + gates.unread_parameters, macs


def value_of(condition, theta):
    """The probability of a condition by enumeration."""
    gates = sorted(frozenset().union(*condition))
    total = 0.0
    for values in product((0, 1), repeat=len(gates)):
        is_open = dict(zip(gates, values, strict=True))
        probability = torch.tensor([theta[g] if is_open[g] else 1 - theta[g] for g in gates]).prod()
        total += float(probability) * any(all(is_open[g] for g in s) for s in condition)
    return total


def expanded(condition, theta):
    total = 0.0
    for factors, number in polynomial(condition).items():
        term = float(number)
        for factor in factors:
            if isinstance(factor, int):
                term *= float(theta[factor])
            else:
                none = 1.0
                for gates in factor:
                    none *= 1 - float(theta[list(gates)].prod())
                term *= 1 - none
        total += term
    return total


def test_probabilities_of_conditions_against_enumeration():
    generator = torch.Generator().manual_seed(0)
    shared = 0
    for case in range(200):
        sizes = torch.randint(1, 5, (int(torch.randint(1, 5, (1,), generator=generator)),), generator=generator)
        sets = [frozenset(torch.randperm(6, generator=generator)[: int(size)].tolist()) for size in sizes]
        condition, theta = either([frozenset(sets)]), uniform(6, case)
        assert expanded(condition, theta) == pytest.approx(value_of(frozenset(sets), theta), abs=1e-6)
        shared += len(polynomial(condition)) > 1
    assert shared > 20


def test_conditions_are_kept_in_their_shortest_form():
    a, b, c = (frozenset([frozenset([gate])]) for gate in range(3))
    assert both(a, either([a, b])) == a
    assert either([a, both(a, b)]) == a
    assert both(either([a, b]), c) == {frozenset([0, 2]), frozenset([1, 2])}
    assert either([ALWAYS, a]) == ALWAYS and both(ALWAYS, a) == a


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_with_all_gates_open_it_costs_what_the_network_does(name):
    model, x, gates = prepared(name)
    assert complexity_of(name).full_cost == cost_by_torch(model, x[:1]) == topo.cost(gates.channels.dag)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "skips", "repeated", "recurrent", "nested", "dense"])
def test_the_expectation_against_all_gate_vectors(name):
    _, _, gates = prepared(name)
    count = gates.count
    theta = uniform(count, 1)
    if count > 9:
        # Some gates are decided, the others are enumerated.
        theta[: count - 9] = (theta[: count - 9] > 0.3).double()
    total, mass = torch.zeros(2, dtype=torch.float64), 0.0
    for values in product((0.0, 1.0), repeat=min(count, 9)):
        xi = torch.cat([theta[: count - len(values)], torch.tensor(values, dtype=torch.float64)])
        probability = float(torch.where(xi == 1, theta, 1 - theta).prod())
        total += probability * torch.tensor(counted(gates, xi), dtype=torch.float64)
        mass += probability
    assert mass == pytest.approx(1)
    expected = [float(complexity_of(name).expected(theta, budget)) for budget in COMPLEXITIES]
    assert expected == pytest.approx(total.tolist(), rel=1e-10)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_gates_of_zero_and_one_cost_what_the_compact_network_does(name, seed):
    _, x, gates = prepared(name)
    xi, _, smaller = compacted(name, seed)
    expected = {budget: float(complexity_of(name).expected(xi, budget)) for budget in COMPLEXITIES}
    assert expected == cost_by_torch(smaller, x[:1]) == dict(zip(COMPLEXITIES, counted(gates, xi), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["basic", "vit", "densenet", "blocks"])
def test_the_expectation_is_the_mean_of_sampled_networks(name):
    _, _, gates = prepared(name)
    theta = 0.2 + 0.7 * uniform(gates.count, 2)
    generator = torch.Generator().manual_seed(5)
    samples = torch.tensor(
        [
            counted(gates, torch.bernoulli(theta, generator=generator))
            for _ in range(150 if name == "densenet" else 300)
        ],
        dtype=torch.float64,
    )
    error = samples.std(0) / len(samples) ** 0.5
    expected = torch.stack([complexity_of(name).expected(theta, budget) for budget in COMPLEXITIES])
    assert ((expected - samples.mean(0)).abs() < 4 * error).all()
    assert (error < 0.05 * expected).all()


@pytest.mark.parametrize("name", NETS)
def test_it_is_linear_in_each_gate_and_its_gradient_the_difference(name):
    complexity, gates = complexity_of(name), prepared(name)[2]
    theta = uniform(gates.count, 3)
    gradient = complexity.gradient(theta, alpha=0.3)
    assert gradient.dtype == torch.float64 and gradient.shape == (gates.count,)
    for gate in range(0, gates.count, max(1, gates.count // 15)):
        at = [complexity.relative(theta.index_fill(0, torch.tensor([gate]), v), 0.3) for v in (0.0, 0.5, 1.0)]
        torch.testing.assert_close(at[2] - at[0], gradient[gate], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close((at[0] + at[2]) / 2, at[1], rtol=1e-12, atol=1e-14)
    assert (gradient >= 0).all()
    assert torch.autograd.gradcheck(lambda t: complexity.relative(t, 0.3), theta.requires_grad_())


@pytest.mark.parametrize("zeros", [True, False])
def test_the_gradient_where_gates_are_closed(zeros):
    complexity, gates = complexity_of("nested"), prepared("nested")[2]
    theta = torch.full((gates.count,), 0.0 if zeros else 1.0, dtype=torch.float64)
    gradient = complexity.gradient(theta, 0.5)
    for gate in range(gates.count):
        ends = [complexity.relative(theta.index_fill(0, torch.tensor([gate]), v), 0.5) for v in (0.0, 1.0)]
        torch.testing.assert_close(ends[1] - ends[0], gradient[gate])


def test_relative_complexity_is_a_mean_of_shares():
    complexity, gates = complexity_of("plain"), prepared("plain")[2]
    theta = uniform(gates.count)
    shares = [float(complexity.expected(theta, budget)) / complexity.full_cost[budget] for budget in COMPLEXITIES]
    assert float(complexity.relative(theta, 0.25)) == pytest.approx(0.75 * shares[0] + 0.25 * shares[1])
    with pytest.raises(InputError, match="macs"):
        complexity.expected(theta, "mac")


def test_the_closed_form_of_basic_blocks():
    """theta_l s (a1 n_in + a2 n_out), a = 9 H W; parameters with the norms' two per channel."""
    gates, complexity = prepared("projected")[2], complexity_of("projected")
    theta = uniform(gates.count, 7)
    units, layers = theta[~gates.is_layer].split([3, 3, 5, 5]), theta[gates.is_layer]
    ends = [(3, 3), (3, 3), (3, 5), (5, 5)]
    # Stem, projection and head with bias; the stem's and the projection's norms.
    macs = 16 * (9 * 2 * 3 + 3 * 5) + 5 * 4
    parameters = 9 * 2 * 3 + 2 * 3 + 3 * 5 + 2 * 5 + 5 * 4 + 4
    for unit, layer, (entering, leaving) in zip(units, layers, ends, strict=True):
        s = unit.sum()
        macs = macs + layer * s * 9 * 16 * (entering + leaving)
        parameters = parameters + layer * (s * (9 * (entering + leaving) + 2) + 2 * leaving)
    torch.testing.assert_close(complexity.expected(theta, "macs"), macs)
    torch.testing.assert_close(complexity.expected(theta, "parameters"), parameters)


def test_the_closed_form_of_bottlenecks():
    """theta_l (a1 n_in s1 + a2 s1 s2 + a3 s2 n_out), a = H W, 9 H W, H W."""
    gates, complexity = prepared("bottleneck")[2], complexity_of("bottleneck")
    theta = uniform(gates.count, 8)
    macs = torch.tensor(16.0 * 9 * 2 * 6 + 6 * 4, dtype=torch.float64)
    for pair, layer in zip(theta[:12].view(2, 2, 3), theta[12:], strict=True):
        s1, s2 = pair.sum(1)
        macs = macs + layer * 16 * (6 * s1 + 9 * s1 * s2 + s2 * 6)
    torch.testing.assert_close(complexity.expected(theta, "macs"), macs)


def test_channels_that_only_gated_blocks_fill_go_when_all_of_these_do():
    """Of shortcuts that pad with zeros: the head reads five channels, two of which two blocks alone write."""
    complexity, gates = complexity_of("basic"), prepared("basic")[2]
    theta = uniform(gates.count, 9)
    theta[: len(gates.units)] = 0
    last = theta[gates.is_layer][2:]
    some = 1 - (1 - last[0]) * (1 - last[1])
    macs = 16 * 9 * 2 * 3 + 4 * (3 + 2 * some)
    torch.testing.assert_close(complexity.expected(theta, "macs"), macs)


def test_what_an_inner_filter_of_a_residual_network_costs():
    """288, 576 and 1152 weights by stage, with the scale and shift of its norm two more; macs fall with the stage.
    So computation prunes early filters and parameters late ones."""
    gates = published("resnet20")
    complexity = Complexity(gates)
    ones = torch.ones(gates.count)
    table = complexity.table()
    names = table.name.repeat(table.gates).str.removesuffix(".conv1").tolist()
    parameters, macs = (
        complexity.gradient(ones, alpha) * complexity.full_cost[COMPLEXITIES[alpha]] for alpha in (0, 1)
    )
    # The first block of a stage reads fewer channels and is no measure.
    for stage, weights, used in ((0, 288, 294_912), (1, 576, 147_456), (2, 1152, 73_728)):
        members = [
            i for i, name in enumerate(names[: len(gates.units)]) if name in {f"stages.{stage}.{b}" for b in (1, 2)}
        ]
        assert len(members) == 2 * 16 * 2**stage
        torch.testing.assert_close(parameters[members], torch.full((len(members),), weights + 2.0, dtype=torch.float64))
        torch.testing.assert_close(macs[members], torch.full((len(members),), float(used), dtype=torch.float64))
