"""Where gates go, and what they do to a network."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn.utils.prune import random_unstructured

import topo
from tests.pruning.variational.nets import NETS, Basic, compacted, draw, gated_output, prepared, published
from topo.errors import InputError
from topo.parameter_names import copied
from topo.pruning.variational import GatedModel
from topo.pruning.variational.complexity import Complexity
from topo.pruning.variational.gates import find_gates

# Unit gates and layer gates, worked out from the widths.
COUNTS = {
    "resnet20": (3 * (16 + 32 + 64), 9),
    "digits-mlp": (64 + 32, 0),
}
LARGE = {
    "wrn-28-2": (16 + 4 * (32 + 64 + 128), 12),
    "vgg16_bn": (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512 + 2 * 4096, 0),
    # The stem, the expanded channels of every block, the last convolution; three blocks change the resolution.
    "mobilenet_v2": (32 + 32 + 96 + 2 * 144 + 3 * 192 + 4 * 384 + 3 * 576 + 3 * 960 + 1280, 17 - 3),
    "resnet56": (9 * (16 + 32 + 64), 27),
    "torchvision:resnet50": (64 + 3 * 128 + 4 * 256 + 6 * 512 + 3 * 1024, 16),
}


# Parameters and multiply-accumulates, as the papers have them.
COSTS = {
    "resnet20": (269_722, 40.55e6),
    "resnet56": (853_018, 125_485_696),
}


@pytest.mark.parametrize("name", NETS)
def test_counts_of_small_networks(name):
    _, _, gates = prepared(name)
    assert (len(gates.units), len(gates.layers)) == NETS[name][2:]
    assert gates.is_layer.tolist() == [False] * len(gates.units) + [True] * len(gates.layers)


def test_a_gate_is_called_by_the_layer_that_writes_its_unit_or_ends_its_branch():
    gates = find_gates(topo.models.build("digits-cnn", input_shape=(1, 8, 8), width=2), (1, 8, 8))
    units = ["stages.0.0.conv1"] * 2 + ["stages.1.0.conv1"] * 4
    assert gates.names == (*units, "stages.0.0.conv2", "stages.1.0.conv2")


@pytest.mark.parametrize("name", [*COUNTS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_counts_of_published_networks(name):
    gates = published(name)
    assert (len(gates.units), len(gates.layers)) == (COUNTS | LARGE)[name]
    if name in COSTS:
        full_cost = Complexity(gates).full_cost
        assert full_cost["parameters"] == COSTS[name][0]
        assert full_cost["macs"] == pytest.approx(COSTS[name][1], abs=5e3)


def test_gates_of_a_traced_network_are_those_of_its_model():
    model, x, gates = prepared("skips")
    of_dag = find_gates(topo.trace(model, x[:1]))
    assert torch.equal(of_dag.units, gates.units) and of_dag.prunable == gates.prunable
    assert [layer.arcs for layer in of_dag.layers] == [layer.arcs for layer in gates.layers]


def test_the_table_of_resnet20():
    table = Complexity(published("resnet20")).table()
    blocks = [f"stages.{stage}.{block}" for stage in range(3) for block in range(3)]
    assert table.kind.tolist() == ["unit"] * 9 + ["layer"] * 9
    assert table.name.tolist() == [f"{b}.conv1" for b in blocks] + [f"{b}.conv2" for b in blocks]
    assert table.gates.tolist() == [16] * 3 + [32] * 3 + [64] * 3 + [1] * 9
    assert table.within.tolist() == [f"{b}.conv2" for b in blocks] + [""] * 9
    # Two 3x3 convolutions and two norms; without the units the second norm remains.
    assert table.parameters[10] == 2 * 9 * 16 * 16 + 4 * 16
    assert table.parameters[1] == 2 * 9 * 16 * 16 + 2 * 16
    assert table.macs[10] == table.macs[1] == 2 * 9 * 16 * 16 * 32 * 32


def test_the_table_of_a_vision_transformer():
    """Heads, units of the MLP, attention branches and MLPs."""
    table = Complexity(prepared("vit")[2]).table()
    block = "encoder.layers.encoder_layer_0"
    first = table[table.name.str.startswith(block)].set_index(["kind", "name"])
    assert first.gates.to_dict() == {
        ("unit", f"{block}.self_attention.in_proj_weight"): 2,
        ("unit", f"{block}.mlp.0"): 6,
        ("layer", f"{block}.self_attention.out_proj"): 1,
        ("layer", f"{block}.mlp.3"): 1,
    }
    assert first.within[("unit", f"{block}.self_attention.in_proj_weight")] == f"{block}.self_attention.out_proj"
    # Width 8, norm and projections with biases: 2 * 8 + 4 * (8 * 8 + 8); norm, 8 x 6 and back: 16 + 6 * 9 + 8 * 7.
    assert first.parameters[("layer", f"{block}.self_attention.out_proj")] == 16 + 4 * 72
    assert first.parameters[("layer", f"{block}.mlp.3")] == 16 + 54 + 56


def test_gates_of_a_bottleneck_stand_behind_its_first_and_second_convolution():
    _, _, gates = prepared("bottleneck")
    one = torch.ones(gates.count)
    vectors = {name: value for name, value in gates.multipliers(one).items() if value.numel() > 1}
    assert {name: tuple(value.shape) for name, value in vectors.items()} == {
        f"blocks.{block}.{layer}.weight": (1, 3, 1, 1) for block in (0, 1) for layer in (3, 6)
    }
    numbers = set(gates.multipliers(one)) - set(vectors)
    assert numbers == {f"blocks.{block}.7.{part}" for block in (0, 1) for part in ("weight", "bias")}


@pytest.mark.parametrize("name", ["basic", "projected", "bottleneck", "inverted", "blocks", "skips", "vit"])
def test_channels_of_residual_streams_have_no_gate(name):
    """What enters an addition has as many elements with and without unit gates closed."""
    _, _, gates = prepared(name)
    alive = torch.arange(gates.count) >= len(gates.units)
    remaining = gates.remaining_units(alive)
    for node, arcs, labels in zip(
        gates.channels.dag.nodes, gates.channels.dag.arcs_into, gates.channels.nodes, strict=True
    ):
        if node.kind == "sum" and len(arcs) > 1:
            assert torch.cat([remaining, torch.tensor([True])])[labels].all()
    assert not remaining.all()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_gates_of_zero_and_one_are_masks(name, seed):
    model, x, gates = prepared(name)
    xi, masks, smaller = compacted(name, seed)
    assert set(masks) >= set(gates.prunable)
    masked = topo.Masks(masks).apply(copy.deepcopy(model))
    with torch.no_grad():
        got, full = gated_output(model, gates, xi, x), model(x)
        torch.testing.assert_close(got, masked(x), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(got, smaller(x), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(gated_output(model, gates, torch.ones_like(xi), x), full, rtol=0, atol=0)
        if not xi.all():
            assert (got - full).abs().max() > 1e-6
            assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


def test_a_layer_gate_brings_xi_times_the_branch_and_a_unit_gate_xi_times_its_channel():
    """Against the block written out: act(skip + xi_l BN2(W2 (xi_u relu(BN1(W1 z)))))."""
    model, x, gates = prepared("basic")
    xi = torch.rand(gates.count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    units, layers = xi[~gates.is_layer].split([3, 3, 5, 5]), xi[gates.is_layer]
    assert [layer.name for layer in gates.layers] == [f"blocks.{i}.conv2" for i in range(4)]
    z = torch.relu(model.norm(model.stem(x)))
    for block, unit, layer in zip(model.blocks, units, layers, strict=True):
        inner = torch.relu(block.norm1(block.conv1(z))) * unit.view(-1, 1, 1)
        branch = block.norm2(block.conv2(inner))
        skip = torch.cat([z, z.new_zeros(3, branch.shape[1] - z.shape[1], 4, 4)], dim=1)
        z = torch.relu(skip + layer * branch)
    torch.testing.assert_close(gated_output(model, gates, xi, x), model.head(z.mean((2, 3))), rtol=1e-12, atol=1e-12)


def test_a_layer_gate_scales_whole_attention_and_mlp_branches():
    model, x, gates = prepared("vit")
    xi = torch.ones(gates.count, dtype=torch.float64)
    xi[gates.is_layer] = torch.tensor([0.3, 0.6, 0.8, 0.2], dtype=torch.float64)
    scaled = copy.deepcopy(model)
    blocks = [scaled.get_submodule(f"encoder.layers.encoder_layer_{i}") for i in range(2)]
    for block, (attention, mlp) in zip(blocks, xi[gates.is_layer].view(2, 2), strict=True):
        block.self_attention.register_forward_hook(lambda m, i, out, by=attention: (out[0] * by, out[1]))
        block.mlp.register_forward_hook(lambda m, i, out, by=mlp: out * by)
    torch.testing.assert_close(gated_output(model, gates, xi, x), scaled(x), rtol=1e-11, atol=1e-11)


def test_a_layer_gate_scales_what_a_branch_brings_to_concatenations():
    model, x, gates = prepared("dense")
    xi = torch.ones(gates.count, dtype=torch.float64)
    xi[gates.is_layer] = torch.tensor([0.3, 0.6, 0.8], dtype=torch.float64)
    held = [model.stem(x)]
    factors = [1.0, *xi[gates.is_layer].tolist()]
    for norm, conv in zip(model.norms, model.convs, strict=True):
        shares = torch.cat([h.new_full((h.shape[1],), f) for h, f in zip(held, factors, strict=False)])
        held.append(conv(torch.relu(norm(torch.cat(held, dim=1))) * shares.view(-1, 1, 1)))
    shares = torch.cat([h.new_full((h.shape[1],), f) for h, f in zip(held, factors, strict=True)])
    torch.testing.assert_close(
        gated_output(model, gates, xi, x),
        model.head(torch.cat(held, dim=1).mean((2, 3)) * shares),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("name", ["basic", "bottleneck", "densenet", "plain", "inverted"])
def test_the_shift_of_a_closed_unit_does_not_stay_alive(name):
    """Whatever norms and biases write a closed unit, the output does not move."""
    model, x, gates = prepared(name)
    xi = torch.ones(gates.count, dtype=torch.float64)
    closed = torch.arange(0, len(gates.units), 2)
    xi[closed] = 0
    changed = copy.deepcopy(model)
    moved = 0
    with torch.no_grad():
        for parameter, axes in gates.channels.axes.items():
            value = changed.get_parameter(parameter) if parameter in dict(model.named_parameters()) else None
            if value is not None and value.ndim == 1:
                closed_entries = torch.isin(axes[0], gates.units[closed])
                value[closed_entries] += 3.0
                moved += int(closed_entries.sum())
        assert moved
        assert torch.equal(gated_output(model, gates, xi, x), gated_output(changed, gates, xi, x))
        assert not torch.equal(model(x), changed(x))


@pytest.mark.parametrize("name", [name for name in NETS if NETS[name][3]])
def test_every_set_of_layer_gates_kills_what_each_of_them_kills(name):
    network, layers = prepared(name)[2].network, prepared(name)[2].layers
    intact = network.intact()
    for size in range(1, len(layers) + 1):
        for some in combinations(layers, size):
            union = {arc for layer in some for arc in layer.arcs}
            remaining = intact.without(arcs=union)
            assert set(intact.counts.live) - set(remaining.counts.live) == union
            assert network.is_sound(remaining)


def test_of_parallel_layers_that_a_branch_needs_the_larger_has_a_gate():
    layers = {layer.name: set(layer.arcs) for layer in prepared("nested")[2].layers}
    assert set(layers) == {"inner", "left", "out"}
    assert layers["inner"] < layers["out"] and layers["left"] < layers["out"]


@pytest.mark.parametrize("name", NETS)
def test_closure_closes_more_and_is_done_at_once(name):
    _, _, gates = prepared(name)
    generator = torch.Generator().manual_seed(3)
    done = 0
    for _ in range(20):
        alive = torch.rand(gates.count, generator=generator) < 0.5
        try:
            closed = gates.closure(alive)
        except InputError:
            continue
        done += 1
        assert not (closed & ~alive).any()
        assert torch.equal(gates.closure(closed), closed)
    assert done


def test_a_layer_without_units_goes_and_a_layer_takes_its_units():
    _, _, gates = prepared("bottleneck")
    alive = torch.ones(gates.count, dtype=torch.bool)
    # The second convolution of the first block.
    alive[3:6] = False
    expected = torch.tensor([False] * 6 + [True] * 6 + [False, True])
    assert torch.equal(gates.closure(alive), expected)
    alive[:] = True
    alive[12] = False
    assert torch.equal(gates.closure(alive), expected)
    alive[:] = True
    alive[[0, 1, 3]] = False
    assert torch.equal(gates.closure(alive), alive)


def test_a_branch_stays_while_one_of_its_parallel_layers_has_units():
    _, _, gates = prepared("nested")
    table = Complexity(gates).table()
    assert table.name[table.kind == "unit"].tolist() == ["left", "right", "join"]
    alive = torch.ones(gates.count, dtype=torch.bool)
    names = [layer.name for layer in gates.layers]
    alive[:3] = False
    closed = gates.closure(alive)
    assert dict(zip(names, closed[gates.is_layer].tolist(), strict=True)) == {"inner": True, "left": False, "out": True}
    alive[3:5] = False
    assert not gates.closure(alive)[:9].any()
    assert not gates.closure(alive)[gates.is_layer].any()


def test_without_layer_gates_an_empty_block_goes_all_the_same():
    model, _, gates = prepared("bottleneck")
    units_only = replace(gates, layers=())
    alive = torch.ones(12, dtype=torch.bool)
    alive[:3] = False
    small = topo.compact(model, units_only.masks(alive), channels=gates.channels)
    assert not any(name.startswith("blocks.0.") for name, _ in small.named_parameters())
    assert any(name.startswith("blocks.1.") for name, _ in small.named_parameters())


def test_where_no_path_would_be_left_closure_says_so():
    _, _, gates = prepared("plain")
    alive = torch.ones(gates.count, dtype=torch.bool)
    alive[4:7] = False
    with pytest.raises(InputError, match="everything would be pruned"):
        gates.closure(alive)


@pytest.mark.parametrize("name", NETS)
def test_norms_are_those_of_what_a_gate_multiplies(name):
    model, _, gates = prepared(name)
    one = torch.ones(gates.count, dtype=torch.float64)
    values = {n: p.detach() for n, p in model.named_parameters()}
    squares = torch.zeros(gates.count, dtype=torch.float64)
    for n in gates.multipliers(one):
        # The derivative of a product of open gates is 1 in each of its gates.
        jacobian = torch.autograd.functional.jacobian(
            lambda xi, n=n: gates.multipliers(xi)[n].expand(values[n].shape).clone(), one
        )
        squares += (jacobian * values[n].square().unsqueeze(-1)).flatten(0, -2).sum(0)
    torch.testing.assert_close(gates.norms(values), squares.sqrt())


def wrapped_by_hand(kind):
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(3, 2), "nothing to gate"),
        # A norm over all hidden features makes them one unit, which every path needs.
        (lambda: nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)), "nothing to gate"),
        (lambda: nn.DataParallel(NETS["mlp"][0]()), "DataParallel"),
        (lambda: wrapped_by_hand(nn.parallel.DistributedDataParallel), "DistributedDataParallel"),
        (lambda: torch.compile(NETS["mlp"][0]()), "compiled"),
        (lambda: nn.Sequential(torch.compile(nn.Linear(3, 3)), nn.Linear(3, 2)), "compiled"),
    ],
)
def test_models_without_gates_and_wrapped_ones(make, message):
    with pytest.raises(InputError, match=message):
        find_gates(make(), torch.zeros(1, 3))


def test_a_module_compiled_in_place():
    model = NETS["mlp"][0]()
    model.compile()
    with pytest.raises(InputError, match="compiled"):
        find_gates(model, torch.zeros(1, 3))


class Cells(nn.Module):
    """Recurrent layers over two steps, and a linear layer on the mean."""

    def __init__(self, kind: type[nn.RNNBase], **settings: object) -> None:
        super().__init__()
        self.cells = kind(2, 3, batch_first=True, **settings)
        self.head = nn.Linear(next(iter(self.cells(torch.zeros(1, 2, 2)))).shape[-1], 2)

    def forward(self, x):
        return self.head(self.cells(x)[0].mean(1))


class Computed(nn.Module):
    """Two hidden layers, the second of whose weights is computed."""

    def __init__(self, computed) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(3, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            computed(self.second)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


# Of the residual stream alone and of what norms tie to it there are no gates.
STATES = {
    "tanh": (lambda: Cells(nn.RNN), (2, 2), 3),
    "lstm": (lambda: Cells(nn.LSTM), (2, 2), 3),
    "gru": (lambda: Cells(nn.GRU, num_layers=2, bidirectional=True), (2, 2), 4 * 3),
    # The cells, three of them, are added up and read by the projection alone.
    "projected": (lambda: Cells(nn.LSTM, proj_size=2), (2, 2), 2),
    "weight norm": (lambda: Computed(nn.utils.parametrizations.weight_norm), (4,), 4 + 3),
    "older weight norm": (lambda: Computed(nn.utils.weight_norm), (4,), 4 + 3),
    "masked": (lambda: Computed(lambda layer: random_unstructured(layer, "weight", amount=4)), (4,), 4 + 3),
}


@pytest.mark.parametrize("name", STATES)
def test_gates_of_states_and_of_units_beside_computed_weights_are_masks(name):
    make, shape, units = STATES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = make().double().eval(), torch.randn(3, *shape, dtype=torch.float64)
    gates = find_gates(model, x[:1])
    assert len(gates.units) == units
    xi = draw(gates, 0)
    xi[gates.is_layer] = 1.0
    masks = gates.masks(xi.bool())
    masked = copied(model)
    topo.Masks(masks).apply(masked)
    small = topo.compact(model, masks, channels=gates.channels)
    gated = GatedModel(model, gates).forward_with(xi, x)
    torch.testing.assert_close(gated, masked(x))
    torch.testing.assert_close(gated, small(x))
    assert (gated - model(x)).abs().max() > 1e-3
    scales = 3 if "norm" in name else 0  # which the smaller network has multiplied into its weight
    assert Complexity(gates).expected(xi) == sum(p.numel() for p in small.parameters()) + scales


@pytest.mark.parametrize(
    "computed", [nn.utils.parametrizations.spectral_norm, lambda m: nn.utils.parametrizations.weight_norm(m, dim=1)]
)
def test_norms_that_tie_units_to_others_leave_them_without_gates(computed):
    with pytest.raises(InputError, match="tied to others by a norm of weights"):
        find_gates(Computed(computed).eval(), (4,))


def test_a_fused_norm_and_a_branch_that_masks_cannot_make_zero_have_no_gate():
    """A norm without parameters divides out what a gate would multiply in front of it."""

    class Normed(Basic):
        def forward(self, x):
            x = torch.relu(self.stem(x))
            x = x + nn.functional.layer_norm(self.blocks[0].conv1(x), x.shape[1:])
            x = x + torch.sigmoid(self.blocks[1].conv1(x))
            return self.head(x.mean((2, 3)))

    with pytest.raises(InputError, match="nothing to gate"):
        find_gates(Normed((3,)), torch.zeros(1, 2, 4, 4))
