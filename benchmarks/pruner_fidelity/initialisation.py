"""Pruners at initialisation."""

from __future__ import annotations

import copy
import random
import types
from typing import Any
from unittest import mock

import numpy as np
import scipy
import torch
from torch import Tensor, nn

import topo
from topo.masks import prunable_parameters
from topo.pruning.initial.grasp import hessian_gradient
from topo.pruning.task import Task

from .comparisons import SPARSITY, Found, comparison, flat, top
from .networks import Probabilities, float64, images, layers_of, network, prune, score
from .references import CPU, Reference


@comparison("snip", "mil-ad/snip", "masks", "resnet20, 50 images, batch statistics, the new random weights left out")
def snip_masks(source: Reference) -> Found:
    model, data = network(), images(50)
    # It draws new weights for the copy that it scores, so that its masks belong to no network at hand.
    with mock.patch.object(nn.init, "xavier_normal_", lambda weight: weight):
        theirs = source.module("snip").SNIP(Probabilities(model).train(), 1 - SPARSITY, [data], CPU)
    return Found(masks=(flat(prune(model, "snip", data=data)), flat(theirs)))


def synaptic_flow(source: Reference, model: nn.Module, pruner: str, training: bool) -> tuple[Any, nn.Module, Any]:
    """A pruner of Synaptic-Flow and its network: the same one with masked layers in the place of plain ones."""
    layers = source.module("Layers.layers")
    model = copy.deepcopy(model).train(training)
    for name, old in layers_of(model).items():
        bias = old.bias is not None
        if isinstance(old, nn.Conv2d):
            shape = (old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
            new = layers.Conv2d(*shape, bias=bias)
        else:
            new = layers.Linear(old.in_features, old.out_features, bias=bias)
        new.load_state_dict(old.state_dict(), strict=False)
        path, _, child = name.removesuffix(".weight").rpartition(".")
        setattr(model.get_submodule(path), child, new.double().train(training))
    masked = [(m.weight_mask, m.weight) for m in model.modules() if hasattr(m, "weight_mask")]
    return getattr(source.module("Pruners.pruners"), pruner)(masked), model, masked


@comparison("snip", "ganguli-lab/Synaptic-Flow", "scores", "resnet20, 50 images, batch statistics", pruner="SNIP")
@comparison(
    "snip",
    "ganguli-lab/Synaptic-Flow",
    "scores",
    "resnet20, 50 images, evaluation mode as is the reference's default",
    "The reference scores with the running statistics of the norms, which at initialisation are 0 and 1 whatever the "
    "data; ours takes those of the batch, as training will, and agrees with it in training mode (the other row).",
    pruner="SNIP",
    training=False,
)
@comparison("grasp", "ganguli-lab/Synaptic-Flow", "scores", "resnet20, 50 images, batch statistics", pruner="GraSP")
@comparison("magnitude-init", "ganguli-lab/Synaptic-Flow", "scores", "resnet20", pruner="Mag")
def synaptic_flow_scores(source: Reference, pruner: str, training: bool = True) -> Found:
    model, data = network(), images(50)
    theirs, masked_model, masked = synaptic_flow(source, model, pruner, training)
    theirs.score(masked_model, nn.CrossEntropyLoss(), [data], CPU)
    theirs.mask(1 - SPARSITY, "global")
    name = {"SNIP": "snip", "GraSP": "grasp", "Mag": "magnitude-init"}[pruner]
    given = {} if pruner == "Mag" else {"data": data}
    return Found(
        (flat(score(model, name, **given)), flat([theirs.scores[id(weight)] for _, weight in masked])),
        (flat(prune(model, name, **given)), flat([mask for mask, _ in masked])),
    )


FLOW = "scores; masks after 100 rounds"


@comparison(
    "synflow", "ganguli-lab/Synaptic-Flow", FLOW, "resnet20 at initialisation, equal numbers kept in each round"
)
@comparison(
    "synflow",
    "ganguli-lab/Synaptic-Flow",
    FLOW,
    "resnet20 at initialisation",
    "The reference rounds the number kept after each round up, ours rounds it to the nearest, and what a "
    "weight more or less "
    "changes is scored again a hundred times; with equal numbers both agree (the other row).",
    equal=False,
)
@comparison(
    "synflow",
    "ganguli-lab/Synaptic-Flow",
    FLOW,
    "resnet20, norms and biases as after training, equal numbers kept in each round",
    "The reference keeps |bias| of norms and layers and the |running mean|, which no path from the input carries; the "
    "paper's R has neither, and without them both agree (the other row).",
    trained=True,
)
def synflow_scores(source: Reference, trained: bool = False, equal: bool = True) -> Found:
    model, rounds = network(trained=trained), 100
    with float64():
        theirs, masked_model, masked = synaptic_flow(source, model, "SynFlow", False)
        theirs.score(masked_model, None, [images(1)], CPU)
        first = flat([theirs.scores[id(weight)] for _, weight in masked])
        bars = types.ModuleType("tqdm")
        bars.tqdm = lambda steps: steps
        loop = source.module("prune", tqdm=bars).prune_loop
        loop(masked_model, None, theirs, [images(1)], CPU, 1 - SPARSITY, "exponential", "global", rounds)

    def rounded_up(density: float, rounds: int) -> list[float]:
        shares = [1 - (1 - SPARSITY) ** ((step + 1) / rounds) for step in range(rounds)]
        return [(len(first) - int(share * len(first))) / len(first) for share in shares]

    shape = {"input_shape": (3, 32, 32)}
    usual = topo.pruning.weight_scoring.exponential
    with mock.patch.object(topo.pruning.weight_scoring, "exponential", rounded_up if equal else usual):
        masks = flat(prune(model, "synflow", **shape)), flat([mask for mask, _ in masked])
    return Found((flat(score(model, "synflow", **shape)), first), masks)


@comparison(
    "grasp",
    "alecwangcq/GraSP",
    "masks",
    "resnet20, 100 images; both see them as two halves, each with its own batch statistics",
    halves=True,
)
@comparison(
    "grasp",
    "alecwangcq/GraSP",
    "masks",
    "resnet20, 100 images; ours sees them as one batch",
    "The reference runs the images as two halves sorted by class, so that each half has batch statistics of its own; "
    "given the same halves ours agrees (the other row).",
    halves=False,
)
def grasp_masks(source: Reference, halves: bool) -> Found:
    model, (inputs, targets) = network(), images(100)
    found = source.module("pruner.GraSP").GraSP(
        copy.deepcopy(model).train(),
        SPARSITY,
        [(inputs, targets), (inputs, targets)],
        CPU,
        samples_per_class=10,
        reinit=False,
    )
    if not halves:
        return Found(masks=(flat(prune(model, "grasp", data=(inputs, targets), samples_per_class=10)), flat(found)))
    inside = copy.deepcopy(model).train()
    weights = {name: layer.weight for name, layer in layers_of(inside).items()}
    task = Task(inside, weights, 0, None, torch.Generator(), CPU)
    product = hessian_gradient(task, (inputs, targets), 200.0, 50)
    scores = flat({name: weight * product[name] for name, weight in weights.items()})
    return Found(masks=(top(scores, round((1 - SPARSITY) * len(scores))), flat(found)))


ROUNDED = (
    "The reference rounds the number kept after each round down, ours rounds it to the nearest; from a "
    "weight more or less "
    "the gradients of the batch-normalised network differ enough to change the choice in the next round, "
    "and rounds add "
    "up: with equal numbers both agree (the other row)."
)


@comparison("iterative-snip", "naver/force", "masks", "resnet20, 50 images, 10 rounds, 90% pruned", ROUNDED, method=1)
@comparison("force", "naver/force", "masks", "resnet20, 50 images, 10 rounds, 90% pruned", ROUNDED, method=3)
@comparison(
    "iterative-snip", "naver/force", "masks", "the same, equal numbers kept in each round", method=1, equal=True
)
@comparison("force", "naver/force", "masks", "the same, equal numbers kept in each round", method=3, equal=True)
def force_masks(source: Reference, method: int, equal: bool = False) -> Found:
    model, data, rounds = network(), images(50), 10
    total = sum(weight.numel() for weight in prunable_parameters(model).values())
    kept = round((1 - SPARSITY) * total)
    while equal and any((kept / total) ** (k / rounds) * total % 1 > 0.45 for k in range(1, rounds)):
        kept -= 1
    find = source.module("pruning.pruning_algos").iterative_pruning
    theirs = find(Probabilities(model).train(), [data], CPU, (kept + 0.01) / total, method, rounds)
    name = {1: "iterative-snip", 3: "force"}[method]
    ours = prune(model, name, sparsity=1 - kept / total, data=data, rounds=rounds)
    return Found(masks=(flat(ours), flat(theirs)))


@comparison("prospr", "mil-ad/prospr", "scores", "resnet20, 3 steps on 50 images each, momentum 0", momentum=0.0)
@comparison(
    "prospr",
    "mil-ad/prospr",
    "scores",
    "resnet20, 3 steps on 50 images each, momentum 0.9",
    "The reference detaches the velocity of the first step, so that no gradient passes through it; "
    "without momentum, its "
    "default, both agree (the other row).",
    momentum=0.9,
)
def prospr_scores(source: Reference, momentum: float) -> Found:
    model, batches = network(), [images(50, seed=seed) for seed in range(4)]
    settings = {"num_steps": 3, "inner_lr": 0.1, "inner_momentum": momentum, "return_scores": True}
    is_layer = source.module("prospr.utils").pruning_filter_factory(10, False)
    theirs = source.module("prospr.prospr").prune(model, SPARSITY, batches, is_layer, **settings)
    ours = score(model, "prospr", data=batches, steps=3, lr=0.1, momentum=momentum)
    return Found((flat(ours), flat(theirs)))


@comparison(
    "phew",
    "ShreyasMalakarjunPatil/PHEW",
    "how often each weight is kept",
    "linear layers 64-64-32-10, 100 draws each, 10% of the weights",
    "Walks are random, and this is as much as so many draws can agree:",
)
def phew_frequencies(source: Reference, draws: int = 100) -> Found:
    model = network("digits-mlp", shape=(1, 8, 8))
    find = source.module("PHEW.phew").phew_masks
    random.seed(0)

    draw = np.random.choice

    def theirs() -> Tensor:
        # Of arrays with one element it makes numbers by int(), which NumPy no longer does.
        with mock.patch.object(np.random, "choice", lambda a, size, p: draw(a, p=p)):
            return sum(flat(find(model, 100 * SPARSITY, verbose=False)[0]) for _ in range(draws)) / draws

    ours = sum(flat(prune(model, "phew", example=(1, 8, 8), seed=seed)).double() for seed in range(draws)) / draws
    first, second = theirs(), theirs()
    itself = scipy.stats.spearmanr(first.numpy(), second.numpy()).statistic
    mean = (ours + first) / 2
    usual = (mean > 0.05) & (mean < 0.95)
    squares = (ours - first).square()[usual] * draws / (2 * mean * (1 - mean))[usual]
    note = (
        f" two sets of draws of the reference agree to {itself:.3f}, and the squared difference to ours is "
        f"{float(squares.mean()):.2f} times what chance alone gives."
    )
    return Found((ours, first), note=note)
