"""How many weights a layer keeps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from topo.masks import prunable_parameters
from topo.pruning.allocation import er_share, erk_share, layer_counts

from .comparisons import SPARSITY, Found, comparison, flat
from .networks import network
from .references import Reference


def as_masks(model: nn.Module, counts: Sequence[float]) -> Tensor:
    """Masks of the first so many weights of each layer: their overlap is that of the counts."""
    weights = prunable_parameters(model).values()
    return flat([torch.arange(w.numel()) < round(float(c)) for w, c in zip(weights, counts, strict=True)])


def our_counts(model: nn.Module, share: Callable[..., float]) -> list[int]:
    shapes = {name: tuple(weight.shape) for name, weight in prunable_parameters(model).items()}
    return layer_counts(shapes, round((1 - SPARSITY) * sum(map(np.prod, shapes.values()))), share)


@comparison("erk", "jaeho-lee/layer-adaptive-sparsity", "counts of the layers", "resnet20")
def erk_counts(source: Reference) -> Found:
    model = network()
    pruners = source.module("tools.pruners")
    theirs = copy.deepcopy(model).float()
    pruners.prune_weights_reparam(theirs)
    removed = pruners._compute_erk_amounts(theirs, SPARSITY)
    sizes = [weight.numel() for weight in prunable_parameters(model).values()]
    counts = [size * (1 - float(share)) for size, share in zip(sizes, removed, strict=True)]
    ours = our_counts(model, erk_share)
    return Found(masks=(as_masks(model, ours), as_masks(model, counts)))


@comparison("erk", "google-research/rigl", "counts of the layers", "resnet20", kernel=True)
@comparison("er", "google-research/rigl", "counts of the layers", "resnet20", kernel=False)
def rigl_counts(source: Reference, kernel: bool) -> Found:
    """The function computes with NumPy alone; TensorFlow and what needs it are empty stand-ins."""

    class Shape(tuple):
        def as_list(self) -> list[int]:
            return list(self)

    names = "tensorflow tensorflow.compat tensorflow.compat.v1 google_research google_research.micronet_challenge"
    stubs = {name.replace(".", "__"): mock.MagicMock() for name in names.split()}
    stubs["rigl__str_sparsities"] = mock.MagicMock()
    find = source.module("rigl.sparse_utils", **stubs).get_sparsities_erdos_renyi
    model = network()
    weights = prunable_parameters(model)
    shapes = [tuple(weight.shape) for weight in weights.values()]
    variables = [
        SimpleNamespace(name=f"{name}/mask:0", shape=Shape((*shape[2:], shape[1], shape[0])))
        for name, shape in zip(weights, shapes, strict=True)
    ]
    removed = find(variables, SPARSITY, {}, kernel, extract_name_fn=lambda name: name)
    counts = [np.prod(v.shape) * (1 - removed[v.name]) for v in variables]
    ours = our_counts(model, erk_share if kernel else er_share)
    return Found(masks=(as_masks(model, ours), as_masks(model, counts)))
