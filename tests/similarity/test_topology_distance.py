from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from torch import nn

import topo
from topo.dag.channel_coupling import coupled_channels
from topo.errors import InputError
from topo.masks import Masks
from topo.similarity.permutable_units import PermutableUnits
from topo.similarity.topology_distance import edit_distances, nnstd, nnstd_matrix


def chain(generator, widths, density=0.4):
    return Masks({f"l{i}": generator.random((b, a)) < density for i, (a, b) in enumerate(pairwise(widths))})


def jaccard(a, b):
    a, b = set(np.flatnonzero(a)), set(np.flatnonzero(b))
    return len(a ^ b) / len(a | b) if a | b else 0.0


class Residual(nn.Module):
    """A stem, a block that adds to it, a depthwise layer, a strided block with a shortcut, a flattened head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 5, 3, padding=1)
        self.inner = nn.Conv2d(5, 4, 3, padding=1)
        self.outer = nn.Conv2d(4, 5, 3, padding=1)
        self.depthwise = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.down = nn.Conv2d(5, 6, 3, stride=2, padding=1)
        self.shortcut = nn.Conv2d(5, 6, 1, stride=2)
        self.hidden = nn.Linear(24, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (x + self.outer(self.inner(x).relu())).relu()
        x = self.depthwise(x).relu()
        x = (self.down(x) + self.shortcut(x)).relu().flatten(1)
        return self.head(self.hidden(x).relu())


# For every weight the streams that its rows and its columns belong to.
STREAMS = {"stem": "s-", "inner": "is", "outer": "si", "depthwise": "s-", "down": "ts", "shortcut": "ts",
           "hidden": "ht", "head": "-h"}  # fmt: skip


def residual(seed, density=0.4):
    torch.manual_seed(seed)
    model = Residual()
    masks = Masks({n: torch.rand(p.shape) < density for n, p in topo.masks.prunable_parameters(model).items()})
    return model, masks


def residual_units(model, masks):
    return PermutableUnits.of_channels(coupled_channels(topo.trace(model, torch.zeros(1, 2, 4, 4))), masks)


def moved(masks, generator):
    """The same network with the channels of every stream in another order."""
    order = {s: generator.permutation(n) for s, n in {"s": 5, "i": 4, "t": 6, "h": 7}.items()}
    reordered = {}
    for layer, (rows, columns) in STREAMS.items():
        mask = masks[f"{layer}.weight"].numpy()
        mask = mask if rows == "-" else mask[order[rows]]
        if columns != "-":
            where = order[columns] if layer != "hidden" else (order["t"][:, None] * 4 + np.arange(4)).reshape(-1)
            mask = mask[:, where]
        reordered[f"{layer}.weight"] = mask
    return Masks(reordered)


def test_against_a_distance_computed_by_hand():
    first = Masks({"a": [[1, 1, 0, 0], [0, 0, 1, 1]], "b": [[1, 0], [1, 1]]})
    second = Masks({"a": [[0, 0, 1, 0], [1, 1, 0, 0]], "b": [[0, 1], [0, 1]]})
    # Units cross: distances 0 and |{3}| / |{2, 3}| = 1/2. Then b of the second reads [[1, 0], [1, 0]].
    distance = nnstd(first, second)
    assert distance.match.tolist() == [1, 0]
    assert distance.layers == {"a": 0.25, "b": 0.25}
    assert distance.distance == 0.25


def test_edit_distances_against_their_definition():
    generator = np.random.default_rng(0)
    a, b = (generator.random((n, 9)) < 0.3 for n in (7, 5))
    a[2], b[3] = False, False
    expected = [[jaccard(x, y) for y in b] for x in a]
    np.testing.assert_allclose(edit_distances(a, b), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_one_layer_is_the_best_of_all_permutations(seed):
    generator = np.random.default_rng(seed)
    # The second layer is full: only the first one tells the hidden units apart.
    first, second = (Masks({"a": generator.random((5, 6)) < 0.4, "b": np.ones((2, 5))}) for _ in range(2))
    a, b = first["a"].numpy(), second["a"].numpy()
    best = min(np.mean([jaccard(a[i], b[p[i]]) for i in range(5)]) for p in permutations(range(5)))
    assert nnstd(first, second).layers["a"] == pytest.approx(best)


@pytest.mark.parametrize("seed", range(20))
def test_two_layers_lie_between_the_best_matching_and_the_published_one(seed):
    generator = np.random.default_rng(seed)
    first, second = (chain(generator, (4, 5, 3)) for _ in range(2))
    (a, c), (b, d) = ([m.numpy() for m in masks.values()] for masks in (first, second))

    def total(p):
        p = list(p)
        return np.mean([np.mean([jaccard(x, y) for x, y in zip(*pair)]) for pair in ((a, b[p]), (c, d[:, p]))])

    totals = [total(p) for p in permutations(range(5))]
    distance, published = nnstd(first, second), nnstd(first, second, rounds=0)
    assert min(totals) - 1e-9 <= distance.distance <= published.distance + 1e-9 <= max(totals) + 2e-9
    assert distance.distance == pytest.approx(total(distance.match))


def test_matching_again_comes_closer_to_the_best():
    generator = np.random.default_rng(0)
    pairs = [(chain(generator, (3, 5, 4, 3)), chain(generator, (3, 5, 4, 3))) for _ in range(30)]
    again = np.array([nnstd(*p).distance for p in pairs])
    published = np.array([nnstd(*p, rounds=0).distance for p in pairs])
    assert (again <= published + 1e-9).all() and again.mean() < published.mean() - 0.01


@pytest.mark.parametrize("seed", range(5))
def test_a_permuted_copy_is_the_same_network(seed):
    generator = np.random.default_rng(seed)
    first = chain(generator, (20, 12, 9, 5))
    p, q = generator.permutation(12), generator.permutation(9)
    a, b, c = (m.numpy() for m in first.values())
    second = Masks({"l0": a[p], "l1": b[q][:, p], "l2": c[:, q]})
    distance = nnstd(first, second)
    assert distance.distance == 0
    assert distance.match.tolist() == [*np.argsort(p), *(12 + np.argsort(q))]


@pytest.mark.parametrize("seed", range(5))
def test_a_permuted_copy_with_skip_connections(seed):
    model, masks = residual(seed)
    permutable = residual_units(model, masks)
    assert sorted(len(g) for g in permutable.groups) == [4, 5, 6, 7]
    copy = moved(masks, np.random.default_rng(seed))
    assert copy != masks
    assert nnstd(masks, copy, permutable).distance == 0
    assert nnstd(masks, residual(seed + 100)[1], permutable).distance > 0.3


def test_units_that_read_the_same_are_told_apart_by_what_reads_them():
    same = np.ones((4, 3), dtype=bool)
    second = np.eye(4, dtype=bool)
    first = Masks({"a": same, "b": second})
    assert nnstd(first, Masks({"a": same, "b": second[:, [2, 3, 1, 0]]})).distance == 0
    assert nnstd(first, Masks({"a": same, "b": second[:, [2, 3, 1, 0]]}), rounds=0).distance == 1 / 2


def test_bounds_symmetry_and_the_diagonal():
    generator = np.random.default_rng(3)
    networks = [residual(seed, density)[1] for seed, density in enumerate((0.02, 0.1, 0.5, 0.9, 1.0))]
    permutable = residual_units(residual(0)[0], networks[0])
    distances = nnstd_matrix(networks, permutable)
    assert ((distances >= 0) & (distances <= 1)).all() and (np.diag(distances) == 0).all()
    np.testing.assert_array_equal(distances, distances.T)
    assert distances[3, 4] < distances[2, 4] < distances[1, 4] < distances[0, 4]
    i, j = generator.permutation(5)[:2]
    assert nnstd(networks[i], networks[j], permutable).distance == distances[j, i]
    assert nnstd(networks[j], networks[i], permutable).distance == distances[j, i]


def test_disjoint_masks_have_distance_one_and_empty_masks_zero():
    empty, left = np.zeros((2, 4)), np.array([[1, 1, 0, 0]] * 2)
    assert nnstd(Masks({"a": left}), Masks({"a": 1 - left})).distance == 1
    assert nnstd(Masks({"a": left}), Masks({"a": empty})).distance == 1
    assert nnstd(Masks({"a": empty}), Masks({"a": empty})).distance == 0


def test_a_close_copy_is_closer_than_chance():
    generator = np.random.default_rng(0)
    first = chain(generator, (20, 12, 9, 5))
    near = {}
    for name, mask in first.items():
        mask = mask.numpy().copy()
        mask.flat[generator.integers(mask.size, size=3)] ^= True
        near[name] = mask
    apart = nnstd(first, first.random_like(0)).distance
    assert 0 < nnstd(first, Masks(near)).distance < 0.5 * apart


def test_networks_of_different_shapes_are_refused():
    first = Masks({"a": np.ones((3, 4)), "b": np.ones((2, 5))})
    with pytest.raises(InputError, match="no chain: 'b' reads 5 inputs and 3 are written"):
        nnstd(first, first)
    permutable = PermutableUnits.of_chain(Masks({"a": np.ones((3, 4)), "b": np.ones((2, 3))}))
    with pytest.raises(InputError, match="'b' has a mask of shape"):
        nnstd(first, first, permutable)
    with pytest.raises(InputError, match="'b' has no mask"):
        nnstd(Masks({"a": np.ones((3, 4))}), first, permutable)
