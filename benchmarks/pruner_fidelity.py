"""Scores and masks of the pruners beside those of public implementations, on the same weights and the same batch.

    python benchmarks/pruner_fidelity.py [--references ../references] [--output FILE] [--only ALGORITHM ...]

The folder of references holds clones of the GitHub repositories in `REPOSITORIES`, each under its name without the
owner and at the commit given there; `--list` prints the commands that clone them. torch-pruning is the installed
package. A reference that is not there or does not run is skipped, and the record says why. Their code runs unchanged,
but for what old interfaces need: `.cuda()` stays on the CPU, packages that a function does not use are empty stand-ins,
and from files that Python no longer reads or that start a training when imported, single functions are taken. One
thread, on the CPU, without any training; about ten minutes.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import importlib.metadata
import io
import json
import platform
import random
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import scipy
import torch
from measuring import write_record
from torch import Tensor, nn

import topo
from topo.masks import prunable_parameters
from topo.pruning.allocation import er_share, erk_share, layer_counts
from topo.pruning.dynamic.bipartite import ch2_l3n, ch3_l3p, link_scores
from topo.pruning.initial.grasp import hessian_gradient
from topo.pruning.structured.l0 import hard_concrete, mean_gate, probability_open
from topo.pruning.task import Task
from topo.torchvision_import import import_torchvision

REPOSITORIES = {
    "alecwangcq/GraSP": "f17d87ac537bfce476ac2424171a8b6eb56499db",
    "AMLab-Amsterdam/L0_regularization": "39a5fe68062c9b8540dba732339c1f5def451f1b",
    "biomedical-cybernetics/Cannistraci-Hebb-Training-Soft-Rule-": "1f91f316ce449024ea8ed0ef73d819c14bfdd310",
    "boone891214/MEST": "a4280265512564928c322fb078c33fe5b76ca87c",
    "facebookresearch/open_lth": "2ce732fe48abd5a80c10a153c45d397b048e980c",
    "ganguli-lab/Synaptic-Flow": "9dfa57aa4012c34028ee646d367f18e32f0e3bc7",
    "google-research/rigl": "d39fc7d46505cb3196cb1edeb32ed0b6dd44c0f9",
    "he-y/filter-pruning-geometric-median": "44fbab47b246e8b11bc8008a7bebfe06c0e391b8",
    "IST-DASLab/OBC": "9b7979bfc9ee20d87db553823a32ee9890beaa99",
    "IST-DASLab/sparsegpt": "147d2159dc4f3e9f73e47b32c04d7b3708f44436",
    "jaeho-lee/layer-adaptive-sparsity": "94e53b1c45c41add98b5c9bc3b03e7203a620221",
    "lmbxmu/HRank": "c03ac851ec93413a6937a477490217e3ba4f8156",
    "locuslab/wanda": "8e8fc87b4a2f9955baa7e76e64d5fce7fa8724a6",
    "mil-ad/prospr": "a92177989f4480f1f2b43a48b3e18a6597ebba6d",
    "mil-ad/snip": "883c8050d88554a8d85083013d7d1ddd7ead54c4",
    "naver/force": "7494eed332b0494c283d6f3a2ed7a033895a6ccb",
    "Shiweiliuiiiiiii/In-Time-Over-Parameterization": "1b6a89e6a467c8fc09f5c9571927ca5ad7c7ef00",
    "ShreyasMalakarjunPatil/PHEW": "c4a0d40be8582a8ea51a4eb01338202f62277225",
    "TimDettmers/sparse_learning": "e19ff16c475462d50ad247ec2927113617662a4e",
}
TORCH_PRUNING = "VainF/Torch-Pruning"
SPARSITY = 0.9
CPU = torch.device("cpu")


# ---- references


class Skipped(Exception):
    """Why a comparison was not made."""


class Reference:
    """A clone of a repository, whose modules are imported one by one and leave nothing behind."""

    def __init__(self, folder: Path, repository: str) -> None:
        self.root = folder / repository.split("/")[1]
        if not self.root.is_dir():
            raise Skipped("not in the folder of references")

    @property
    def commit(self) -> str:
        command = ["git", "-C", str(self.root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def module(self, name: str, folder: str = "", **stubs: Any) -> Any:
        """A module by its dotted name below `folder`; `stubs` take the place of packages that it does not use."""
        place = str(self.root / folder)
        before = dict(sys.modules)
        sys.path.insert(0, place)
        try:
            sys.modules.update({key.replace("__", "."): value for key, value in stubs.items()})
            return importlib.import_module(name)
        finally:
            sys.path.remove(place)
            for key in set(sys.modules) - set(before):
                origin = getattr(sys.modules[key], "__file__", None) or ""
                if key.replace(".", "__") in stubs or not origin or origin.startswith(str(self.root)):
                    del sys.modules[key]

    def definitions(self, path: str, *names: str, replace: Mapping[str, str] | None = None, **given: Any) -> Any:
        """Functions and classes of a file that cannot be imported; methods are named ``Class.method``."""
        text = (self.root / path).read_text()
        for old, new in (replace or {}).items():
            text = text.replace(old, new)
        nodes = {}
        for node in ast.parse(text).body:
            nodes[getattr(node, "name", None)] = node
            for child in node.body if isinstance(node, ast.ClassDef) else ():
                nodes[f"{node.name}.{getattr(child, 'name', None)}"] = child
        tree = ast.Module([nodes[name] for name in names], [])
        space: dict[str, Any] = {"torch": torch, "np": np, "nn": nn, "Mask": Tensor, **given}
        exec(compile(tree, path, "exec"), space)
        return SimpleNamespace(**{name.split(".")[-1]: space[name.split(".")[-1]] for name in names})


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Code that asks for CUDA without looking stays on the CPU."""
    with (
        mock.patch.object(Tensor, "cuda", lambda self, *_, **__: self),
        mock.patch.object(torch.cuda, "synchronize", lambda *_: None),
    ):
        yield


# ---- comparisons


@dataclass(frozen=True)
class Found:
    """Scores of both sides, or masks, or both: flat tensors (or lists of them), the same weights in the same order."""

    scores: tuple[Tensor, Tensor] | None = None
    masks: tuple[Tensor, Tensor] | None = None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """One row of the record; `explanation` is there where the agreement is below .999."""

    algorithm: str
    reference: str
    what: str
    setting: str
    run: Callable[..., Found]
    explanation: str


COMPARISONS: list[Comparison] = []


def comparison(
    algorithm: str, reference: str, what: str, setting: str, explanation: str = "", **options: Any
) -> Callable[[Callable[..., Found]], Callable[..., Found]]:
    """Register a comparison; `options` are handed to the function, which may be registered several times."""

    def register(function: Callable[..., Found]) -> Callable[..., Found]:
        def run(source: Reference | None) -> Found:
            return function(source, **options)

        COMPARISONS.append(Comparison(algorithm, reference, what, setting, run, explanation))
        return function

    return register


def flat(tensors: Mapping[str, Tensor] | Sequence[Tensor]) -> Tensor:
    values = tensors.values() if isinstance(tensors, Mapping) else tensors
    return torch.cat([value.detach().flatten() for value in values])


def top(scores: Tensor, kept: int) -> Tensor:
    mask = torch.zeros(scores.shape, dtype=torch.bool)
    mask[scores.double().topk(kept).indices] = True
    return mask


def row_of(made: Comparison, commit: str, found: Found) -> dict[str, Any]:
    """Rank correlation of the scores, and the share of the weights kept by either side that both keep."""
    spearman = None
    masks = found.masks
    if found.scores is not None:
        ours, theirs = (side.double() for side in found.scores)
        spearman = float(scipy.stats.spearmanr(ours.numpy(), theirs.numpy()).statistic)
        masks = masks or tuple(top(side, max(1, round((1 - SPARSITY) * len(side)))) for side in (ours, theirs))
    ours, theirs = (side.bool() for side in masks)
    overlap = float((ours & theirs).sum() / (ours | theirs).sum())
    low = min(overlap, overlap if spearman is None else spearman) < 0.999
    return {
        "algorithm": made.algorithm,
        "reference": made.reference,
        "commit": commit,
        "what": made.what,
        "setting": made.setting,
        "n": len(ours),
        "kept": [int(ours.sum()), int(theirs.sum())],
        "spearman": None if spearman is None else round(spearman, 6),
        "mask_overlap": round(overlap, 6),
        "explanation": made.explanation + found.note if low else "",
    }


def compare(made: Comparison, folder: Path) -> dict[str, Any]:
    """The row of a comparison, or the reason why there is none."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    root = str(folder)
    try:
        if made.reference == TORCH_PRUNING:
            source, commit = None, f"release {importlib.metadata.version('torch-pruning')}"
        else:
            source = Reference(folder, made.reference)
            root, commit = str(source.root), source.commit
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), on_cpu():
            return row_of(made, commit, made.run(source))
    except Skipped as reason:
        why = str(reason)
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}".replace(root, "").replace(str(folder), "")
    return {
        "algorithm": made.algorithm,
        "reference": made.reference,
        "what": made.what,
        "setting": made.setting,
        "skipped": why,
    }


# ---- the same weights and the same batch


def network(name: str = "resnet20", trained: bool = False, shape: Sequence[int] = (3, 32, 32), **settings: Any) -> Any:
    """A network in float64; with `trained`, its norms and biases are not those of an untrained one."""
    model = topo.models.build(name, input_shape=tuple(shape), n_classes=10, seed=0, **settings).double()
    return disturbed(model) if trained else model


def disturbed(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)

    def uniform(size: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(size, generator=generator, dtype=torch.float64)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                size = module.num_features
                module.weight.copy_(uniform(size, 0.5, 1.5))
                module.running_mean.copy_(uniform(size, -0.2, 0.2))
                module.running_var.copy_(uniform(size, 0.5, 1.5))
            if getattr(module, "bias", None) is not None:
                module.bias.copy_(uniform(len(module.bias), -0.2, 0.2))
    return model


def images(count: int, shape: Sequence[int] = (3, 32, 32), seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random-normal images with as many of each of ten classes, in the order of the classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64), torch.arange(count) * 10 // count


def score(model: nn.Module, name: str, **settings: Any) -> dict[str, Tensor]:
    return topo.pruning.score(model, name, device="cpu", **settings)


def prune(model: nn.Module, name: str, sparsity: float = SPARSITY, **settings: Any) -> dict[str, Tensor]:
    found = topo.prune(model, name, sparsity=sparsity, device="cpu", **settings)
    return {key: found[key] for key in found}


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Weight name -> linear layer or convolution, in the order of the modules."""
    return {f"{n}.weight": m for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}


class Probabilities(nn.Module):
    """Log-probabilities in the place of logits, for losses that ask for them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).log_softmax(1)


# ---- at initialisation


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


@contextlib.contextmanager
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


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


# ---- how many weights a layer keeps


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


# ---- dense to sparse


@comparison("magnitude", "jaeho-lee/layer-adaptive-sparsity", "masks", "resnet20", pruner="glob")
@comparison("magnitude-layerwise", "jaeho-lee/layer-adaptive-sparsity", "masks", "resnet20", pruner="unif")
@comparison("lamp", "jaeho-lee/layer-adaptive-sparsity", "scores; masks", "resnet20", pruner="lamp")
def magnitude_masks(source: Reference, pruner: str) -> Found:
    model = network()
    pruners = source.module("tools.pruners")
    theirs = copy.deepcopy(model)
    pruners.prune_weights_reparam(theirs)
    with float64():
        pruners.weight_pruner_loader(pruner)(theirs, SPARSITY)
    name = {"glob": "magnitude", "unif": "magnitude-layerwise", "lamp": "lamp"}[pruner]
    masks = flat(prune(model, name)), flat(_masks(theirs))
    if pruner != "lamp":
        return Found(masks=masks)
    with float64():
        scores = [pruners._normalize_scores(layer.weight.detach() ** 2) for layer in layers_of(model).values()]
    return Found((flat(score(model, "lamp")), flat(scores)), masks)


def _masks(model: nn.Module) -> list[Tensor]:
    return [buffer for name, buffer in model.named_buffers() if name.endswith("weight_mask")]


@comparison("imp", "facebookresearch/open_lth", "masks of one round", "resnet20, a fifth of the dense weights removed")
def imp_masks(source: Reference) -> Found:
    model = network()
    strategy = source.module("pruning.registry", models=mock.MagicMock(), models__base=mock.MagicMock()).sparse_global
    names = list(prunable_parameters(model))
    trained = SimpleNamespace(
        prunable_layer_names=names, named_parameters=model.named_parameters, state_dict=model.state_dict
    )
    settings = SimpleNamespace(pruning_fraction=0.2, pruning_layers_to_ignore=None)
    theirs = strategy.Strategy.prune(settings, trained)
    ours = prune(model, "magnitude", sparsity=0.2)
    return Found(masks=(flat(ours), flat([torch.as_tensor(theirs[name]) for name in ours])))


def layer_inputs(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """What enters each linear layer and convolution of the dense network."""
    found, handles = {}, []
    for name, layer in layers_of(model).items():
        handles.append(layer.register_forward_pre_hook(lambda _, given, name=name: found.update({name: given[0]})))
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    return found


WIDE = {"name": "digits-mlp", "shape": (1, 16, 20), "widths": (160, 80)}


@comparison(
    "wanda", "locuslab/wanda", "scores", "linear layers 320-160-80-10, inputs of the dense network, 100 samples"
)
def wanda_scores(source: Reference) -> Found:
    model, data = network(**WIDE).eval(), images(100, WIDE["shape"])
    wrapper = source.module("lib.layerwrapper").WrappedGPT
    theirs = []
    for name, inputs in layer_inputs(model, data[0]).items():
        layer = layers_of(model)[name]
        wrapped = wrapper(layer)
        wrapped.add_batch(inputs, None)
        theirs.append(layer.weight.abs() * wrapped.scaler_row.sqrt())
    return Found((flat(score(model, "wanda", data=data, sequential=False)), flat(theirs)))


class Blocks(nn.Module):
    """What the reference asks of a transformer, the blocks without attention."""

    def __init__(self, width: int = 40, depth: int = 3) -> None:
        super().__init__()
        self.patch_embed, self.pos_drop = nn.Identity(), nn.Identity()
        self.cls_token, self.pos_embed = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 9, width))
        block = [nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)]
        self.blocks = nn.ModuleList(nn.Sequential(*copy.deepcopy(block)) for _ in range(depth))
        for layer in layers_of(self).values():
            nn.init.normal_(layer.weight, std=0.2)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pos_drop(torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], 1) + self.pos_embed)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


@comparison(
    "wanda", "locuslab/wanda", "masks", "three blocks of two linear layers, its own pass over a vision transformer"
)
@comparison(
    "wanda",
    "locuslab/wanda",
    "masks",
    "the same, ours with the inputs that come out of the pruned layers",
    "The reference's pass for images takes the inputs of the dense network, ours by default those that "
    "the pruned layers "
    "before hand on, as the paper and the reference's pass for language models do.",
    sequential=True,
)
def wanda_masks(source: Reference, sequential: bool = False) -> Found:
    model = Blocks().eval()
    inputs = torch.randn(64, 8, 40)
    theirs = copy.deepcopy(model)
    options = SimpleNamespace(prune_metric="wanda", prune_granularity="row", sparsity=SPARSITY)
    with torch.no_grad():
        source.module("prune_utils", "image_classifiers").prune_vit(options, theirs, inputs, CPU)
    data = (inputs, torch.arange(64) % 10)
    ours = prune(model, "wanda", data=data, include="blocks.*", sequential=sequential)
    return Found(masks=(flat(ours), flat([theirs.get_parameter(name) != 0 for name in ours])))


@comparison(
    "sparsegpt",
    "IST-DASLab/sparsegpt",
    "adjusted weights, by magnitude; masks",
    "linear layers 320-160-80-10, inputs of the dense network, 500 samples, blocks of 128",
    "The reference rounds the count of every block of 128 columns on its own and removes the weight at "
    "the threshold as "
    "well, up to one more a block.",
)
@comparison(
    "sparsegpt",
    "IST-DASLab/sparsegpt",
    "adjusted weights, by magnitude; masks",
    "the same, 2:4",
    pattern="2:4",
)
def sparsegpt_masks(source: Reference, pattern: str | None = None) -> Found:
    model, (inputs, targets) = network(**WIDE).eval().float(), images(500, WIDE["shape"])
    data = inputs.float(), targets
    stub = types.ModuleType("transformers")
    stub.Conv1D = type("Conv1D", (), {})
    theirs = []
    solver = source.module("sparsegpt", transformers=stub).SparseGPT
    for name, given in layer_inputs(model, data[0]).items():
        layer = copy.deepcopy(layers_of(model)[name])
        solved = solver(layer)
        solved.add_batch(given, None)
        solved.fasterprune(SPARSITY, *((2, 4) if pattern else (0, 0)))
        theirs.append(layer.weight.detach())
    sparsity = 0.5 if pattern else SPARSITY
    found = topo.prune(
        model, "sparsegpt", sparsity=sparsity, data=data, samples=500, sequential=False, pattern=pattern, device="cpu"
    )
    ours = flat([found.state[name] for name in found])
    return Found((ours.abs(), flat(theirs).abs()), (ours != 0, flat(theirs) != 0))


@comparison(
    "obs", "IST-DASLab/OBC", "adjusted weights, by magnitude; masks", "one linear layer 24-10, weight by weight"
)
def obs_masks(source: Reference) -> Found:
    model = nn.Sequential(nn.Linear(24, 10)).double()
    inputs = torch.randn(100, 24, dtype=torch.float64) @ torch.randn(24, 24, dtype=torch.float64)
    layer = copy.deepcopy(model[0])
    with float64():
        solver = source.module("trueobs").TrueOBS(layer, rel_damp=0.01)
        solver.add_batch(inputs, None)
        with mock.patch.object(Tensor, "float", Tensor.double):
            solver.prepare_unstr()
            theirs = solver.prune_unstr([SPARSITY])[0].flatten()
    # So many rounds that each removes one weight.
    settings = {"rounds": 5000, "samples": 100, "damping": 0.01}
    data = inputs, torch.arange(100) % 10
    found = topo.prune(model, "obs", sparsity=SPARSITY, data=data, device="cpu", **settings)
    ours = found.state["0.weight"].flatten()
    return Found((ours.abs(), theirs.abs()), (ours != 0, theirs != 0))


# ---- structured


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


# ---- dynamic


@dataclass
class Update:
    """A network between two steps of training: masks, weights under them, gradients by all weights, momentum."""

    model: nn.Module
    masks: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    momentum: dict[str, Tensor]

    def after(self, callback: Any, fraction: float) -> dict[str, Tensor]:
        """The masks that one update of ours leaves."""
        state = SimpleNamespace(
            model=copy.deepcopy(self.model),
            optimizer=torch.optim.SGD([torch.zeros(1)], 0.1),
            masks=self.masks,
            step=1,
            steps_per_epoch=100,
            total_steps=100,
        )
        for name, p in state.model.named_parameters():
            p.grad = self.model.get_parameter(name).grad
        state.hold = lambda masks: setattr(state, "masks", masks)
        callback.masks, callback.annealing, callback.drop_fraction = self.masks, "constant", fraction
        callback.on_start(state)
        callback.update(state)
        return {name: state.masks[name] for name in self.masks}


def update(initial: str = "erk", power: float = 0.0) -> Update:
    """Momentum is as large as the size of the layer to this power."""
    model = network()
    masks = prune(model, initial, sparsity=0.8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    momentum = {}
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            if name in masks:
                weight *= masks[name]
                random = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
                momentum[name] = random * weight.numel() ** power
                optimizer.state[weight]["momentum_buffer"] = momentum[name].clone()
    return Update(model, masks, optimizer, momentum)


def training_callback(made: Update, name: str, **settings: Any) -> Any:
    return topo.pruning.sparse_training_callback(made.model, name, sparsity=0.8, device="cpu", **settings)


def changes(before: Mapping[str, Tensor], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Found:
    """Of the weights, those that the update dropped or grew: the overlap of what stays in any case says little."""
    moved = [flat([side[name].bool() ^ before[name] for name in before]) for side in (ours, theirs)]
    return Found(masks=(moved[0], moved[1]))


ITOP = "Shiweiliuiiiiiii/In-Time-Over-Parameterization"
FRACTION = 0.3


def itop_masking(source: Reference, made: Update, **modes: str) -> Any:
    options = SimpleNamespace(fix=False, update_frequency=100)
    theirs = source.module("sparselearning.core").Masking(
        made.optimizer, death_rate=FRACTION, redistribution_mode="none", args=options, **modes
    )
    theirs.modules = [made.model]
    theirs.masks = {name: mask.double() for name, mask in made.masks.items()}
    return theirs


@comparison(
    "rigl",
    ITOP,
    "weights dropped and grown by one update",
    "resnet20, 30% of the kept weights",
    "The reference rounds the count of a layer up and ours down, so that it drops and grows one weight "
    "more a layer; the "
    "order of the weights is the same.",
    name="rigl",
)
@comparison(
    "itop",
    ITOP,
    "weights dropped and grown by one update",
    "resnet20, 30% of the kept weights",
    "As for rigl: one weight more a layer, because the reference rounds up.",
    name="itop",
)
def itop_changes(source: Reference, name: str) -> Found:
    made = update()
    theirs = itop_masking(source, made, death_mode="magnitude", growth_mode="gradient")
    ours = made.after(training_callback(made, name), FRACTION)
    before = {key: mask.clone() for key, mask in made.masks.items()}
    theirs.truncate_weights()
    return changes(before, ours, theirs.masks)


def dropped(before: Mapping[str, Tensor], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Found:
    gone = [flat([before[name] & ~side[name].bool() for name in before]) for side in (ours, theirs)]
    return Found(masks=(gone[0], gone[1]))


def ours_without(made: Update, name: str, **settings: Any) -> dict[str, Tensor]:
    """The masks of an algorithm of ours after the drop, before the growth."""
    found = training_callback(made, name, **settings)
    weights = {key: made.model.get_parameter(key) for key in made.masks}
    return found.dropped(weights, made.masks, FRACTION)


@comparison(
    "set",
    ITOP,
    "weights dropped by one update",
    "resnet20, 30% of the kept weights, death by magnitude",
    "SET drops the same share of the positive and of the negative weights, as its paper has it; this mode of the "
    "reference, which its authors use for SET, ranks magnitudes of both together.",
    mode="magnitude",
)
@comparison(
    "set",
    ITOP,
    "weights dropped by one update",
    "resnet20, 30% of the kept weights, death=SET",
    "Of the negative weights the reference keeps the share that it should drop (the 30% furthest from zero, where "
    "70% should stay), so that its count falls.",
    mode="SET",
)
def set_drops(source: Reference, mode: str) -> Found:
    made = update()
    theirs = itop_masking(source, made, death_mode=mode, growth_mode="random")
    left = {}
    for name, mask in made.masks.items():
        theirs.name2nonzeros[name] = int(mask.sum())
        theirs.name2zeros[name] = mask.numel() - int(mask.sum())
        death = {"magnitude": theirs.magnitude_death, "SET": theirs.magnitude_and_negativity_death}[mode]
        left[name] = death(mask, made.model.get_parameter(name).detach(), name)
    return dropped(made.masks, ours_without(made, "set"), left)


@comparison(
    "mest",
    "boone891214/MEST",
    "weights dropped by one update",
    "resnet20, 30% of the kept weights, lambda 0.01",
    "",
)
def mest_drops(source: Reference) -> Found:
    made = update()
    prune_weight = source.module("prune_utils.utils_pr").weight_pruning
    options = SimpleNamespace(sp_lmd=0.01, sp_admm_sparsity_type="irregular")
    ours, left = ours_without(made, "mest", gradient_weight=0.01), {}
    for name, mask in made.masks.items():
        weight = made.model.get_parameter(name)
        weight.grad *= mask  # its training holds the gradients of pruned weights at zero
        sparsity = 1 - float(ours[name].sum()) / mask.numel()
        left[name] = prune_weight(options, None, name, weight, sparsity)[0]
    return dropped(made.masks, ours, left)


@comparison(
    "snfs",
    "TimDettmers/sparse_learning",
    "weights dropped and grown by one update",
    "resnet20, 30% of the kept weights, uniform start, no layer becomes full",
    "The reference rounds what a layer drops up and what it grows down and ours keeps the sum, which is "
    "a weight or two a "
    "layer.",
    initial="uniform",
    power=1.0,
)
@comparison(
    "snfs",
    "TimDettmers/sparse_learning",
    "weights dropped and grown by one update",
    "resnet20, 30% of the kept weights, ERK start, small layers become full",
    "The reference drops nothing in dense layers with much momentum, fills layers to 99% and spreads what does not fit "
    "evenly over all layers, ours in proportion to the momentum.",
    initial="erk",
    power=-1.0,
)
def snfs_changes(source: Reference, initial: str, power: float) -> Found:
    made = update(initial, power)
    ours = training_callback(made, "snfs")
    ours.momentum = {name: momentum.clone() for name, momentum in made.momentum.items()}
    before = {name: mask.clone() for name, mask in made.masks.items()}
    after = made.after(ours, FRACTION)
    theirs = source.module("sparselearning.core").Masking(made.optimizer, None, prune_rate=FRACTION)
    theirs.modules = [made.model]
    theirs.masks = {name: mask.double() for name, mask in made.masks.items()}
    theirs.baseline_nonzero = sum(int(mask.sum()) for mask in before.values())
    theirs.init_growth_prune_and_redist()
    theirs.truncate_weights()
    return changes(before, after, theirs.masks)


CHT = "biomedical-cybernetics/Cannistraci-Hebb-Training-Soft-Rule-"


@comparison(
    "chts", CHT, "scores of missing links, CH2-L3n", "layer of 100 x 80 with 10% of its links", method="CH2_L3n"
)
@comparison("cht", CHT, "scores of missing links, CH3-L3p", "layer of 100 x 80 with 10% of its links", method="CH3_L3p")
def cht_scores(source: Reference, method: str) -> Found:
    given = {}
    if method == "CH3_L3p":
        try:
            given["CH_scores"] = importlib.import_module("CH_scores")
        except ImportError:
            raise Skipped("its extension CH_scores is not installed") from None
        given["csr_matrix"] = scipy.sparse.csr_matrix
        given |= vars(source.definitions("llm/dst_scheduler.py", "transform_bi_to_mo"))
    path = "DSTScheduler._scores_for_regrowth_ch"
    find = source.definitions("llm/dst_scheduler.py", path, **given)._scores_for_regrowth_ch
    mask = top(torch.rand(8000), 800).view(100, 80)
    weight = torch.zeros(100, 80)
    theirs = find(None, method=method.lower(), ch_method=method[:3], current_mask=mask, w=weight)
    ours = link_scores(mask, {"CH2_L3n": ch2_l3n, "CH3_L3p": ch3_l3p}[method])
    return Found((ours[~mask], theirs[~mask]))


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


# ---- the record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--references", type=Path, default=Path("../references"), help="folder of the clones")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "pruner_fidelity.json")
    parser.add_argument("--only", nargs="*", metavar="ALGORITHM", help="algorithms to compare; rows of others stay")
    parser.add_argument("--list", action="store_true", help="print how to clone the references, and stop")
    options = parser.parse_args()
    if options.list:
        for name, commit in REPOSITORIES.items():
            folder = name.split("/")[1]
            print(f"git clone https://github.com/{name} {folder} && git -C {folder} checkout {commit}")
        return
    torch.set_num_threads(1)
    import_torchvision()  # which several references import
    rows, kept = [], []
    if options.only and options.output.exists():
        kept = [r for r in json.loads(options.output.read_text())["rows"] if r["algorithm"] not in options.only]
    for made in COMPARISONS:
        if not options.only or made.algorithm in options.only:
            rows.append(compare(made, options.references.resolve()))
            print(json.dumps(rows[-1]), flush=True)
    rows = sorted(kept + rows, key=lambda row: row["algorithm"])
    result = {
        "what": "Scores and masks of topo's pruners and of public implementations, the same weights and the same batch",
        "command": "python benchmarks/pruner_fidelity.py --references FOLDER",
        "references": "clones as python benchmarks/pruner_fidelity.py --list prints them, and torch-pruning",
        "spearman": "rank correlation of the scores",
        "mask_overlap": "weights that both keep, as a share of those that either keeps; of the 10% largest scores "
        "where the row is of scores alone",
        "kept": "by ours and by the reference",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "not_compared": sorted(set(topo.pruning.PRUNERS) - {row["algorithm"] for row in rows}),
        "rows": rows,
    }
    write_record(options.output, result)


if __name__ == "__main__":
    main()
