"""Pruners that train what stands behind the weights of the network, or all weights by turns."""

from __future__ import annotations

import copy
import math
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from torch import Tensor, autograd, nn
from torch.nn import functional as F

import topo
from topo.datasets import load
from topo.training import Recipe, train

from .comparisons import SPARSITY, Found, comparison, flat
from .networks import float64, network
from .references import Reference

STEPS, STEP = 100, 60


def started(name: str, model: nn.Module, **settings: Any) -> tuple[Any, SimpleNamespace]:
    """A pruner in a training run of so many steps, before the first one."""
    pruner = topo.pruning.sparse_training_callback(model, name, sparsity=SPARSITY, device="cpu", **settings)
    state = SimpleNamespace(model=copy.deepcopy(model), total_steps=STEPS, step=0)
    pruner.on_start(state)
    return pruner, state


Made = Callable[[str, Tensor], tuple[Tensor, list[Tensor]]]
"""From a weight, in four axes, to what their network computes with and what of theirs has gradients."""


def gradients(pruner: Any, made: Made) -> Found:
    """What the network computes with, and gradients by what is behind it, for the same gradient of a loss by it."""
    ours, theirs = [], []
    for name, latent in pruner.latent.items():
        weight, by = made(name, latent.view(*latent.shape[:2], *(latent.shape[2:] or (1, 1))))
        slope = torch.randn(latent.shape)
        ours += [pruner.made(name), *(g for g in pruner.slopes(name, slope) if g is not None)]
        theirs += [weight, *autograd.grad(weight, by, slope.view(weight.shape))]
    return Found(scores=(flat(ours), flat(theirs)))


LATENT = "weights of the network and gradients by what is behind them"


@comparison("str", "RAIVNLab/STR", LATENT, "resnet20, thresholds of .002 to .05, the same gradients by the weights")
def str_gradients(source: Reference) -> Found:
    soft = source.definitions("utils/conv_type.py", "sparseFunction").sparseFunction
    with float64():
        pruner, _ = started("str", network())
        pruner.numbers = {name: torch.randn(()) for name in pruner.names}
        pruner.prepare(SimpleNamespace(step=STEP))

        def made(name: str, latent: Tensor) -> tuple[Tensor, list[Tensor]]:
            weight, threshold = latent.clone().requires_grad_(), pruner.level(name).logit().requires_grad_()
            # A threshold is the sigmoid of its parameter there and the exponential here.
            scale = 1 / (1 - pruner.level(name))
            of_theirs = scale * threshold + (1 - scale) * threshold.detach()
            return soft(weight, of_theirs), [weight, threshold]

        return gradients(pruner, made)


@comparison("continuous-sparsification", "lolemacs/continuous-sparsification", LATENT, "resnet20, beta of 69")
def continuous_sparsification_gradients(source: Reference) -> Found:
    layers = source.definitions("models/layers.py", "sigmoid", "SoftMaskedConv2d", F=F)
    with float64():
        pruner, _ = started("continuous-sparsification", network())
        pruner.numbers = {name: 0.05 * torch.randn(latent.shape) for name, latent in pruner.latent.items()}
        pruner.prepare(SimpleNamespace(step=STEP))

        def made(name: str, latent: Tensor) -> tuple[Tensor, list[Tensor]]:
            layer = layers.SoftMaskedConv2d(latent.shape[1], latent.shape[0], latent.shape[2])
            layer.weight.data = latent.clone()
            layer.mask_weight.data = (pruner.numbers[name] - pruner.common).view(latent.shape)
            return layer.weight * layer.compute_mask(pruner.beta, False), [layer.weight, layer.mask_weight]

        return gradients(pruner, made)


@comparison("edge-popup", "allenai/hidden-networks", LATENT, "resnet20, first step, 10% of every layer")
def edge_popup_gradients(source: Reference) -> Found:
    found = source.definitions("utils/conv_type.py", "GetSubnet", "SubnetConv", autograd=autograd, F=F, math=math)
    with float64():
        pruner, _ = started("edge-popup", network())

        def made(name: str, latent: Tensor) -> tuple[Tensor, list[Tensor]]:
            layer = found.SubnetConv(latent.shape[1], latent.shape[0], latent.shape[2])
            layer.scores.data = pruner.numbers[name].view(latent.shape)
            # Half a weight less, for it rounds the number that it leaves out down.
            subnet = found.GetSubnet.apply(layer.clamped_scores, (pruner.counts[name] - 0.5) / latent.numel())
            return latent * subnet, [layer.scores]

        return gradients(pruner, made)


@comparison("edge-popup", "allenai/hidden-networks", "constant weights", "resnet20, scaled signed constant")
def edge_popup_weights(source: Reference) -> Found:
    given = SimpleNamespace(init="signed_constant", mode="fan_in", scale_fan=True, nonlinearity="relu")
    make = source.definitions("utils/builder.py", "Builder._init_conv", args=given, math=math)._init_conv
    model = network()
    pruner, _ = started("edge-popup", model)
    theirs = []
    for name, count in pruner.counts.items():
        layer = SimpleNamespace(weight=model.get_parameter(name).detach().clone())
        # It keeps a share prune_rate but scales by 1 - prune_rate; the paper scales by what is kept.
        given.prune_rate = 1 - count / layer.weight.numel()
        make(None, layer)
        theirs.append(layer.weight)
    ours = flat(list(pruner.latent.values()))
    return Found(scores=(ours, flat(theirs)), masks=(ours > 0, flat(theirs) > 0))


@comparison("ac-dc", "IST-DASLab/ACDC", "masks of a phase of compression", "resnet20")
def acdc_masks(source: Reference) -> Found:
    model = network()
    pruner, _ = started("ac-dc", model)
    sizes = {name: model.get_parameter(name).detach().abs() for name in pruner.names}
    own, path = "UnstructuredMagnitudePruner", "policies/pruners.py"
    percentile = source.definitions("utils/utils.py", "percentile", ceil=math.ceil).percentile
    given = {"percentile": percentile, "logging": SimpleNamespace(debug=lambda *_: None)}
    names = (f"{own}._get_param_stat", f"{own}.on_epoch_begin", "GradualPruner._get_pruning_mask")
    found = source.definitions(path, *names, **given)
    masks = [
        SimpleNamespace(weight=w, weight_mask=torch.ones_like(w), bias=None, bias_mask=None) for w in sizes.values()
    ]
    # What it keeps are sizes above that of the first weight which it prunes: with one weight less pruned, as many.
    total = sum(w.numel() for w in sizes.values())
    settings = SimpleNamespace(
        _modules=masks,
        _weight_only=True,
        _pruner_not_active=lambda _: False,
        _required_sparsity=lambda _: 1 - (pruner.kept + 0.5) / total,
        _get_param_stat=found._get_param_stat,
        _get_pruning_mask=found._get_pruning_mask,
    )
    found.on_epoch_begin(settings, 0, torch.device("cpu"))
    return Found(masks=(flat(pruner.allocate(sizes, pruner.kept)), flat([module.weight_mask for module in masks])))


CONFIGURATIONS = {
    "CIFAR-100": ("iht_cifar100_wideresnet_steplr_freq20_s90.yaml", 200),
    "ImageNet": ("iht_imagenet_resnet50_insta_cosinelr_s90_ep100.yaml", 100),
}


@comparison(
    "ac-dc",
    "IST-DASLab/ACDC",
    "epochs that are compressed",
    "its configuration for CIFAR-100, of 200 epochs, ours with start .05 and four turns",
    name="CIFAR-100",
    start=0.05,
    turns=4,
)
@comparison(
    "ac-dc",
    "IST-DASLab/ACDC",
    "epochs that are compressed",
    "its configuration for ImageNet, of 100 epochs, ours as by default",
    "Between the dense start and the last compression the reference has phases of five epochs here, and the last dense "
    "one has ten; in ours, and in its configuration for CIFAR-100 (the other row), all have one length.",
    name="ImageNet",
)
def acdc_phases(source: Reference, name: str, **settings: Any) -> Found:
    file, epochs = CONFIGURATIONS[name]
    pruner, state = started("ac-dc", network(), **settings)
    state.total_steps = epochs
    pruner.on_start(state)
    ours = [sum(begin <= epoch for begin in pruner.begins) % 2 == 0 for epoch in range(epochs)]
    manager = SimpleNamespace(config=yaml.safe_load((source.root / "configs/neurips" / file).read_text()))
    quiet = SimpleNamespace(info=lambda *_: None)
    plan = source.definitions("policies/manager.py", "Manager.schedule_prunes_and_recycles", logging=quiet)
    plan.schedule_prunes_and_recycles(manager)
    theirs, compressed = [], False
    for epoch in range(epochs):
        compressed = epoch in manager.pruning_epochs or (compressed and epoch not in manager.recycling_epochs)
        theirs.append(compressed)
    return Found(masks=(torch.tensor(ours), torch.tensor(theirs)))


@comparison(
    "top-kast",
    "A-Klass/torch_topkast",
    "weights after 30 steps, by magnitude; masks",
    "linear layer 64-10 on digits, 20% used and 40% trained, no penalty",
)
def top_kast_weights(source: Reference, steps: int = 30, rate: float = 0.5) -> Found:
    """The repository is not the authors'. Its product of sparse matrices is torch's own."""

    def product(indices: Tensor, values: Tensor, rows: int, columns: int, matrix: Tensor) -> Tensor:
        return torch.sparse_coo_tensor(indices, values, (rows, columns)).to_dense() @ matrix

    given = {"spmm": product, "math": math, "Optional": typing.Optional}
    layer = source.definitions("torch_topkast/topkast_linear.py", "TopKastLinear", **given).TopKastLinear
    digits = load("digits", subset=4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    # A quantile lies between two of the sizes.
    theirs = layer(64, 10, *((640 - count - 0.5) / 639 for count in (128, 256)))
    theirs.weight, theirs.bias.data = model[1].weight.detach().clone(), model[1].bias.detach().clone()
    theirs.active_fwd_weights = None
    theirs.update_active_param_set()
    inputs, targets = next(iter(digits.batches("train", 64)))
    for _ in range(steps):
        loss = F.cross_entropy(theirs(inputs.flatten(1)), targets)
        by = [theirs.active_fwd_weights, theirs.bias]
        with torch.no_grad():
            for parameter, slope in zip(by, autograd.grad(loss, by), strict=True):
                parameter -= rate * slope
        theirs.reset_justbwd_weights()
        theirs.update_active_param_set()
    settings = {"sparsity": 0.8, "penalty": 0.0, "initial": "uniform"}
    pruner = topo.pruning.sparse_training_callback(model, "top-kast", device="cpu", **settings)
    plan = Recipe(
        epochs=steps,
        batch_size=64,
        learning_rate=rate,
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        augment=False,
    )
    train(model, digits, plan, masks=pruner.masks, callbacks=[pruner], device="cpu", progress=False)
    dense = torch.zeros(10, 64)
    dense[theirs.idx_fwd] = theirs.weight[theirs.idx_fwd]
    ours = model[1].weight.detach().flatten()
    return Found((ours.abs(), dense.flatten().abs()), (ours != 0, dense.flatten() != 0))
