"""Compaction of layers that compute more than their class says, and what is said where it would not be exact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import topo
from topo import InputError
from topo.dag import compact, trace
from topo.dag.compaction.plain_modules import does_just
from topo.dag.compaction.verification import verify_compaction


class TanhConvolution(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(super().forward(x))


class Adapted(nn.Linear):
    """A low-rank adapter beside the layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.down.t() @ self.up.t()


class NormAndGate(nn.BatchNorm2d):
    """An activation that is not zero at zero."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(super().forward(x))


class ChannelsFirstNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class GroupNormActivation(nn.GroupNorm):
    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


def replaced_forward() -> nn.Module:
    layer = nn.Conv2d(3, 6, 3)
    layer.forward = lambda x: 2 * F.conv2d(x, layer.weight, layer.bias)  # type: ignore[method-assign]
    return layer


HEAD = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))


def padded(dimensions: int, mode: str) -> nn.Module:
    convolution, pool = getattr(nn, f"Conv{dimensions}d"), getattr(nn, f"AdaptiveAvgPool{dimensions}d")
    layers = [convolution(n, 6, 3, padding=1, padding_mode=mode) for n in (3, 6)]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(6, 4))


MODELS = {
    **{f"{m} {d}d": (lambda d=d, m=m: padded(d, m)) for d in (1, 2, 3) for m in ("circular", "reflect", "replicate")},
    "activation in a convolution": lambda: nn.Sequential(TanhConvolution(3, 6, 3), TanhConvolution(6, 6, 3), *HEAD),
    "adapter": lambda: nn.Sequential(nn.Flatten(), Adapted(192, 8), nn.ReLU(), Adapted(8, 4)),
    "gate in a norm": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), NormAndGate(6), nn.Conv2d(6, 6, 3), *HEAD),
    "norm of permuted channels": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), ChannelsFirstNorm(6), *HEAD),
    "activation in a group norm": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), GroupNormActivation(2, 6), *HEAD),
    "standardised weights": lambda: nn.Sequential(Standardised(3, 6, 3), nn.ReLU(), Standardised(6, 6, 3), *HEAD),
    "replaced forward": lambda: nn.Sequential(replaced_forward(), nn.ReLU(), nn.Conv2d(6, 6, 3), *HEAD),
}


@pytest.mark.filterwarnings("ignore:pruning leaves")
@pytest.mark.parametrize("name", MODELS)
def test_layers_that_compute_more_than_their_class_says_stay_exact(name: str):
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    dimensions = int(name[-2]) if name.endswith("d") and name[-2].isdigit() else 2
    x = torch.randn(2, 3, *[8] * dimensions, dtype=torch.float64)
    assert torch.allclose(compact(model, None, x)(x), model(x), rtol=0, atol=1e-12)
    masks = topo.prune(model, "uniform", sparsity=0.5, example=x[:1], device="cpu", include=["*.weight"])
    # Units go, too: all that the first unit of the last layer reads from the third input.
    masks = {key: mask.clone() for key, mask in masks.items()}
    for key in [key for key in masks if key.endswith(".weight")][1:]:
        masks[key][:, 2] = False
    small = compact(model, masks, x)
    with torch.no_grad():
        for key, mask in masks.items():
            model.get_parameter(key).mul_(mask)
    assert torch.allclose(small(x), model(x), rtol=0, atol=1e-12)


def test_a_subclass_that_only_says_more_is_still_the_layer():
    class Named(nn.Linear):
        def extra_repr(self) -> str:
            return "named"

    assert does_just(Named(2, 2), (nn.Linear,))
    assert not does_just(Adapted(2, 2), (nn.Linear,)) and not does_just(nn.ReLU(), (nn.Linear,))


def test_a_difference_is_raised_and_named():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    dag, masks = trace(net, torch.zeros(1, 4)), {"0.weight": torch.ones(3, 4).bool()}
    masks["0.weight"][0, 0] = False
    with pytest.raises(InputError, match="would not compute what the masked one does"):
        verify_compaction(dag, masks, net)
    verify_compaction(dag, {}, net)
    with pytest.raises(InputError, match="does not run"):
        verify_compaction(dag, {}, nn.Linear(3, 2))


@pytest.mark.parametrize("scale", (1e-30, 1.0, 1e30))
def test_a_difference_is_a_share_of_the_output(scale: float):
    torch.manual_seed(0)
    net = nn.Linear(4, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        net.weight.mul_(scale)
    other = nn.Linear(4, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        other.weight.copy_(net.weight * (1 + 1e-6))
    dag = trace(net, torch.zeros(1, 4, dtype=torch.float64))
    verify_compaction(dag, {}, net)
    with pytest.raises(InputError, match="differ by"):
        verify_compaction(dag, {}, other)


def test_networks_that_draw_and_outputs_that_are_undefined_are_no_difference():
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    class Undefined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) / 0

    for model in (nn.Sequential(nn.Linear(4, 2), Drawing()), Undefined()):
        compact(model, None, torch.zeros(1, 4))
