"""The optimal brain surgeon of whole networks, by the empirical Fisher in blocks."""

from __future__ import annotations

import copy
import logging
import math
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import topo

from .comparisons import SPARSITY, Found, comparison, flat, top
from .networks import float64, images, layers_of, network
from .references import CPU, Reference

BLOCK, DAMPING, SAMPLES = 50, 1e-5, 40


def their_network(source: Reference, model: nn.Module, data: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Score and inverse of every weight by its recursion over samples, which are those of our fixed batch."""
    own = "BlockwiseWoodburryFisherPruner"
    names = ("_compute_split_block_woodburry_fisher_inverse", "_compute_block_woodburry_fisher_inverse")
    names = (*names, "_get_param_stat", "_get_weight_update", "_get_pruned_wts_scaled_basis")
    quiet = SimpleNamespace(info=logging.getLogger("reference").debug)
    given = {"logging": quiet, "math": math, "time": time}
    found = source.definitions("pruners/woodfisherblock.py", *(f"{own}.{name}" for name in names), **given)
    weights = {name: layer.weight for name, layer in layers_of(model).items()}
    gradients: dict[str, list[Tensor]] = {name: [] for name in weights}
    for x, y in zip(*data, strict=True):
        loss = nn.functional.cross_entropy(model(x[None]), y[None])
        for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
            gradients[name].append(g.flatten())
    options = {
        "aux_gpu_id": -1, "fisher_cpu": False, "fisher_damp": DAMPING, "fisher_optimized": False,
        "offload_inv": False, "fisher_split_grads": True, "scale_prune_update": 1.0,
    }  # fmt: skip
    pruner = SimpleNamespace(
        args=SimpleNamespace(**options),
        _all_grads_dic={name: torch.stack(of_weight) for name, of_weight in gradients.items()},
        _num_grads=SAMPLES,
        _goal=SAMPLES,
        _fittable_params=BLOCK,
        _block_fisher_inv_dic={},
        _block_fisher_inv_diag_dic={},
        _total_block_fisher_params=0,
        _inspect_inv=False,
    )
    setattr(pruner, names[0], partial(getattr(found, names[0]), pruner))
    for name, weight in weights.items():
        getattr(found, names[1])(pruner, weight, name, CPU)
    return {"found": found, "pruner": pruner, "weights": weights}


@comparison(
    "woodfisher",
    "IST-DASLab/WoodFisher",
    "adjusted weights, by magnitude; masks",
    "linear layers 64-32-16-10, 40 samples, blocks of 50, one weight removed",
    kept=-1,
)
@comparison(
    "woodfisher",
    "IST-DASLab/WoodFisher",
    "adjusted weights, by magnitude; masks",
    "the same, 90% removed",
    "The masks are the same. Of several weights that go from one block the reference adds up what each alone would ask "
    "of the others; ours finds the optimum for all of them together, which is what removing them one after the other "
    "comes to.",
    kept=1 - SPARSITY,
)
def woodfisher_weights(source: Reference, kept: float) -> Found:
    with float64():
        model = network("digits-mlp", shape=(1, 8, 8), widths=(32, 16)).eval()
        data = images(SAMPLES, (1, 8, 8))
        total = sum(layer.weight.numel() for layer in layers_of(model).values())
        count = total - 1 if kept < 0 else round(kept * total)
        given = their_network(source, copy.deepcopy(model), data)
        found, pruner, weights = given["found"], given["pruner"], given["weights"]
        scores = [
            found._get_param_stat(weight.detach(), torch.ones_like(weight), pruner._block_fisher_inv_diag_dic[name])
            for name, weight in weights.items()
        ]
        mask = top(flat(scores), count)
        adjusted = []
        for (name, weight), kept_here in zip(weights.items(), mask.split([s.numel() for s in scores]), strict=True):
            values = weight.detach().flatten()
            basis = found._get_pruned_wts_scaled_basis(pruner, (~kept_here).double(), values, name)
            adjusted.append((values + found._get_weight_update(pruner, name, basis)) * kept_here)
        settings = {"block": BLOCK, "damping": DAMPING, "samples": SAMPLES}
        masks = topo.prune(model, "woodfisher", sparsity=1 - count / total, data=data, device="cpu", **settings)
        ours = flat([masks.state[name] for name in masks])
    return Found((ours.abs(), flat(adjusted).abs()), (flat([masks[name] for name in masks]), mask))
