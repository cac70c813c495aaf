from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import topo
from tests.zoo import SMALL, small
from topo import InputError, models
from topo.dag import compact, cost, coupled_channels, trace
from topo.dag.compaction.compactor import live_units
from topo.masks import prunable_parameters
from topo.parameter_names import copied
from topo.torchvision_import import import_torchvision

PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    name: (lambda name=name: models.build(name))
    for name in (
        *("resnet20", "resnet56", "resnet50", "wrn-28-2", "mobilenet_v2"),
        *("shufflenet_v2_x0_5", "googlenet"),
    )
}
PUBLISHED["densenet"] = lambda: import_torchvision().models.DenseNet(
    growth_rate=8, block_config=(3, 3, 2), num_init_features=16, bn_size=2, num_classes=10
)
PUBLISHED["vgg"] = lambda: little_vgg()
PUBLISHED["vit"] = lambda: import_torchvision().models.VisionTransformer(
    image_size=32, patch_size=16, num_layers=2, num_heads=12, hidden_dim=768, mlp_dim=3072, num_classes=10
)


def little_vgg() -> nn.Module:
    """Every channel of the last convolution is 49 inputs of the first linear layer."""
    vgg = import_torchvision().models.vgg
    model = vgg.VGG(vgg.make_layers([16, "M", 32, "M"], batch_norm=True), num_classes=10, init_weights=False)
    dropout = nn.Dropout(0.5)
    model.classifier = nn.Sequential(nn.Linear(32 * 49, 24), nn.ReLU(True), dropout, nn.Linear(24, 10))
    return model


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """In float64 and evaluation mode, with biases, norms and statistics that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.is_floating_point() and (tensor.ndim == 1 or not tensor.any()):
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    return model


def flat(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([t.flatten() for t in ((output,) if isinstance(output, Tensor) else output)])


def check(
    model: nn.Module, inputs: tuple[Tensor, ...], share: float = 0.5, seed: int = 0, matters: bool = True
) -> nn.Module:
    """Prune units at random; the smaller module must compute what the masked network does and cost what is left."""
    inputs = tuple(x.double() for x in inputs)
    example = tuple(x[:1] for x in inputs)
    channels = coupled_channels(trace(model, example))
    alive = torch.rand(channels.count, generator=torch.Generator().manual_seed(seed)) > share
    groups = channels.groups()
    alive[torch.tensor([int((groups == group).nonzero()[0]) for group in groups.unique()], dtype=torch.int64)] = True
    masks = channels.masks(alive, prunable_parameters(channels.dag))
    masked = copied(model)
    topo.Masks(masks).apply(masked)
    before = copy.deepcopy(model.state_dict())
    smaller = compact(model, masks, channels=channels)
    with torch.no_grad():
        expected, got, dense = flat(masked(*inputs)), flat(smaller(*inputs)), flat(model(*inputs))
        whole = flat(compact(model, None, channels=channels)(*inputs))
    scale = expected.abs().max().clamp(min=1)
    assert torch.allclose(whole, dense, rtol=0, atol=1e-10 * float(dense.abs().max().clamp(min=1)))
    assert (expected - got).abs().max() / scale < 1e-10
    if (~alive).any():
        assert not matters or (expected - dense).abs().max() > 1e-6  # something was removed that mattered
        remaining = cost(smaller, example)
        assert (
            remaining["parameters"] <= channels.costs(alive)["parameters"] < channels.costs(alive | True)["parameters"]
        )
        assert remaining["macs"] <= channels.costs(alive)["macs"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return smaller


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_equals_the_masked_network_small(name):
    model, inputs = small(name)
    # In the net with two inputs a removed unit may be one that its ReLU had made zero.
    check(lively(model), inputs, matters=name != "two-in-two-out")


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_the_masked_network(name):
    check(lively(PUBLISHED[name]()), (torch.randn(2, 3, 32, 32),))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("mobilenetv3_small_050", 32), ("test_convnext", 32)])
def test_equals_the_masked_network_of_timm(name: str, size: int):
    import_torchvision()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    check(lively(timm.create_model(name, num_classes=4)), (torch.randn(2, 3, size, size),))


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(share=st.floats(0.0, 0.95), seed=st.integers(0, 1000))
def test_any_share_of_units(share, seed):
    torch.manual_seed(0)
    model, inputs = small("u-net")
    check(lively(model), inputs, share, seed)


@pytest.mark.slow
def test_the_cost_is_exactly_that_of_the_units_left():
    model = models.build("resnet20")
    masks = topo.prune(model, "l1-filter", sparsity=0.5, example=(3, 32, 32))
    channels = coupled_channels(trace(model, torch.zeros(1, 3, 32, 32)))
    remaining = channels.costs(live_units(channels, masks))
    smaller = cost(compact(model, masks, torch.zeros(1, 3, 32, 32)), torch.zeros(1, 3, 32, 32))
    assert smaller == {key: remaining[key] for key in ("parameters", "macs")}
    assert masks.density == pytest.approx(remaining["weights"] / 268_336)


def test_unstructured_masks_remove_what_is_not_read():
    """Unit 0 is read by a live one, unit 1 only by a dead one, unit 2 not at all."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    masks = {
        "0.weight": torch.ones(3, 2, dtype=torch.bool),
        "2.weight": torch.tensor([[True, False, False], [True, True, False]]),
        "4.weight": torch.tensor([[True, False]]),
    }
    smaller = compact(model, masks, torch.zeros(1, 2, dtype=torch.float64))
    assert [tuple(smaller.get_submodule(n).weight.shape) for n in ("0", "2", "4")] == [(1, 2), (1, 1), (1, 1)]
    x = torch.randn(7, 2, dtype=torch.float64)
    topo.Masks(masks).apply(model)
    torch.testing.assert_close(smaller(x), model(x), rtol=0, atol=1e-12)


def test_a_unit_whose_own_weights_are_gone_stays_while_its_bias_is_read():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).double()
    masks = {"0.weight": torch.tensor([[True, True], [False, False]])}
    smaller = compact(model, masks, torch.zeros(1, 2, dtype=torch.float64))
    x = torch.randn(4, 2, dtype=torch.float64)
    topo.Masks(masks).apply(model)
    assert smaller.get_submodule("0").out_features == 2
    torch.testing.assert_close(smaller(x), model(x), rtol=0, atol=1e-12)


def test_a_layer_pruned_empty_keeps_one_masked_unit():
    model, inputs = small("u-net")
    model = lively(model)
    masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in prunable_parameters(model).items()}
    x = inputs[0].double()
    smaller = compact(model, masks, x[:1])
    topo.Masks(masks).apply(model)
    torch.testing.assert_close(smaller(x), model(x), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_branch_that_masks_make_zero_goes_as_a_whole():
    """Scale and shift of the last norm masked, and the weights before it: of the block only the shortcut is left."""
    model = lively(models.build("resnet20"))
    block = "stages.0.1"
    names = [f"{block}.{n}" for n in ("conv1.weight", "conv2.weight", "bn2.weight", "bn2.bias")]
    masks = {n: torch.zeros_like(p, dtype=torch.bool) for n, p in model.named_parameters() if n in names}
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    smaller = compact(model, masks, x[:1])
    assert not any(name.startswith(block) for name, _ in smaller.named_parameters())
    before, after = cost(model, x[:1]), cost(smaller, x[:1])
    assert before["macs"] - after["macs"] == 2 * 16 * 16 * 9 * 32 * 32
    assert before["parameters"] - after["parameters"] == 2 * 16 * 16 * 9 + 4 * 16
    topo.Masks(masks).apply(model)
    torch.testing.assert_close(smaller(x), model(x), rtol=0, atol=1e-10)


@pytest.mark.slow
def test_a_branch_with_a_shift_left_is_not_silent():
    model = lively(models.build("resnet20"))
    masks = {"stages.0.1.conv2.weight": torch.zeros(16, 16, 3, 3, dtype=torch.bool)}
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    smaller = compact(model, masks, x[:1])
    assert smaller.get_submodule("stages.0.1.bn2").num_features == 16
    topo.Masks(masks).apply(model)
    torch.testing.assert_close(smaller(x), model(x), rtol=0, atol=1e-10)


def test_masked_weights_of_units_that_stay_are_zero_in_the_smaller_module():
    model, inputs = small("gate")
    generator = torch.Generator().manual_seed(0)
    masks = {n: torch.rand(p.shape, generator=generator) > 0.3 for n, p in prunable_parameters(model).items()}
    model = lively(model)
    smaller = compact(model, masks, inputs[0][:1].double())
    topo.Masks(masks).apply(model)
    x = inputs[0].double()
    torch.testing.assert_close(smaller(x), model(x), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_is_a_plain_module_of_the_models_own_classes():
    model = models.build("resnet20").train()
    masks = topo.prune(model, "l1-filter", sparsity=0.6, example=(3, 32, 32))
    smaller = compact(model, masks, torch.zeros(1, 3, 32, 32))
    assert smaller.training
    assert isinstance(smaller.get_submodule("stages.1.0.bn1"), nn.BatchNorm2d)
    assert {n for n, _ in smaller.named_parameters()} == {n for n, _ in model.named_parameters()}
    # training mode: batch statistics and running averages as in the masked network, and gradients of what is left
    masked = copy.deepcopy(model)
    masks.apply(masked)
    x = torch.randn(8, 3, 32, 32)
    torch.testing.assert_close(smaller(x), masked(x), rtol=1e-4, atol=1e-4)
    smaller(x).sum().backward()
    assert all(p.grad is not None for p in smaller.parameters())
    again = pickle.loads(pickle.dumps(smaller)).eval()
    torch.testing.assert_close(again(x), smaller.eval()(x))
    twice = compact(again, None, x[:1])
    torch.testing.assert_close(twice(x), again(x), rtol=1e-5, atol=1e-5)
    assert topo.measure(topo.encode(smaller, example=(3, 32, 32)), metrics=["nodes"])["nodes"] > 0


def test_dropout_drops_in_training_only():
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 3))
    smaller = compact(model, None, torch.zeros(1, 4))
    x = torch.ones(2, 4)
    assert not torch.equal(smaller(x), smaller(x))
    smaller.eval()
    torch.testing.assert_close(smaller(x), model.eval()(x))


def test_shared_weights_stay_shared():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.leave = nn.Linear(3, 4), nn.Linear(4, 2)
            self.a = nn.Linear(4, 4)
            self.b = nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.leave(self.b(torch.relu(self.a(torch.relu(self.enter(x))))))

    smaller = check(lively(Tied()), (torch.randn(3, 3),))
    sizes = {tuple(p.shape) for n, p in smaller.named_parameters() if n.startswith(("a.weight", "b.weight"))}
    assert len(sizes) == 1


def test_buffers_and_flags_come_along():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    model[0].weight.requires_grad_(False)
    masks = {"2.weight": torch.tensor([True, False, True, False]).view(1, 4, 1, 1).expand(2, 4, 1, 1)}
    smaller = compact(model, masks, torch.zeros(1, 1, 3, 3))
    assert not smaller.get_submodule("0").weight.requires_grad
    assert smaller.get_submodule("1").num_features == 2
    assert smaller.get_submodule("1").running_mean.shape == (2,)


def test_bad_input():
    model = nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"topo\.compact needs an example of the model's input"):
        compact(model, {})
    with pytest.raises(InputError, match="shape"):
        compact(model, {"weight": torch.ones(3, 3, dtype=torch.bool)}, torch.zeros(1, 2))
    with pytest.raises(InputError, match="parameter in masks"):
        compact(model, {"wight": torch.ones(2, 2, dtype=torch.bool)}, torch.zeros(1, 2))


class Joined(nn.Module):
    """Two convolutions side by side, a norm behind the second, and a layer that reads both."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.norm = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)
        self.after, self.head = nn.BatchNorm2d(7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.left(x), torch.relu(self.norm(self.right(x)))], dim=1)
        return self.head(torch.relu(self.after(x)).mean((2, 3)))


@pytest.mark.parametrize("slot", ["left", "right"])
def test_a_slot_of_a_concatenation_that_nothing_reads_goes_with_all_that_fills_it(slot):
    model, x = lively(Joined()), torch.randn(3, 2, 4, 4, dtype=torch.float64)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[:, :3] = slot != "left"
    mask[:, 3:] = slot != "right"
    smaller = compact(model, {"head.weight": mask}, x[:1])
    assert not any(name.startswith(slot) for name, _ in smaller.named_parameters())
    assert smaller.after.num_features == int(mask[0].sum())
    torch.testing.assert_close(smaller(x), topo.Masks({"head.weight": mask}).apply(model)(x), rtol=1e-12, atol=1e-12)


def test_padding_of_channels_that_are_gone_pads_nothing():
    """New channels that only pruned layers fill, of all samples."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 3, 1), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.pad(torch.relu(self.conv(x)), (0, 0, 0, 0, 0, 2))
            return self.head(torch.relu(x).mean((2, 3)))

    model, x = lively(Padded()), torch.randn(3, 2, 4, 4, dtype=torch.float64)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[:, 3:] = False
    smaller = compact(model, {"head.weight": mask}, x[:1])
    assert smaller.head.in_features == 3
    torch.testing.assert_close(smaller(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_attention_that_is_gone_leaves_no_projection():
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.head = nn.Linear(3, 4), nn.Linear(4, 2)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.enter(x)
            return self.head(x + self.attention(x, x, x, need_weights=False)[0])

    model, x = lively(Attending()), torch.randn(2, 3, 3, dtype=torch.float64)
    names = ["attention.out_proj.weight", "attention.out_proj.bias"]
    masks = {name: torch.zeros(model.get_parameter(name).shape, dtype=torch.bool) for name in names}
    smaller = compact(model, masks, x[:1])
    assert {name.partition(".")[0] for name, _ in smaller.named_parameters()} == {"enter", "head"}
    torch.testing.assert_close(smaller(x), model.head(model.enter(x)), rtol=1e-12, atol=1e-12)


class Picked(nn.Module):
    """Channels picked by numbers that the module keeps."""

    def __init__(self, how: str, spatial: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3) if spatial else nn.Linear(6, 8)
        self.last = nn.Conv2d(8, 3, 1) if spatial else nn.Linear(8, 3)
        self.register_buffer("order", torch.tensor([1, 0, 3, 2, 2, 4, 7, 6]))
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.how == "buffer":
            y = y[:, self.order]
        elif self.how == "index_select":
            y = y.index_select(1, self.order)
        else:
            y = y[:, [1, 0, 3, 2, 2, 4, 7, 6]]
        return self.last(torch.relu(y))


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("how", ["buffer", "index_select", "list"])
def test_numbers_of_channels_are_those_of_the_smaller_network(how, spatial):
    torch.manual_seed(0)
    model = Picked(how, spatial).double().eval()
    x = torch.randn(5, 2, 4, 4, dtype=torch.float64) if spatial else torch.randn(5, 6, dtype=torch.float64)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_parameters(model).items()}
    masks["last.weight"][:, [0, 4, 6]] = False
    masked = copy.deepcopy(model)
    topo.Masks(masks).apply(masked)
    smaller = compact(model, masks, x[:2])
    assert torch.allclose(smaller(x), masked(x), rtol=1e-12)
    # Channels 0, 2, 3, 4 and 6 are still read, 2 at one of its two places; 5 never was.
    assert smaller.first.weight.shape[0] == 5


class OneDict(nn.Module):
    """One argument that is a dict, and one that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, batch: dict[str, Tensor], doubled: bool = False) -> Tensor:
        hidden = (self.first(batch["x"]) + self.second(batch["y"])).relu()
        return self.head(2 * hidden if doubled else hidden)


@pytest.mark.parametrize("wrap", [lambda both: (both,), lambda both: {"batch": both}, lambda both: (both, False)])
def test_the_arguments_are_those_of_the_model(wrap):
    both = {"x": torch.randn(5, 4), "y": torch.randn(5, 3)}
    net = OneDict().eval()
    masks = topo.prune(net, "er", sparsity=0.5)
    masks = masks.replaced({**masks, "head.weight": torch.tensor([[True, False] * 3] * 2)})
    small = compact(net, masks, wrap(both))
    assert small.get_submodule("first").out_features == 3
    expected = masks.apply(net)(both)
    assert torch.allclose(small(both), expected) and torch.allclose(small(batch=dict(reversed(both.items()))), expected)
    assert torch.allclose(trace(small, (both,))(both), expected)
    assert torch.allclose(compact(small, None, (both,))(both), expected)
    assert compact(nn.Linear(4, 2), None, {"input": both["x"]})(input=both["x"]).shape == (5, 2)
