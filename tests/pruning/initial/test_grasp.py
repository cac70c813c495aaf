from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import topo.pruning
from topo.errors import InputError
from topo.masks import prunable_parameters

T = 2.0


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def loss_of_flat(net: nn.Module, data, temperature: float = T):
    """The loss as a function of all prunable weights in one vector, and the vector."""
    weights = {name: p.detach() for name, p in prunable_parameters(net).items()}
    net = copy.deepcopy(net).train()
    for module in net.modules():
        if hasattr(module, "track_running_stats"):
            module.track_running_stats = False
            module.running_mean = module.running_var = None

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([w.numel() for w in weights.values()])
        named = {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts)}
        return nn.functional.cross_entropy(functional_call(net, named, data[0]) / temperature, data[1])

    return loss, flat(weights)


def test_against_the_explicit_hessian(smooth, digits):
    loss, theta = loss_of_flat(smooth, digits)
    hessian = torch.autograd.functional.hessian(loss, theta)
    gradient = torch.autograd.functional.jacobian(loss, theta)
    scores = topo.pruning.score(smooth, "grasp", data=digits, temperature=T)
    torch.testing.assert_close(flat(scores), theta * (hessian @ gradient), rtol=1e-8, atol=1e-14)


def test_against_finite_differences_of_the_gradient(smooth, digits):
    loss, theta = loss_of_flat(smooth, digits)
    gradient = torch.autograd.functional.jacobian(loss, theta)
    step = 1e-5
    ahead, behind = (torch.autograd.functional.jacobian(loss, theta + s * step * gradient) for s in (1, -1))
    scores = topo.pruning.score(smooth, "grasp", data=digits, temperature=T)
    torch.testing.assert_close(flat(scores), theta * (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-10)


def test_the_sign_removing_a_low_score_raises_the_gradient_norm(smooth, digits):
    """Shrinking a weight a little changes g^T g by -2 * step * score, so the lowest scores must go first."""
    loss, theta = loss_of_flat(smooth, digits)
    scores = flat(topo.pruning.score(smooth, "grasp", data=digits, temperature=T))
    step = 1e-6

    def norm(vector: torch.Tensor) -> torch.Tensor:
        return torch.autograd.functional.jacobian(loss, vector).square().sum()

    for index in (int(scores.argmin()), int(scores.argmax())):
        delta = torch.zeros_like(theta)
        delta[index] = -step * theta[index]
        change = (norm(theta + delta) - norm(theta - delta)) / 2
        torch.testing.assert_close(change, -2 * step * scores[index], rtol=1e-5, atol=1e-14)
    masks = topo.prune(smooth, "grasp", sparsity=0.5, data=digits, temperature=T)
    assert scores[flat(dict(masks))].min() > scores[~flat(dict(masks))].max()


def test_parts_of_the_samples_add_up_to_the_whole(digits):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    whole, parts = (topo.pruning.score(net, "grasp", data=digits, batch_size=size) for size in (256, 2))
    torch.testing.assert_close(flat(whole), flat(parts), rtol=1e-9, atol=1e-18)


def test_a_linear_model_has_the_closed_form(digits):
    """One layer, two classes: the Hessian of the logistic loss is known."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 3, bias=False)).double()
    x, y = digits[0].flatten(1), nn.functional.one_hot(digits[1]).double()
    weight, count = net[1].weight.detach(), len(x)
    p = (x @ weight.T / T).softmax(1)
    gradient = (p - y).T @ x / (T * count)
    along = x @ gradient.T
    product = (p * along - p * (p * along).sum(1, keepdim=True)).T @ x / (T**2 * count)
    scores = topo.pruning.score(net, "grasp", data=digits, temperature=T)
    torch.testing.assert_close(scores["1.weight"], weight * product)


def test_second_derivatives_pass_through_attention_and_norms(awkward, images):
    scores = topo.pruning.score(awkward, "grasp", data=images)
    assert all(score.any() for score in scores.values())


@pytest.mark.parametrize("temperature", [0, -1, float("inf"), float("nan"), "200"])
def test_temperature_must_be_positive(smooth, digits, temperature):
    with pytest.raises(InputError, match=r"temperature must be a (finite )?number above 0"):
        topo.prune(smooth, "grasp", sparsity=0.5, data=digits, temperature=temperature)


@pytest.mark.parametrize("name", ["samples_per_class", "batch_size"])
def test_counts_must_be_positive(smooth, digits, name):
    with pytest.raises(InputError, match=f"{name} must be a whole number of at least 1"):
        topo.prune(smooth, "grasp", sparsity=0.5, data=digits, **{name: 0})
