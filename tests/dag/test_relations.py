"""Matrix, products and edges of a relation are one and the same map, for every kind of operation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

import topo
from tests.zoo import NAMED, SMALL, small
from topo.dag import coarsen, relation
from topo.dag.structure import structure


def assert_one_map(relation_map: object) -> None:
    """matvec = matrix, rmatvec = its transpose, edges = its entries."""
    matrix = relation_map.matrix()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(relation_map.source_shape, generator=generator, dtype=torch.float64)
    y = torch.rand(relation_map.target_shape, generator=generator, dtype=torch.float64)
    assert np.allclose(relation_map.matvec(x).numpy().ravel(), matrix.T.astype(float) @ x.numpy().ravel(), rtol=1e-5)
    assert np.allclose(relation_map.rmatvec(y).numpy().ravel(), matrix.astype(float) @ y.numpy().ravel(), rtol=1e-5)
    source, target, weight = relation_map.edges()
    assert len(source) == matrix.nnz <= relation_map.edge_count()
    dense = sparse.coo_array((weight, (source, target)), shape=matrix.shape)
    assert (abs(dense - matrix)).max() == 0 and (weight >= 0).all()
    assert matrix.indices.dtype == np.int32 and matrix.data.dtype == np.float32
    total = (relation_map.matvec(x) * y).sum()
    assert torch.allclose(total, (x * relation_map.rmatvec(y)).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_arc_of_small_networks(name: str) -> None:
    model, inputs = small(name)
    for arc in structure(topo.trace(model, inputs)).arcs:
        assert_one_map(arc.relation)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "shufflenet_v2", "mobilenet_v2"])
def test_every_arc_of_published_networks(name: str) -> None:
    model = NAMED[name]()
    masks = topo.prune(model, "uniform", sparsity=0.95, seed=0)
    for arc in structure(topo.trace(model, torch.zeros(1, 3, 32, 32)), masks).arcs:
        assert_one_map(arc.relation)


class Apply(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


LINEAR = {
    "transpose and reshape": (lambda x: x.transpose(1, 2).reshape(x.shape[0], 4, -1), (2, 6, 4)),
    "slice with step": (lambda x: x[:, ::2, 1:-1], (3, 7)),
    "constant padding of another value": (
        lambda x: F.pad(x, (2, 1), value=5.0) - F.pad(x * 0, (2, 1), value=5.0),
        (3, 4),
    ),
    "reflection": (lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"), (2, 4, 5)),
    "replication": (lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate"), (2, 4, 5)),
    "roll and flip": (lambda x: x.roll((1, 2), (1, 2)).flip(1), (3, 4)),
    "index by list": (lambda x: x[:, [2, 0, 2]], (3, 4)),
    "repeat and stack": (lambda x: torch.stack([x, x.repeat(1, 1)], 1), (3,)),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), (8, 2, 3)),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2), (2, 3, 2)),
    "bilinear": (lambda x: F.interpolate(x, size=(5, 7), mode="bilinear"), (2, 3, 4)),
    "bilinear, corners aligned": (
        lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", align_corners=True),
        (1, 3, 4),
    ),
    "mean over axes": (lambda x: x.mean((2, 3)), (3, 2, 4)),
    "sum kept": (lambda x: x.sum(-1, keepdim=True), (3, 4)),
    "mean of everything but samples": (lambda x: x.flatten(1).mean(1), (3, 4)),
    "average pooling": (lambda x: F.avg_pool2d(x, 2, stride=1), (2, 4, 5)),
    "average pooling 1d": (lambda x: F.avg_pool1d(x, 3, stride=2), (2, 9)),
    "adaptive pooling": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), (2, 5, 7)),
    "unfold windows": (lambda x: x.unfold(2, 3, 2), (2, 9)),
    "im2col": (lambda x: F.unfold(x, 2), (2, 3, 4)),
    "convolution 1d": (lambda x: F.conv1d(x, torch.arange(1.0, 13).reshape(3, 2, 2), stride=2, padding=1), (2, 7)),
    "convolution 3d": (lambda x: F.conv3d(x, torch.arange(1.0, 17).reshape(1, 2, 2, 2, 2), padding=1), (2, 3, 4, 3)),
    "padding same": (lambda x: F.conv2d(x, torch.arange(1.0, 9).reshape(1, 1, 2, 4), padding="same"), (1, 4, 5)),
    "transposed with gaps": (
        lambda x: F.conv_transpose2d(x, torch.arange(1.0, 9).reshape(1, 2, 2, 2), stride=3, output_padding=2),
        (1, 2, 3),
    ),
    "transposed 1d": (
        lambda x: F.conv_transpose1d(x, torch.arange(1.0, 13).reshape(2, 2, 3), stride=2, padding=2, dilation=2),
        (2, 5),
    ),
    "constant matrix on the left": (lambda x: torch.arange(1.0, 7).reshape(2, 3) @ x, (3, 4)),
    "constant matrix on the right": (lambda x: x @ torch.arange(1.0, 9).reshape(4, 2), (3, 4)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR)
def test_linear_operations_equal_their_jacobian(name: str) -> None:
    """With windows averaged, the graph of a linear operation is its Jacobian."""
    function, shape = LINEAR[name]
    dag = topo.trace(Apply(function), torch.zeros(1, *shape))
    x = torch.zeros(1, *shape)
    jacobian = torch.autograd.functional.jacobian(function, x).reshape(-1, x.numel()).T.numpy()
    averaged = "sum" not in name
    network = structure(dag, weights="mean" if averaged else "sum")
    total = sum(arc.relation.matrix().toarray() for arc in network.arcs if not network.nodes[arc.target].relay)
    if len(network.arcs) == 1:
        assert np.allclose(total, jacobian)
    assert np.array_equal(path_matrix(network) != 0, jacobian != 0)
    for arc in network.arcs:
        assert_one_map(arc.relation)


def path_matrix(network: object, inlet: int = 0) -> np.ndarray:
    """Products of the arcs' matrices, summed over paths from one input to the output."""
    rows = int(np.prod(network.nodes[inlet].shape))
    reach: dict[int, np.ndarray] = {}
    for i, node in enumerate(network.nodes):
        size = int(np.prod(node.shape))
        if node.role == "input":
            reach[i] = np.eye(size) if i == inlet else np.zeros((rows, size))
            continue
        arriving = [a for a in network.arcs if a.target == i]
        products = (reach[a.source] @ a.relation.matrix().toarray() for a in arriving)
        reach[i] = sum(products, start=np.zeros((rows, size)))
    return next(reach[i] for i, node in enumerate(network.nodes) if node.role == "output")


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_its_jacobian(causal: bool) -> None:
    class Attend(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.rand(1, 2, 4, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    dag = coarsen(topo.trace(Attend(), inputs).single())
    jacobians = torch.autograd.functional.jacobian(Attend(), inputs)
    (arc,) = (a for a in dag.arcs if a.steps)
    for slot, jacobian in enumerate(jacobians):
        matrix = relation(dag, arc, slot=slot).matrix().toarray()
        expected = jacobian.reshape(24, 24).T.numpy() != 0
        if causal and slot < 2:
            # The first token attends to itself alone, so its softmax is constant: a value, not a structural, zero.
            assert not (expected & (matrix == 0)).any()
            expected = expected | ((matrix != 0) & first_token(slot, expected))
        assert np.array_equal(matrix != 0, expected)


def first_token(slot: int, like: np.ndarray) -> np.ndarray:
    """Entries of the first token's result."""
    target = np.zeros((2, 4, 3), bool)
    target[:, 0] = True
    return np.broadcast_to(target.ravel(), like.shape)


class Product(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, *operands: Tensor) -> Tensor:
        return self.function(*operands)


PRODUCTS = {
    "matrices, broadcast": (lambda a, b: a @ b, (2, 3, 4), (1, 4, 2)),
    "einsum, summed and transposed": (lambda a, b: torch.einsum("nijk,nklm->nmlji", a, b), (2, 3, 4), (4, 2, 3)),
    "einsum, outer": (lambda a, b: torch.einsum("ni,nj->nji", a, b), (3,), (2,)),
    "einsum, shared": (lambda a, b: torch.einsum("nij,nij->nj", a, b), (3, 2), (3, 2)),
    "division by a norm": (lambda a, b: a / torch.linalg.vector_norm(b, dim=2, keepdim=True), (2, 3), (2, 3)),
    "maximum of both": (lambda a, b: torch.where(a > 9, a, b) * a, (2, 3), (3,)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_activations(name: str) -> None:
    """From each operand to the result, every path together reaches what the derivative reaches."""
    function, *shapes = PRODUCTS[name]
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.rand(1, *s, generator=generator) + 0.5 for s in shapes)
    network = structure(topo.trace(Product(function), inputs))
    jacobians = torch.autograd.functional.jacobian(Product(function), inputs)
    inlets = [i for i, node in enumerate(network.nodes) if node.role == "input"]
    for inlet, jacobian in zip(inlets, jacobians, strict=True):
        size = int(np.prod(network.nodes[inlet].shape))
        reached = path_matrix(network, inlet) != 0
        assert not ((jacobian.reshape(-1, size).T.numpy() != 0) & ~reached).any()
        if "maximum" not in name:
            assert np.array_equal(reached, jacobian.reshape(-1, size).T.numpy() != 0)


def test_tensors_filled_by_shape_are_constants() -> None:
    class Filled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mask = x.new_zeros(3, 3)
            mask[0, 1] = 2.0
            return x @ mask + torch.ones_like(x) + torch.full_like(x, 0.5)

    x = torch.randn(4, 3)
    dag = topo.trace(Filled(), x)
    assert torch.equal(dag(x), Filled()(x))
    (arc,) = structure(dag).arcs
    assert np.array_equal(arc.relation.matrix().nonzero(), ([0], [1]))
