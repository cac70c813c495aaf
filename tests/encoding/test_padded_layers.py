"""Layers whose padding is an operation of its own, and weights of more than two axes, unrolled and rolled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import topo
from tests.jacobians import positive


def matrix_of(graph: topo.BipartiteGraph) -> np.ndarray:
    return graph.blocks[0].matrix.toarray()


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def jacobian(model: nn.Module, x: Tensor) -> np.ndarray:
    return torch.autograd.functional.jacobian(model, x).reshape(-1, x.numel()).T.numpy()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_unrolled_layers_start_at_the_elements_of_the_input(data: st.DataObject) -> None:
    """Of random convolutions with every kind of padding, the graph is the Jacobian: edges and weights."""
    dimensions = data.draw(st.sampled_from([1, 1, 2, 2, 3]))
    mode = data.draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    kernel, length = data.draw(st.integers(1, 3)), data.draw(st.integers(3, 4))
    padding = data.draw(st.integers(0, 2))
    groups = data.draw(st.sampled_from([1, 2]))
    stride = data.draw(st.integers(1, 2))
    layer = CONVOLUTIONS[dimensions](2, 2, kernel, stride, padding, groups=groups, padding_mode=mode, bias=False)
    model = positive(nn.Sequential(layer))
    x = torch.rand(1, 2, *(length,) * dimensions, dtype=torch.float64)
    mask = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(kernel)) < 0.7
    graph = topo.encode(model, {"0.weight": mask}, example=x, encoding="unrolled")["0"]
    with torch.no_grad():
        layer.weight *= mask
    assert graph.left.shape == x.shape[1:]
    matrix = matrix_of(graph)
    expected = jacobian(model, x)
    assert np.array_equal(matrix != 0, expected != 0)
    assert np.allclose(matrix, expected, rtol=1e-5)


class Experts(nn.Module):
    """A matrix for each of three groups of inputs."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 4, 2) + 0.5)
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "einsum":
            return torch.einsum("beti,eio->beto", x, self.weight)
        return torch.bmm(x[0], self.weight)[None]


@pytest.mark.parametrize("form", ["einsum", "bmm"])
def test_weights_of_three_axes_have_graphs(form: str) -> None:
    model, x = Experts(form).double(), torch.rand(1, 3, 2, 4, dtype=torch.float64)
    mask = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0)) < 0.6
    dag = topo.trace(model, x)
    unrolled = topo.encode(dag, {"weight": mask}, encoding="unrolled")["weight"]
    rolled = topo.encode(dag, {"weight": mask}, encoding="rolled")["weight"]
    whole = topo.encode(dag, {"weight": mask})
    expected = torch.block_diag(*(model.weight * mask)).detach().numpy()
    with torch.no_grad():
        model.weight *= mask
    assert np.allclose(matrix_of(unrolled), jacobian(model, x), rtol=1e-5)
    assert np.allclose(matrix_of(rolled), expected, rtol=1e-5)
    assert whole.n_edges == (jacobian(model, x) != 0).sum()
