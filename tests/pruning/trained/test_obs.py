from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo.pruning
import topo.pruning.trained.obs as module
from topo.errors import InputError
from topo.pruning.trained.obs import inverse_diagonal, optimum, surgeon


def problem(rows: int, columns: int, groups: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(groups, 3 * columns, columns, generator=generator, dtype=torch.float64)
    weight = torch.randn(groups, rows, columns, generator=generator, dtype=torch.float64)
    return weight, inputs.mT @ inputs


def error(change: torch.Tensor, hessian: torch.Tensor) -> torch.Tensor:
    """The squared error of the outputs of each row."""
    return (change @ hessian * change).sum(-1)


def test_two_weights_by_hand():
    # H^-1 = [[2, -1], [-1, 2]] / 3, so that both errors are 3/4 w^2, and removing one adds half of it to the other.
    hessian = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]], dtype=torch.float64)
    weight = torch.tensor([[[1.0, 0.5]]], dtype=torch.float64)
    torch.testing.assert_close(
        inverse_diagonal("w", hessian, torch.ones_like(weight, dtype=torch.bool)), torch.full_like(weight, 2 / 3)
    )
    mask, adjusted = surgeon("w", weight, hessian, 1, 1)
    assert mask.tolist() == [[[True, False]]]
    torch.testing.assert_close(adjusted, torch.tensor([[[1.25, 0.0]]], dtype=torch.float64))
    # [H^-1]_qq w^2 alone would say otherwise here: an input that is small, and one that the other can stand in for.
    hessian = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 4.0, 3.9], [0.0, 3.9, 4.0]]], dtype=torch.float64)
    mask, adjusted = surgeon("w", torch.ones(1, 1, 3, dtype=torch.float64), hessian, 2, 1)
    assert mask.tolist() == [[[True, False, True]]]
    torch.testing.assert_close(adjusted, torch.tensor([[[1.0, 0.0, 1.975]]], dtype=torch.float64))


def test_one_removal_is_the_best_of_all_least_squares_fits(layer):
    model, data = layer
    masks = topo.prune(model, "obs", sparsity=1 / 35, data=data, damping=0.0)
    weight, inputs = model.weight.detach(), data[0]
    fits = {}
    for row in range(5):
        for column in range(7):
            rest = [j for j in range(7) if j != column]
            fit = torch.linalg.lstsq(inputs[:, rest], inputs @ weight[row])
            loss = (inputs[:, rest] @ fit.solution - inputs @ weight[row]).square().sum()
            fits[row, column] = (loss.item(), rest, fit.solution)
    (row, column), (_, rest, solution) = min(fits.items(), key=lambda item: item[1][0])
    assert (~masks["weight"]).nonzero().tolist() == [[row, column]]
    expected = weight.clone()
    expected[row, rest], expected[row, column] = solution, 0.0
    torch.testing.assert_close(masks.state["weight"], expected)
    torch.testing.assert_close(masks.state["bias"], model.bias.detach())


@pytest.mark.parametrize("chunk", [2**24, 30, 1])
def test_what_stays_is_the_least_squares_optimum(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    weight, hessian = problem(6, 5, groups=3)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[0, 0], mask[1, 2] = False, True
    solution = optimum("w", weight, hessian, mask)
    diagonal = inverse_diagonal("w", hessian, mask)
    for g in range(3):
        root = torch.linalg.cholesky(hessian[g]).mT
        for r in range(6):
            kept = mask[g, r]
            expected = torch.zeros(5, dtype=torch.float64)
            if kept.any():
                expected[kept] = torch.linalg.lstsq(root[:, kept], root @ weight[g, r]).solution
                inverse = hessian[g][kept][:, kept].inverse().diagonal()
                torch.testing.assert_close(diagonal[g, r][kept], inverse)
            torch.testing.assert_close(solution[g, r], expected)


def test_many_rounds_are_hassibis_updates_one_by_one():
    weight, hessian = problem(4, 5)
    mask, adjusted = surgeon("w", weight, hessian, 6, rounds=200)
    values = weight[0].clone()
    inverses = hessian.inverse().repeat(4, 1, 1)
    alive = torch.ones(4, 5, dtype=torch.bool)
    for _ in range(14):
        scores = (values**2 / (2 * inverses.diagonal(dim1=1, dim2=2))).masked_fill(~alive, torch.inf)
        row, q = divmod(int(scores.argmin()), 5)
        inverse = inverses[row]
        values[row] -= values[row, q] / inverse[q, q] * inverse[:, q]
        inverses[row] = inverse - torch.outer(inverse[:, q], inverse[q]) / inverse[q, q]
        alive[row, q] = False
    assert torch.equal(mask[0], alive)
    torch.testing.assert_close(adjusted[0], values * alive)


@pytest.mark.parametrize("rounds", [1, 4])
@pytest.mark.parametrize("name", ["obs", "sparsegpt"])
def test_outputs_are_closer_than_by_magnitude(name, rounds, layer):
    model, data = layer
    before = model(data[0])
    losses = {}
    for pruner, settings in {
        name: {"data": data} | ({"rounds": rounds} if name == "obs" else {}),
        "magnitude": {"rounds": rounds},
    }.items():
        pruned = copy.deepcopy(model)
        topo.prune(model, pruner, sparsity=0.5, **settings).install(pruned)
        losses[pruner] = (pruned(data[0]) - before).square().sum().item()
    assert losses[name] < 0.5 * losses["magnitude"]


def test_rounds_do_no_worse(layer):
    model, data = layer
    losses = []
    for rounds in (1, 50):
        pruned = copy.deepcopy(model)
        topo.prune(model, "obs", sparsity=0.6, data=data, rounds=rounds, damping=1e-9).install(pruned)
        losses.append((pruned(data[0]) - model(data[0])).square().sum().item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize("name", ["obs", "sparsegpt"])
@pytest.mark.parametrize("sequential", [True, False])
def test_every_kind_of_layer_is_pruned_to_the_count(name, sequential, awkward, images):
    masks = topo.prune(awkward, name, sparsity=0.7, data=images, sequential=sequential)
    table = masks.counts()
    assert table["kept"].sum() == round(0.3 * table["total"].sum())
    assert ((table["kept"] - 0.3 * table["total"]).abs() < 1).all()
    for key, mask in masks.items():
        assert torch.equal(masks.state[key] != 0, mask)
    others = {key: value for key, value in awkward.state_dict().items() if key not in masks}
    assert all(torch.equal(masks.state[key], value) for key, value in others.items())
    erk = topo.prune(awkward, name, sparsity=0.7, data=images, allocation="erk").counts()
    assert erk["kept"].tolist() == topo.prune(awkward, "erk", sparsity=0.7).counts()["kept"].tolist()


@pytest.mark.parametrize("name", ["obs", "sparsegpt"])
def test_later_layers_make_up_for_earlier_ones_only_in_sequence(name, layer):
    _, (inputs, targets) = layer
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    weights = {
        sequential: topo.prune(net, name, sparsity=0.5, data=(inputs, targets), sequential=sequential).state
        for sequential in (True, False)
    }
    assert torch.equal(weights[True]["0.weight"], weights[False]["0.weight"])
    assert not torch.equal(weights[True]["2.weight"], weights[False]["2.weight"])
    # What the second layer has in sequence is what it gets by itself behind the pruned first one.
    net[0].weight.data = weights[True]["0.weight"]
    alone = topo.prune(net, name, sparsity=15 / 30, data=(inputs, targets), include="2.*")
    torch.testing.assert_close(alone.state["2.weight"], weights[True]["2.weight"])


@pytest.mark.parametrize("name", ["obs", "sparsegpt"])
def test_scale_and_order_of_the_rows_do_not_matter(name, layer):
    model, (inputs, targets) = layer
    masks = topo.prune(model, name, sparsity=0.5, data=(inputs, targets))
    other = copy.deepcopy(model)
    other.weight.data = -4.0 * model.weight.data[[3, 1, 4, 0, 2]]
    changed = topo.prune(other, name, sparsity=0.5, data=(8.0 * inputs, targets), seed=9)
    assert torch.equal(changed["weight"], masks["weight"][[3, 1, 4, 0, 2]])
    torch.testing.assert_close(changed.state["weight"], -4.0 * masks.state["weight"][[3, 1, 4, 0, 2]])


@pytest.mark.parametrize("name", ["obs", "sparsegpt"])
def test_inputs_that_are_always_zero(name, layer):
    model, (inputs, targets) = layer
    largest = topo.prune(model, "magnitude", sparsity=0.5)
    masks = topo.prune(model, name, sparsity=0.5, data=(0 * inputs, targets))
    assert masks == largest
    torch.testing.assert_close(masks.state["weight"], model.weight.detach() * largest["weight"])
    some = inputs.clone()
    some[:, 2] = 0.0
    masks = topo.prune(model, name, sparsity=0.2, data=(some, targets))
    assert not masks["weight"][:, 2].any()
    # Two go, and the three others that nothing enters are kept as they are.
    masks = topo.prune(model, name, sparsity=2 / 35, data=(some, targets))
    assert int(masks["weight"][:, 2].sum()) == 3
    torch.testing.assert_close(masks.state["weight"], model.weight.detach() * masks["weight"])


@pytest.mark.parametrize("name", ["obs", "sparsegpt"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": -1}, "damping must be a number of at least 0"),
        ({"damping": True}, "damping must be"),
        ({"samples": 0}, "samples must be a whole number"),
        ({"allocation": "global"}, "unknown value of allocation 'global'"),
        ({"damping": 0.0, "samples": 5}, "the samples do not span its columns.*raise damping"),
        ({"include": "bias"}, "multiplies its inputs by bias"),
    ],
)
def test_bad_settings(name, settings, message, layer):
    with pytest.raises(InputError, match=message):
        topo.prune(layer[0], name, sparsity=0.5, data=layer[1], **settings)


@pytest.mark.parametrize("name", ["obs", "sparsegpt"])
def test_data_that_are_not_numbers(name, layer):
    model, (inputs, targets) = layer
    with pytest.raises(InputError, match="the inputs of weight are not all finite"):
        topo.prune(model, name, sparsity=0.5, data=(inputs * torch.nan, targets))
    with pytest.raises(InputError, match="needs data"):
        topo.prune(model, name, sparsity=0.5)


def test_rounds_must_be_a_count(layer):
    with pytest.raises(InputError, match="rounds must be a whole number"):
        topo.prune(layer[0], "obs", sparsity=0.5, data=layer[1], rounds=0)
