"""Pruners that move weights while they train."""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import logging
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import scipy
import torch
from torch import Tensor, nn

import topo
from topo.pruning.allocation import keep_in_rows
from topo.pruning.dynamic.bipartite import ch2_l3n, ch3_l3p, link_scores

from .comparisons import Found, comparison, flat, top
from .networks import network, prune
from .references import Reference, Skipped


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
            masks=topo.Masks(self.masks),
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


def update(
    initial: str = "erk", power: float = 0.0, *, sparsity: float = 0.8, even: Callable[[Tensor], Tensor] | None = None
) -> Update:
    """Momentum is as large as the size of the layer to this power; `even` makes other masks of those drawn."""
    model = network()
    masks: Any = prune(model, initial, sparsity=sparsity)
    masks = masks if even is None else {name: even(mask) for name, mask in masks.items()}
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


@comparison(
    "granet",
    "VITA-Group/GraNet",
    "weights dropped and grown by one update",
    "resnet20, from 50% of the weights by the cubic schedule towards 20%, 30% of the rest dropped and grown",
)
def granet_changes(source: Reference) -> Found:
    made = update(sparsity=0.5)
    before = {name: mask.clone() for name, mask in made.masks.items()}
    ours = made.after(training_callback(made, "granet", prune_until=0.68), FRACTION)
    options = SimpleNamespace(
        **{"fix": False, "update_frequency": 1, "sparse_init": "ERK", "method": "GraNet", "multiplier": 1},
        **{"init_prune_epoch": 0, "final_prune_epoch": 68, "init_density": 0.5, "final_density": 0.2},
    )
    theirs = source.module("sparselearning.core", "CIFAR").Masking(
        made.optimizer, FRACTION, growth_mode="gradient", redistribution_mode="none", args=options, train_loader=[None]
    )
    theirs.modules = [made.model]
    theirs.masks = {name: mask.double() for name, mask in made.masks.items()}
    theirs.pruning(1)
    theirs.truncate_weights(1)
    return changes(before, ours, theirs.masks)


def even_rows(mask: Tensor) -> Tensor:
    """As many weights in every row, drawn at random, which the reference takes for granted."""
    rows = mask.flatten(1)
    return keep_in_rows(torch.rand(rows.shape), len(rows) * (int(rows.sum()) // len(rows))).view(mask.shape)


@comparison(
    "srigl",
    "calgaryml/condensed-sparsity",
    "weights dropped and grown by one update",
    "resnet20, as many weights in every row, gamma_sal 0.3",
    share=0.3,
)
@comparison(
    "srigl",
    "calgaryml/condensed-sparsity",
    "weights dropped and grown by one update",
    "resnet20, as many weights in every row, gamma_sal 0.9",
    "Neurons are ablated. Where the others have fewer weights than are to be kept, the reference keeps pruned ones "
    "beside them, in no order, and ours grows by gradients; it rounds the fan-in down, ours keeps the count of "
    "weights.",
    share=0.9,
)
def srigl_changes(source: Reference, share: float) -> Found:
    made = update(even=even_rows)
    before = {name: mask.clone() for name, mask in made.masks.items()}
    ours = made.after(training_callback(made, "srigl", salient=share), FRACTION)
    names = {name: getattr(typing, name) for name in ("List", "Tuple", "Union", "Optional", "Dict", "Any")}
    helpers = ("get_fan_in_after_ablation", "get_fan_in_tensor")
    given = vars(source.definitions("src/rigl_torch/utils/rigl_utils.py", *helpers, **names))
    steps = ("_get_neurons_to_ablate", "_get_drop_mask", "_get_grow_mask")
    path = "src/rigl_torch/rigl_constant_fan.py"
    step = source.definitions(path, *(f"RigLConstFanScheduler.{name}" for name in steps), math=math, **names, **given)
    made_of = SimpleNamespace(
        dynamic_ablation=True,
        min_salient_weights_per_neuron=share,
        use_sparse_const_fan_in_for_ablation=True,
        static_ablation=False,
        static_ablated_filters=[0] * len(before),
        _min_sal_per_layer=[],
        _logger=logging.getLogger("reference"),
    )
    theirs = {}
    for name, mask in made.masks.items():
        weight = made.model.get_parameter(name).detach()
        ones = int(mask.sum())
        if ones == mask.numel():
            theirs[name] = mask  # it passes over dense layers
            continue
        pruned = int(ones * FRACTION)
        # A hair less, for the reference rounds the count that it computes from the sparsity down.
        sparsity = 1 - ones / mask.numel() - 1e-9
        scores = {"score_drop": weight.abs(), "score_grow": made.model.get_parameter(name).grad.abs()}
        counts = {"n_keep": ones - pruned, "n_prune": pruned, "n_ones": ones}
        last = name == list(before)[-1]
        ablated = (
            []
            if last
            else step._get_neurons_to_ablate(
                made_of, **scores, **counts, sparsity=sparsity, mask=mask, weight=weight, mod_name=name
            )
        )
        fan_in = given["get_fan_in_after_ablation"](weight, len(ablated), sparsity)
        left = step._get_drop_mask(made_of, scores["score_drop"], ones - pruned, ablated, fan_in)
        theirs[name] = left | step._get_grow_mask(made_of, scores["score_grow"], left, fan_in, ablated)
    return changes(before, ours, theirs)


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
