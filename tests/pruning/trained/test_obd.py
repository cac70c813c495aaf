from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian
from torch.func import functional_call

import topo.pruning
from topo.errors import InputError


def test_scores_are_finite_differences_of_the_loss_of_every_sample(smooth, digits):
    smooth.eval()
    scores = topo.pruning.score(smooth, "obd", data=digits)
    parameters, step = dict(smooth.named_parameters()), 1e-6

    def losses() -> torch.Tensor:
        with torch.no_grad():
            return nn.functional.cross_entropy(smooth(digits[0]), digits[1], reduction="none")

    for name, scored in scores.items():
        weight = parameters[name].data
        for index in torch.cartesian_prod(*map(torch.arange, weight.shape)).tolist():
            value = weight[tuple(index)].item()
            sides = []
            for sign in (1, -1):
                weight[tuple(index)] = value + sign * step
                sides.append(losses())
            weight[tuple(index)] = value
            slope = (sides[0] - sides[1]) / (2 * step)
            torch.testing.assert_close(scored[tuple(index)].item(), (value**2 * slope.square().mean() / 2).item())


def test_it_is_the_exact_diagonal_of_the_hessian_where_labels_are_distributed_as_the_model_says():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)).double()
        inputs = torch.randn(1, 4, dtype=torch.float64)
    # The last bias is such that the classes have probabilities 1/2, 1/4 and 1/4, as in these labels.
    with torch.no_grad():
        net[4].bias += torch.tensor([0.5, 0.25, 0.25]).double().log() - net(inputs)[0]
    data = (inputs.expand(4, 4), torch.tensor([0, 0, 1, 2]))
    scores = topo.pruning.score(net, "obd", data=data)
    for name, scored in scores.items():
        weight = dict(net.named_parameters())[name].detach()

        def loss(flat: torch.Tensor, name: str = name, weight: torch.Tensor = weight) -> torch.Tensor:
            outputs = functional_call(net, {name: flat.view(weight.shape)}, data[0])
            return nn.functional.cross_entropy(outputs, data[1])

        diagonal = hessian(loss, weight.flatten()).diagonal().view(weight.shape)
        assert diagonal.abs().max() > 1e-3
        torch.testing.assert_close(scored, weight.square() * diagonal / 2)


def test_counts_are_exact_and_weights_into_a_dead_unit_go_first(smooth, digits):
    with torch.no_grad():
        smooth[6].weight[:, 1] = 0.0
    masks = topo.prune(smooth, "obd", sparsity=0.3, data=digits)
    assert masks.counts()["kept"].sum() == round(0.7 * 52)
    assert not masks["4.weight"][1].any() and not masks["6.weight"][:, 1].any()


def test_a_dead_network_is_refused(smooth, digits):
    nn.init.zeros_(smooth[6].weight)
    nn.init.zeros_(smooth[4].weight)
    with pytest.raises(InputError, match="scores every weight zero"):
        topo.prune(smooth, "obd", sparsity=0.5, data=digits)
