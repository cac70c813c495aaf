from __future__ import annotations

from math import prod

import pytest
import torch
from torch import nn

from topo.errors import InputError
from topo.models import MODELS, build, torchvision_names

PARAMETERS = {"resnet20": 269_722, "resnet32": 464_154, "resnet56": 853_018, "resnet110": 1_727_962}
OF_IMAGES = [name for name in MODELS if "sample" not in MODELS.entry(name).info]
MACS = {"resnet20": 40.55e6, "resnet32": 68.86e6, "resnet56": 125.49e6, "resnet110": 252.89e6}
PUBLISHED_NODES = {
    "conv6": 233_356,
    "resnet20": 191_884,
    "resnet32": 306_572,
    "wrn-28-2": 478_604,
    "mobilenet_v2": 1_676_172,
}


def layer_outputs(model: nn.Module, shape: tuple[int, ...]) -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    outputs = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda m, _, out, name=name: outputs.update({name: (m, tuple(out.shape[1:]))}))
    model.eval()(torch.zeros(1, *shape))
    return outputs


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    assert sum(p.numel() for p in build(name).parameters()) == PARAMETERS[name]


def test_resnet50_parameter_count():
    model = build("resnet50", input_shape=(3, 64, 64), n_classes=1000)
    assert sum(p.numel() for p in model.parameters()) == 25_557_032


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates(name):
    layers = layer_outputs(build(name), (3, 32, 32)).values()
    macs = sum(prod(shape[1:]) * module.weight.numel() for module, shape in layers)
    assert macs == pytest.approx(MACS[name], rel=2e-4)


@pytest.mark.parametrize("name", PUBLISHED_NODES)
def test_published_node_counts(name):
    """Padded input plus every output element but the classes; projections share their addition's part."""
    layers = layer_outputs(build(name), (3, 32, 32))
    *hidden, _ = [shape for key, (_, shape) in layers.items() if "shortcut" not in key and "projection" not in key]
    assert 3 * 34 * 34 + sum(prod(shape) for shape in hidden) == PUBLISHED_NODES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_IMAGES)
def test_same_seed_same_network(name):
    shape = (1, 16, 16) if name.startswith("digits") else (3, 32, 32)
    inputs = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    first, again, other = (build(name, input_shape=shape, n_classes=7, seed=seed).eval() for seed in (3, 3, 4))
    assert first(inputs).shape == (2, 7)
    assert torch.equal(first(inputs), again(inputs))
    assert not torch.equal(first(inputs), other(inputs))


@pytest.mark.parametrize("name", ["digits-cnn", "shufflenet_v2_x0_5"])
def test_global_random_state_is_left_alone(name):
    before = torch.random.get_rng_state()
    build(name, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", OF_IMAGES)
def test_networks_train(name):
    model = build(name)
    assert model.training
    model(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", OF_IMAGES)
def test_kaiming_normal_weights_and_zero_biases(name):
    for module in build(name).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * prod(module.kernel_size)
            expected = (2 / fan_out) ** 0.5
        elif isinstance(module, nn.Linear):
            expected = (2 / module.in_features) ** 0.5
        else:
            continue
        deviations = (2 * module.weight.numel()) ** 0.5 * (module.weight.std() / expected - 1)
        assert abs(deviations) < 5
        assert module.bias is None or not torch.any(module.bias)


def test_projection_shortcuts_add_convolutions():
    plain, projected = build("resnet20"), build("resnet20", shortcut="projection")
    extra = sum(p.numel() for p in projected.parameters()) - sum(p.numel() for p in plain.parameters())
    assert extra == 16 * 32 + 64 + 32 * 64 + 128
    with pytest.raises(InputError, match="did you mean 'projection'"):
        build("resnet20", shortcut="projecton")


def test_identity_shortcut_subsamples_and_pads():
    block = build("resnet20").stages[1][0].shortcut
    images = torch.rand(2, 16, 5, 4, generator=torch.Generator().manual_seed(0))
    out = block(images)
    assert out.shape == (2, 32, 3, 2)
    assert torch.equal(out[:, :16], images[:, :, ::2, ::2])
    assert not torch.any(out[:, 16:])


def test_networks_for_small_images():
    """Weights and multiply-accumulates at 16x16, worked by hand from the widths."""
    expected = {
        "small-plain": (432 + 4608 + 18432 + 73728 + 1280, 256 * 432 + 64 * 4608 + 16 * 18432 + 4 * 73728 + 1280),
        "small-resnet": (
            432 + 2 * 2304 + (4608 + 9216 + 512) + (18432 + 36864 + 2048) + 640,
            256 * 432 + 64 * 4608 + 16 * (4608 + 9216 + 512) + 4 * (18432 + 36864 + 2048) + 640,
        ),
        "small-depthwise": (
            864 + (288 + 2048) + (576 + 8192) + (1152 + 16384) + (1152 + 32768) + 2560,
            256 * 864 + 64 * 2336 + 16 * 8768 + 16 * 17536 + 4 * 33920 + 2560,
        ),
    }
    for name, (weights, macs) in expected.items():
        layers = layer_outputs(build(name, input_shape=(3, 16, 16)), (3, 16, 16)).values()
        assert sum(module.weight.numel() for module, _ in layers) == weights
        assert sum(prod(shape[1:]) * module.weight.numel() for module, shape in layers) == macs
    with pytest.raises(InputError, match="halves its input 3 times and needs 8x8 pixels at least, not 7x9"):
        build("small-plain", input_shape=(3, 7, 9))
    with pytest.raises(InputError, match="widths is empty"):
        build("small-depthwise", input_shape=(3, 16, 16), widths=[])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("densenet121", (1, 32, 32)),
        ("googlenet", (2, 32, 32)),
        ("vit_b_32", (3, 64, 64)),
        ("mobilenet_v3_small", (4, 48, 40)),
        ("efficientnet_b0", (3, 32, 32)),
        ("swin_t", (1, 32, 32)),
    ],
)
def test_torchvision_networks_take_any_shape(name, shape):
    model = build(name, input_shape=shape, n_classes=5, seed=1)
    inputs = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    logits = model.eval()(inputs)
    assert logits.shape == (2, 5)
    assert torch.any(logits != 0), "no layer is left at zero"
    assert torch.equal(logits, build(name, input_shape=shape, n_classes=5, seed=1).eval()(inputs))


def test_torchvision_form_of_a_name_both_have():
    assert "mobilenet_v2" in torchvision_names()
    assert type(build("mobilenet_v2")) is not type(build("torchvision:mobilenet_v2"))


def test_torchvision_settings():
    assert build("shufflenet_v2_x0_5", n_classes=3).fc.out_features == 3
    assert build("mobilenet_v3_small", dropout=0.5).classifier[2].p == 0.5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet21", {}, "unknown model 'resnet21'; did you mean"),
        ("densnet121", {}, "did you mean 'densenet121'"),
        ("torchvision:resnet20", {}, "unknown model"),
        ("resnet20", {"shortcuts": "projection"}, "did you mean 'shortcut'"),
        ("conv6", {"width": 3}, "takes no settings"),
        ("conv6", {"classes": 10}, "did you mean 'n_classes'"),
        ("resnet20", {"classes": 10}, "did you mean 'n_classes'"),
        ("conv6", {"input_shape": (3, 7, 32)}, "needs 8x8 at least, not 7x32"),
        ("alexnet", {"input_shape": (3, 32, 32)}, r"'alexnet' cannot take inputs of shape \(3, 32, 32\)"),
        ("vit_b_16", {"input_shape": (3, 30, 30)}, r"shape \(3, 30, 30\)"),
        ("vit_b_16", {"input_shape": (3, 32, 16)}, "takes square images, not 32x16"),
        ("resnet18", {"wdith": 2}, "wdith"),
        ("resnet18", {"weights": "DEFAULT"}, "fresh weights"),
        ("resnet20", {"input_shape": (32, 32)}, r"must be \(channels, height, width\)"),
        ("resnet20", {"input_shape": (0, 32, 32)}, "all positive"),
        ("resnet20", {"input_shape": "3x32x32"}, "must be"),
        ("resnet20", {"n_classes": 0}, "n_classes must be a whole number of at least 1"),
        ("digits-mlp", {"widths": (8, 0)}, "every number of widths must be a whole number of at least 1"),
        ("digits-cnn", {"width": 0}, "width, in channels, must be a whole number of at least 1"),
        ("digits-cnn", {"blocks": 0}, "blocks, in each of two stages, must be a whole number of at least 1"),
    ],
)
def test_bad_input(name, options, message):
    with pytest.raises(InputError, match=message):
        build(name, **options)


def test_blocks_of_the_small_residual_network():
    """By hand: a further block of 8 channels has 2 (9 * 64 + 16) parameters, one of 16 has 2 (9 * 256 + 32)."""
    one, three = (build("digits-cnn", input_shape=(1, 8, 8), blocks=n) for n in (1, 3))
    counts = [sum(p.numel() for p in net.parameters()) for net in (one, three)]
    assert counts[1] - counts[0] == 2 * (2 * (9 * 64 + 16) + 2 * (9 * 256 + 32))


def test_weights_of_lazy_layers_are_seeded():
    @MODELS.register("lazy-net")
    def lazy_net(input_shape, n_classes):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes))

    try:
        state = torch.random.get_rng_state()
        first, second, other = (build("lazy-net", input_shape=(1, 4, 4), seed=seed) for seed in (1, 1, 2))
        assert torch.equal(first[1].weight, second[1].weight) and not torch.equal(first[1].weight, other[1].weight)
        assert torch.equal(torch.random.get_rng_state(), state)
    finally:
        del MODELS._entries["lazy-net"]


@pytest.mark.parametrize(
    ("builder", "sentence"),
    [
        (lambda input_shape, n_classes: nn.Lineer(4, 2), "model 'own' failed with AttributeError: .*'Lineer'"),
        (lambda input_shape, n_classes: None, "model 'own' returned a NoneType; it must return an nn.Module"),
        (lambda input_shape, n_classes: nn.Bilinear(4, 4, 2), "model 'own' failed with TypeError: .*'input2'"),
    ],
)
def test_a_model_of_ones_own_that_fails_is_named(builder, sentence, monkeypatch):
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))
    MODELS.register("own")(builder)
    with pytest.raises(InputError, match=sentence):
        build("own", input_shape=(4,))


def test_models_of_ones_own_may_take_tables(monkeypatch):
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))

    @MODELS.register("table-mlp", family="own")
    def table_mlp(input_shape, n_classes):
        """Linear layers on a table's columns."""
        return nn.Sequential(nn.Linear(*input_shape, 8), nn.ReLU(), nn.Linear(8, n_classes))

    assert build("table-mlp", input_shape=(7,), n_classes=2)(torch.zeros(3, 7)).shape == (3, 2)
    with pytest.raises(InputError, match=r"'table-mlp' cannot .* shape \(3, 4\)"):
        build("table-mlp", input_shape=(3, 4))
