from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo.pruning
from topo.errors import InputError
from topo.pruning.trained import sparsegpt
from topo.torchvision_import import import_torchvision


def problem(rows: int, columns: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights, H and the factor U of its inverse."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(3 * columns, columns, generator=generator, dtype=torch.float64)
    weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    hessian = inputs.T @ inputs
    return weight, hessian, torch.linalg.cholesky(hessian.inverse(), upper=True)


def prune_columns(weight, upper, kept, block):
    return sparsegpt.prune_columns(weight, upper, sparsegpt.in_blocks(weight.bool() | True, kept, block)[1])


def test_the_factor_is_the_cholesky_factor_of_the_inverse():
    _, hessian, upper = problem(1, 9)
    torch.testing.assert_close(sparsegpt.inverse_factor("w", hessian[None]), upper[None])


def by_columns(weight, hessian, kept, block, pattern=None):
    """Column by column with the explicit inverse of what is left of H."""
    weight, (rows, columns) = weight.clone(), weight.shape
    mask = torch.ones_like(weight, dtype=torch.bool)
    left = [hessian[j:, j:].inverse() for j in range(columns)]
    for j in range(columns):
        if j % block == 0:
            stop = min(j + block, columns)
            scores = torch.stack([weight[:, i] ** 2 / left[i][0, 0] for i in range(j, stop)], 1)
            if pattern:
                order = scores.argsort(1, descending=True)
                for r in range(rows):
                    mask[r, j + order[r, pattern:]] = False
            else:
                count = kept * stop // columns - kept * j // columns
                smallest = scores.flatten().argsort()[: scores.numel() - count]
                for index in smallest.tolist():
                    mask[index // (stop - j), j + index % (stop - j)] = False
        for r in range(rows):
            if not mask[r, j]:
                weight[r, j:] -= weight[r, j] / left[j][0, 0] * left[j][0]
    return mask, weight * mask


@pytest.mark.parametrize("block", [1, 3, 8, 100])
@pytest.mark.parametrize("kept", [7, 20, 39])
def test_it_is_the_update_column_by_column(block, kept):
    weight, hessian, upper = problem(5, 8)
    mask, adjusted = prune_columns(weight[None], upper[None], kept, block)
    expected = by_columns(weight, hessian, kept, block)
    assert int(mask.sum()) == kept
    assert torch.equal(mask[0], expected[0])
    torch.testing.assert_close((adjusted * mask)[0], expected[1])


def test_groups_are_chosen_together_and_compensated_each_by_its_own():
    parts = [problem(3, 6, seed) for seed in (0, 1)]
    weight, _, upper = (torch.stack(part) for part in zip(*parts))
    mask, adjusted = prune_columns(weight, upper, 15, 6)
    assert int(mask.sum()) == 15
    scores = (weight / upper.diagonal(dim1=1, dim2=2)[:, None]) ** 2
    assert scores[mask].min() > scores[~mask].max()
    for group in range(2):
        again, alone = prune_columns(weight[group, None], upper[group, None], int(mask[group].sum()), 6)
        assert torch.equal(again[0], mask[group])
        torch.testing.assert_close(alone[0], adjusted[group])


@pytest.mark.parametrize("seed", range(5))
def test_one_removal_is_the_best_fit_by_the_columns_to_the_right(seed):
    weight, hessian, upper = problem(1, 6, seed)
    mask, adjusted = prune_columns(weight[None], upper[None], 5, 6)
    root = torch.linalg.cholesky(hessian).T
    fits = []
    for j in range(6):
        # The columns before j stay; those behind it stand in for column j.
        change = torch.zeros(6, dtype=torch.float64)
        change[j] = -weight[0, j]
        if j < 5:
            change[j + 1 :] = torch.linalg.lstsq(root[:, j + 1 :], root[:, j] * weight[0, j]).solution
        fits.append(((change @ hessian @ change).item(), weight[0] + change))
    best = min(range(6), key=lambda j: fits[j][0])
    assert (~mask).nonzero().tolist() == [[0, 0, best]]
    torch.testing.assert_close((adjusted * mask)[0, 0], fits[best][1] * mask[0, 0])


def test_the_whole_algorithm_on_a_layer(layer):
    model, data = layer
    gram = data[0].T @ data[0]
    hessian = gram + 0.01 * gram.diagonal().mean() * torch.eye(7, dtype=torch.float64)
    masks = topo.prune(model, "sparsegpt", sparsity=0.6, data=data, block=3)
    mask, weight = by_columns(model.weight.detach(), hessian, 14, 3)
    assert torch.equal(masks["weight"], mask)
    torch.testing.assert_close(masks.state["weight"], weight)


def test_convolutions_by_their_unfolded_inputs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = nn.Conv2d(2, 4, 3, stride=2, padding=1).double()
        inputs = torch.randn(6, 2, 8, 8, dtype=torch.float64).cumsum(-1)
    unfolded = nn.functional.unfold(inputs, 3, padding=1, stride=2).transpose(1, 2).reshape(-1, 18)
    linear = nn.Linear(18, 4).double()
    linear.weight.data, linear.bias.data = conv.weight.data.flatten(1), conv.bias.data
    a = topo.prune(conv, "sparsegpt", sparsity=0.5, data=(inputs, torch.zeros(6, 3)))
    b = topo.prune(linear, "sparsegpt", sparsity=0.5, data=(unfolded, torch.zeros(96, 3)), samples=96)
    assert torch.equal(a["weight"].flatten(1), b["weight"])
    torch.testing.assert_close(a.state["weight"].flatten(1), b.state["weight"])


def test_patterns_column_by_column():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, inputs = nn.Linear(8, 5).double(), torch.randn(40, 8, dtype=torch.float64)
    masks = topo.prune(model, "sparsegpt", sparsity=0.5, data=(inputs, torch.zeros(40, 5)), pattern="2:4", damping=0.0)
    assert (masks["weight"].unflatten(-1, (-1, 4)).sum(-1) == 2).all()
    mask, weight = by_columns(model.weight.detach(), inputs.T @ inputs, 20, 4, pattern=2)
    assert torch.equal(masks["weight"], mask)
    torch.testing.assert_close(masks.state["weight"], weight)


def test_patterns_of_convolutions_run_over_the_channels_at_each_place_of_the_kernel():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(6, 8, 3, groups=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten())
        net.append(nn.Linear(8, 5))
        data = (torch.randn(20, 6, 5, 5), torch.arange(20) % 4)
    masks = topo.prune(net, "sparsegpt", sparsity=0.75, data=data, pattern="1:4")
    assert masks.counts()["kept"].sum() == round(0.25 * masks.counts()["total"].sum())
    assert masks.counts()["kept"].tolist() == [108, 72, 10]
    assert (masks["2.weight"].sum(1) == 1).all() and (masks["0.weight"][:, :4].sum(1) == 1).all()
    assert (masks["4.weight"].unflatten(1, (2, 4)).sum(-1) == 1).all()
    assert int(masks["0.weight"][:, 4:].sum()) == 36
    # Columns in another order are another order of settling them; with one place it is the same.
    flat = nn.Linear(8, 4)
    point = nn.Conv2d(8, 4, 1)
    point.weight.data, point.bias.data = flat.weight.data[:, :, None, None], flat.bias.data
    inputs = torch.randn(30, 8)
    a = topo.prune(flat, "sparsegpt", sparsity=0.5, data=(inputs, torch.zeros(30, 4)), pattern="2:4")
    b = topo.prune(point, "sparsegpt", sparsity=0.5, data=(inputs[..., None, None], torch.zeros(30, 4)), pattern="2:4")
    assert torch.equal(a["weight"], b["weight"][:, :, 0, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pattern": "2:4", "sparsity": 0.6}, "'2:4' keeps 2 of every 4 weights.*give sparsity"),
        ({"pattern": "4:2"}, "'4:2' must keep between 1 and M"),
        ({"pattern": "0:4"}, "'0:4' must keep between 1 and M"),
        ({"pattern": "row"}, 'pattern must be "n:m"'),
        ({"pattern": 2}, "unknown allocation"),
        ({"block": 0}, "block must be a whole number"),
    ],
)
def test_bad_settings(settings, message, layer):
    with pytest.raises(InputError, match=message):
        topo.prune(layer[0], "sparsegpt", data=layer[1], **({"sparsity": 0.5} | settings))


@pytest.mark.parametrize("name", ["sparsegpt", "obs"])
def test_vision_transformers_with_functional_attention(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = (
            import_torchvision()
            .models.VisionTransformer(
                image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=3
            )
            .eval()
        )
        nn.init.normal_(vit.heads.head.weight)
        data = torch.randn(64, 3, 8, 8), torch.arange(64) % 3
    masks = topo.prune(vit, name, sparsity=0.4, data=data)
    assert masks.counts()["kept"].sum() == round(0.6 * masks.counts()["total"].sum())
    losses = []
    for sparse in (masks, topo.prune(vit, "magnitude-layerwise", sparsity=0.4, example=(3, 8, 8))):
        pruned = sparse.install(copy.deepcopy(vit))
        losses.append((pruned(data[0]) - vit(data[0])).square().mean().item())
    assert losses[0] < 0.8 * losses[1]
