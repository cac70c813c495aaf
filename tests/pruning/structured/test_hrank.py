from __future__ import annotations

import pytest
import torch
from torch import nn

import topo.pruning


def shares(maps: torch.Tensor) -> torch.Tensor:
    """Mean rank of maps (samples, channels, height, width) as a share of the full one, by counting singular values."""
    values = torch.linalg.svdvals(maps)
    ranks = (values > values.amax(-1, keepdim=True).clamp(min=1e-30) * 1e-10).sum(-1).double()
    return ranks.mean(0) / min(maps.shape[-2:])


def test_ranks_of_maps_behind_norm_addition_and_activation(exact, images):
    scores = topo.pruning.score(exact, "hrank", data=images)
    with torch.no_grad():
        x = torch.relu(exact.stem_norm(exact.stem(images[0])))
        inner = torch.relu(exact.norm1(exact.conv1(x)))
        stream = torch.relu(x + exact.norm2(exact.conv2(inner)))
        wide = torch.relu(exact.wide(stream))
        deep = torch.relu(exact.depthwise(wide))
        hidden = torch.relu(exact.hidden(deep.mean((2, 3))))
    torch.testing.assert_close(scores["conv1.weight"][:, 0, 0, 0], shares(inner))
    torch.testing.assert_close(scores["stem.weight"][:, 0, 0, 0], (shares(x) + shares(stream)) / 2)
    torch.testing.assert_close(scores["wide.weight"][:, 0, 0, 0], (shares(wide) + shares(deep)) / 2)
    torch.testing.assert_close(scores["hidden.weight"][:, 0], (hidden > 0).double().mean(0))
    assert scores["hidden.weight"].unique().numel() > 2


def test_a_map_built_to_be_of_rank_two_has_rank_two(images):
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(192, 10)).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    u, s, v = torch.linalg.svd(images[0])
    flat = (u[..., :2] * s[..., None, :2]) @ v[..., :2, :]
    scores = topo.pruning.score(net, "hrank", data=(flat, images[1]))["0.weight"]
    torch.testing.assert_close(scores, torch.full_like(scores, 2 / 8))


def test_a_dead_filter_has_rank_zero_and_goes_first(exact, images):
    with torch.no_grad():
        exact.norm1.weight[4] = 0.0
        exact.norm1.bias[4] = -1.0
    scores = topo.pruning.score(exact, "hrank", data=images)["conv1.weight"][:, 0, 0, 0]
    assert scores[4] == 0 < scores[[0, 1, 2, 3, 5]].min()
    masks = topo.prune(exact, "hrank", sparsity=0.05, data=images, include="conv1.weight")
    assert masks["conv1.weight"].flatten(1).any(dim=1).tolist() == [True, True, True, True, False, True]


def test_ranks_do_not_depend_on_scale_or_batch_size(exact, images):
    before = topo.pruning.score(exact, "hrank", data=images)
    with torch.no_grad():
        exact.norm1.weight *= 3
        exact.norm1.bias *= 3
        exact.conv2.weight /= 3
    after = topo.pruning.score(exact, "hrank", data=images, batch_size=7)
    assert all(torch.allclose(after[name], before[name]) for name in before)


def test_fewer_samples_are_fewer_images(exact, images):
    few, all_of_them = (topo.pruning.score(exact, "hrank", data=images, samples=n)["hidden.weight"] for n in (10, 20))
    assert torch.equal(few * 10, (few * 10).round())
    assert torch.equal(all_of_them * 20, (all_of_them * 20).round())
    assert not torch.equal(few, all_of_them)


@pytest.mark.slow
def test_sequences_have_columns_as_maps():
    from tests.zoo import small

    net, (tokens,) = small("attention")
    scores = topo.pruning.score(net, "hrank", data=(tokens, torch.tensor([0, 1, 2])))
    assert torch.equal(scores["mlp.1.weight"], torch.ones(8, 4, dtype=torch.float64))
