"""Pruners of trained networks, weight by weight."""

from __future__ import annotations

import copy
import types
from types import SimpleNamespace
from unittest import mock

import torch
from torch import Tensor, nn

import topo
from topo.masks import prunable_parameters

from .comparisons import SPARSITY, Found, comparison, flat
from .networks import float64, images, layers_of, network, prune, score
from .references import CPU, Reference


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
