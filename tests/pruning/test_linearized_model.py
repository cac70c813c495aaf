from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from topo.pruning.linearized_model import LinearizedOperations, linearize_parameters


class Gated(nn.Module):
    """Squeeze and excitation, a layer scale, functional norms and activations."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.scale = nn.Parameter(torch.full((4, 1, 1), 0.5))
        self.norm = nn.InstanceNorm2d(4, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.norm(self.conv(x)))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return F.layer_norm(x * self.scale, x.shape[1:]).tanh()


class Attention(nn.Module):
    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.qkv, self.proj = kind, nn.Linear(6, 18), nn.Linear(6, 6)
        self.module = nn.MultiheadAttention(6, 2, batch_first=True)
        self.module.in_proj_weight, self.module.out_proj.weight = self.qkv.weight, self.proj.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "module":
            return self.module(x, x, x)[0]
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        if self.kind == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.softmax(q @ k.transpose(-2, -1) * 3**-0.5, -1) @ v
        return self.proj(mixed.transpose(1, 2).flatten(2))


def positive(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    linearize_parameters(net)
    return net


@pytest.mark.parametrize(
    "make", [Gated, lambda: nn.LocalResponseNorm(2), lambda: nn.BatchNorm2d(2, track_running_stats=False)]
)
def test_the_network_is_linear_and_positive(make):
    torch.manual_seed(0)
    net = positive(make())
    x, y = torch.rand(2, 1, 2, 5, 5, dtype=torch.float64).requires_grad_()
    with LinearizedOperations():
        torch.testing.assert_close(net(2 * x + 3 * y), 2 * net(x) + 3 * net(y))
        assert (net(x) >= 0).all()


@pytest.mark.parametrize("kind", ["module", "fused", "written"])
def test_attention_is_one_mean_however_it_is_written(kind):
    torch.manual_seed(0)
    net = positive(Attention(kind))
    x = torch.rand(2, 5, 6, dtype=torch.float64, requires_grad=True)
    q, k, v = (x @ w.T for w in net.qkv.weight.view(3, 6, 6))
    q, k, v = (t.unflatten(-1, (2, 3)) for t in (q, k, v))  # batch, token, head, feature
    scale = 3**-0.5 if kind == "written" else 1.0
    mixed = v.mean(1, keepdim=True) + scale * (q.mean(-1, keepdim=True) + k.mean((1, 3), keepdim=True))
    with LinearizedOperations():
        out = net(x)
    torch.testing.assert_close(out, mixed.flatten(2) @ net.proj.weight.T)


def test_attention_with_separate_projections():
    torch.manual_seed(0)
    net = positive(nn.MultiheadAttention(4, 2, kdim=3, vdim=5))
    query, key, value = (torch.rand(7 if n == 4 else 6, 2, n, dtype=torch.float64) for n in (4, 3, 5))
    with LinearizedOperations():
        out = net(query, key, value)[0]
        torch.testing.assert_close(net(2 * query, 2 * key, 2 * value)[0], 2 * out)
    assert out.shape == (7, 2, 4)


def test_batch_norm_keeps_its_scale():
    net = nn.BatchNorm2d(3)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([1.0, -2.0, 3.0]))
        net.bias.fill_(5.0)
        net.running_mean.fill_(9.0)
        net.running_var.fill_(4.0)
    net = positive(net)
    with LinearizedOperations():
        out = net(torch.ones(1, 3, 1, 1, dtype=torch.float64)).flatten()
    torch.testing.assert_close(out, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) / (4 + 1e-5) ** 0.5)


def test_outside_the_context_functions_are_themselves():
    assert torch.sigmoid(torch.tensor(0.0)) == 0.5
    with LinearizedOperations():
        pass
    assert F.relu6(torch.tensor(9.0)) == 6


def test_products_of_activations_are_sums_and_those_with_weights_are_products():
    x = torch.rand(3, 3, requires_grad=True)
    weight = nn.Parameter(torch.rand(3, 3))
    with LinearizedOperations():
        hidden = x + 1
        results = [
            torch.einsum("ij,kj->ik", hidden, x + 2),
            hidden * (x + 2),
            hidden @ weight.T,
            hidden * (weight * 2).sum(0),
            hidden * 3,
            torch.relu(hidden - 9),
        ]
    row = x.mean(1)
    expected = [row[:, None] + row + 3, 2 * x + 3, (x + 1) @ weight.T, (x + 1) * 2 * weight.sum(0), 3 * x + 3, x - 8]
    for result, value in zip(results, expected):
        torch.testing.assert_close(result, value)
