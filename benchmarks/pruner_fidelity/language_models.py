"""Pruners of trained language models, run on blocks of one linear layer each."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .comparisons import Found, comparison, flat
from .networks import prune
from .references import CPU, Reference

SAMPLES, LENGTH, WIDTH, DEPTH = 24, 6, 40, 6


class Block(nn.Module):
    """What the references ask of a block, with a residual connection; weights have heavy tails."""

    def __init__(self, tail: float) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.linear.weight.data = torch.randn(WIDTH, WIDTH) * torch.rand(WIDTH, WIDTH) ** tail * 0.3

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        return x + F.gelu(self.linear(self.norm(x)))


class Model(nn.Module):
    """The same blocks under the names by which the references find them."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.hf_device_map = SimpleNamespace(use_cache=False), {}
        self.model = nn.Module()
        self.model.layers = nn.ModuleList(Block(tail) for tail in range(DEPTH))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.model.layers:
            x = block(x)
        return x.mean(1)


def pruned_by(
    source: Reference, path: str, name: str, helpers: tuple[str, ...], given: dict[str, Any], **options: Any
) -> tuple[Model, Tensor, Model]:
    """A model, its inputs, and a copy that a function of the reference pruned: its loading of texts is left out."""
    torch.manual_seed(0)
    model = Model().eval()
    inputs = torch.randn(SAMPLES, LENGTH, WIDTH) * torch.rand(WIDTH) ** 2
    theirs = copy.deepcopy(model)

    def calibration(*_: Any) -> tuple[Any, ...]:
        return inputs.clone(), torch.zeros_like(inputs), None, torch.zeros(1)

    given = {"get_loaders": lambda *_, **__: (None, None), "prepare_calibration_input": calibration} | given
    find = getattr(source.definitions(path, *helpers, name, **given), name)
    shared = {"model": "llama", "nsamples": SAMPLES, "seed": 0, "seqlen": LENGTH}
    find(SimpleNamespace(**shared, **options), theirs, None, CPU)
    return model, inputs, theirs


def compared(model: Model, inputs: Tensor, theirs: Model, name: str, **settings: Any) -> Found:
    data = inputs, torch.arange(SAMPLES) % WIDTH
    ours = prune(model, name, data=data, include="model.layers.*", samples=SAMPLES, **settings)
    return Found(masks=(flat(ours), flat([theirs.get_parameter(key) != 0 for key in ours])))


@comparison(
    "ria",
    "biomedical-cybernetics/Relative-importance-and-activation-pruning",
    "masks",
    "six blocks of one linear layer, 50% of each row (the reference's option per_outneuron)",
    rows=True,
)
@comparison(
    "ria",
    "biomedical-cybernetics/Relative-importance-and-activation-pruning",
    "masks",
    "the same, 50% of each layer as is the reference's default, ours with allocation=uniform",
    "The reference removes the weight at the threshold as well, one more a layer; the order of the weights is the "
    "same.",
    rows=False,
)
def ria_masks(source: Reference, rows: bool) -> Found:
    wrapper = source.definitions("lib/layerwrapper.py", "WrappedGPT", math=math).WrappedGPT
    options = {
        "prune_method": "ria", "a": 0.5, "sparsity_ratio": 0.5, "per_outneuron": rows,
        "calib_dataset": "", "gptq": False, "reconstruction": False,
    }  # fmt: skip
    found = pruned_by(
        source, "lib/prune.py", "prune_ria", ("find_layers",), {"WrappedGPT": wrapper, "CPU": CPU}, **options
    )
    return compared(*found, "ria", sparsity=0.5, allocation="row" if rows else "uniform")


ROUNDED = (
    "The reference rounds the number that each row loses down, which is up to one weight a row; the numbers that "
    "layers are to keep are the same (the other rows)."
)


def pruned_by_owl(
    source: Reference, sparsity: float, outliers: float, spread: float
) -> tuple[tuple[Model, Tensor, Model], np.ndarray]:
    """What the reference prunes, and the densities of layers that it reports."""
    said: dict[str, Any] = {}

    def note(*words: Any) -> None:
        said[str(words[0]).strip()] = words[-1]

    wrapper = source.module("lib.layerwrapper").WrappedGPT
    options = {"sparsity_ratio": sparsity, "Hyper_m": outliers, "Lamda": spread, "use_variant": False}
    found = pruned_by(
        source,
        "lib/prune_all.py",
        "prune_wanda_outlier",
        ("find_layers", "check_outlier_mean"),
        {"WrappedGPT": wrapper, "np": np, "print": note},
        **options,
    )
    return found, said["after adjustment"]


FIRST, SECOND = {"sparsity": 0.5, "outliers": 5.0, "spread": 0.08}, {"sparsity": 0.7, "outliers": 3.0, "spread": 0.15}


@comparison("owl", "luuyin/OWL", "masks", "six blocks of one linear layer, 50%, M 5, lambda 0.08", ROUNDED, **FIRST)
@comparison("owl", "luuyin/OWL", "masks", "the same, 70%, M 3, lambda 0.15", ROUNDED, **SECOND)
def owl_masks(source: Reference, **settings: float) -> Found:
    found, _ = pruned_by_owl(source, **settings)
    return compared(*found, "owl", **settings)


@comparison(
    "owl", "luuyin/OWL", "counts of the layers", "six blocks of one linear layer, 50%, M 5, lambda 0.08", **FIRST
)
@comparison("owl", "luuyin/OWL", "counts of the layers", "the same, 70%, M 3, lambda 0.15", **SECOND)
def owl_counts(source: Reference, **settings: float) -> Found:
    """Masks of the first so many weights of each layer, as their overlap is that of the counts."""
    (model, inputs, _), densities = pruned_by_owl(source, **settings)
    data, places = (inputs, torch.arange(SAMPLES) % WIDTH), torch.arange(WIDTH**2)
    ours = prune(model, "owl", data=data, include="model.layers.*", samples=SAMPLES, **settings)
    theirs = [places < round(float(density) * WIDTH**2) for density in densities]
    return Found(masks=(flat([places < int(mask.sum()) for mask in ours.values()]), flat(theirs)))
