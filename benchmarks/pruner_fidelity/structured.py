"""Pruners of whole units."""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import scipy
import torch
from torch import Tensor, nn

from topo.pruning.structured.l0 import hard_concrete, mean_gate, probability_open

from .comparisons import Found, comparison, flat, top
from .networks import disturbed, images, layers_of, network, score
from .references import TORCH_PRUNING, Reference


def ranked(groups: Sequence[Tensor]) -> Tensor:
    """Ranks inside each layer as shares of its size, so that layers compare."""
    return torch.cat([(scipy_rank(group) - 0.5) / len(group) for group in groups])


def scipy_rank(values: Tensor) -> Tensor:
    return torch.as_tensor(scipy.stats.rankdata(values.detach().double().numpy()))


def unit_scores(model: nn.Module, name: str, shape: Sequence[int], **settings: Any) -> dict[str, Tensor]:
    """Scores of what every layer writes, where it may be removed: weight name -> (outputs,)."""
    settings = settings if "data" in settings else {"input_shape": shape, **settings}
    found = score(model, name, **settings)
    each = {key: value.flatten(1)[:, 0] for key, value in found.items()}
    return {key: value for key, value in each.items() if bool(value.isfinite().all())}


def group_importances(model: nn.Module, names: Sequence[str], shape: Sequence[int], importance: Any) -> list[Tensor]:
    """The importance by torch-pruning of the outputs of each layer, with all that is coupled to them."""
    pruning = importlib.import_module("torch_pruning")
    graph = pruning.DependencyGraph().build_dependency(model, torch.zeros(1, *shape, dtype=torch.float64))
    found = []
    for name in names:
        layer = layers_of(model)[name]
        prune = pruning.prune_conv_out_channels if isinstance(layer, nn.Conv2d) else pruning.prune_linear_out_channels
        found.append(importance(graph.get_pruning_group(layer, prune, idxs=list(range(layer.weight.shape[0])))))
    return found


def no_common_unit(model: nn.Module, scores: Mapping[str, Tensor]) -> list[str]:
    """The layers of a network of the digits that are coupled to no other one."""
    return [name for name in scores if name.endswith("conv1.weight")]


@comparison(
    "l1-filter", TORCH_PRUNING, "scores of units", "resnet20, first convolutions of the blocks", kind="l1-filter"
)
@comparison(
    "l2-filter", TORCH_PRUNING, "scores of units", "resnet20, first convolutions of the blocks", kind="l2-filter"
)
@comparison(
    "group-norm", TORCH_PRUNING, "scores of units", "resnet20, projection shortcuts, all groups", kind="group-norm"
)
@comparison("slimming", TORCH_PRUNING, "scores of units", "resnet20, first convolutions of the blocks", kind="slimming")
@comparison(
    "taylor",
    TORCH_PRUNING,
    "scores of units",
    "resnet20, first convolutions of the blocks, filters that write, 64 images",
    kind="taylor",
)
@comparison(
    "fpgm",
    TORCH_PRUNING,
    "scores of units",
    "resnet20, first convolutions of the blocks",
    "With its default p=2 the reference measures distances between the squared weights and adds those of "
    "the slices that "
    "read the unit; the paper, and the authors' code (the other row), take distances between the filters.",
    kind="fpgm",
)
def torch_pruning_scores(source: None, kind: str) -> Found:
    kinds = importlib.import_module("torch_pruning").importance
    shape, data = (3, 32, 32), images(64)
    model = network(trained=True, shortcut="projection").eval()
    importance = {
        "l1-filter": lambda: kinds.MagnitudeImportance(p=1, group_reduction="first", normalizer=None),
        "l2-filter": lambda: kinds.MagnitudeImportance(p=2, group_reduction="first", normalizer=None),
        "group-norm": lambda: kinds.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean"),
        "slimming": lambda: kinds.BNScaleImportance(normalizer=None),
        "taylor": lambda: kinds.GroupTaylorImportance(
            group_reduction="first", normalizer=None, multivariable=True, target_types=[nn.Conv2d]
        ),
        "fpgm": lambda: kinds.FPGMImportance(),
    }[kind]()
    settings = {
        "slimming": {"penalty": 0, "data": data},
        "taylor": {"variant": "filter", "data": data, "samples": 64},
    }.get(kind, {})
    ours = unit_scores(model, kind, shape, **settings)
    names = list(ours) if kind == "group-norm" else no_common_unit(model, ours)
    theirs = copy.deepcopy(model)
    nn.functional.cross_entropy(theirs(data[0]), data[1]).backward()
    found = group_importances(theirs, names, shape, importance)
    if kind in ("fpgm", "l1-filter", "l2-filter"):
        return Found((ranked([ours[name] for name in names]), ranked(found)))
    return Found((flat([ours[name] for name in names]), flat(found)))


@comparison(
    "fpgm",
    "he-y/filter-pruning-geometric-median",
    "masks of filters",
    "resnet20, first convolutions of the blocks, 60% of the filters of each removed",
)
def fpgm_masks(source: Reference) -> Found:
    """`Mask` alone is taken from the script, whose other parts name an argument by what is now a keyword."""
    model = network()
    path = "pruning_cifar10.py"
    distance = importlib.import_module("scipy.spatial").distance
    mask_class = source.definitions(path, "Mask", replace={"async=True": "non_blocking=True"}, distance=distance).Mask
    ours = unit_scores(model, "fpgm", (3, 32, 32))
    kept_ours, kept_theirs = [], []
    for name in no_common_unit(model, ours):
        weight = layers_of(model)[name].weight.detach()
        code = mask_class(model).get_filter_similar(weight, 1.0, 0.6, weight.numel())
        kept_theirs.append(torch.as_tensor(code).view(len(weight), -1)[:, 0] > 0)
        kept_ours.append(top(ours[name], len(weight) - int(0.6 * len(weight))))
    return Found(masks=(flat(kept_ours), flat(kept_theirs)))


@comparison("hrank", "lmbxmu/HRank", "scores of units", "four convolutions with norms and ReLUs, 64 images")
def hrank_scores(source: Reference) -> Found:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 16, 1), (16, 24, 2), (24, 32, 2), (32, 32, 2)):
        parts += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    model = disturbed(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).double()).eval()
    data = images(64)
    with torch.no_grad():  # so that maps are of low rank, as those of a trained network
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.copy_(torch.linspace(-4, 0.5, module.num_features))
    theirs = []
    for module in model:
        if isinstance(module, nn.ReLU):
            start = {"feature_result": torch.tensor(0.0), "total": torch.tensor(0.0)}
            with mock.patch.object(torch, "matrix_rank", torch.linalg.matrix_rank, create=True):
                hook = source.definitions("rank_generation.py", "get_feature_hook", **start).get_feature_hook
                handle = module.register_forward_hook(hook)
                with torch.no_grad():
                    model(data[0])
                handle.remove()
            theirs.append(hook.__globals__["feature_result"])
    ours = list(unit_scores(model, "hrank", (3, 32, 32), data=data, samples=64).values())
    return Found((ranked(ours), ranked(theirs)))


@comparison("l0", "AMLab-Amsterdam/L0_regularization", "gates drawn from the same noise", "1,000 gates", part="gates")
@comparison("l0", "AMLab-Amsterdam/L0_regularization", "gates of the trained network", "1,000 gates", part="mean")
@comparison("l0", "AMLab-Amsterdam/L0_regularization", "chance to be open", "1,000 gates", part="chance")
def l0_gates(source: Reference, part: str) -> Found:
    with mock.patch.object(nn.init, "kaiming_normal", nn.init.kaiming_normal_, create=True):
        layer = source.module("l0_layers").L0Dense(1000, 3).double()
    noise = torch.rand(1000, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
    with torch.no_grad():
        log_alpha = layer.qz_loga.normal_(0, 2)
        ours = {
            "gates": lambda: hard_concrete(log_alpha, noise),
            "mean": lambda: mean_gate(log_alpha),
            "chance": lambda: probability_open(log_alpha),
        }[part]()
        theirs = {
            "gates": lambda: layer.quantile_concrete(noise).clamp(0, 1),
            "mean": lambda: layer.sample_z(1, sample=False)[0],
            "chance": lambda: 1 - layer.cdf_qz(0),
        }[part]()
    torch.testing.assert_close(ours, theirs)
    return Found((ours, theirs), (ours > 0.5, theirs > 0.5))
