"""Pruners at initialisation by the tangent kernel."""

from __future__ import annotations

import types
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from topo.pruning.initial import ntk_sap
from topo.pruning.schedules import exponential

from .comparisons import SPARSITY, Found, comparison, flat
from .networks import float64, prune, score
from .references import CPU, Reference

ROUNDS = 6


class Small(nn.Module):
    """Two convolutions and two linear layers of the layers of either side, with names by which PX tells its own."""

    def __init__(self, layers: Any, norms: bool) -> None:
        super().__init__()
        self.first, self.second = layers.Conv2d(2, 8, 3, bias=False), layers.Conv2d(8, 8, 3, stride=2, bias=False)
        self.bn1, self.bn2 = (layers.BatchNorm2d(8) if norms else nn.Identity() for _ in range(2))
        self.third, self.fc = layers.Linear(32, 16, bias=False), layers.Linear(16, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn2(self.second(F.relu(self.bn1(self.first(x))))))
        return self.fc(F.relu(self.third(x.flatten(1))))


def both(layers: Any, norms: bool) -> tuple[nn.Module, nn.Module]:
    """The same network of plain and of masked layers."""
    torch.manual_seed(0)
    plain, masked = Small(nn, norms), Small(layers, norms)
    masked.load_state_dict(plain.state_dict(), strict=False)
    return plain, masked


def in_rounds(pruner: Any, model: nn.Module, data: Any) -> tuple[list[Tensor], Tensor]:
    """Scores of the first round, and masks of the last one, with the numbers that ours keeps in each."""
    total = sum(mask.numel() for mask, _ in pruner.masked_parameters)
    first: list[Tensor] = []
    for density in exponential(round((1 - SPARSITY) * total) / total, ROUNDS):
        pruner.score(model, None, data, CPU)
        first = first or [pruner.scores[id(weight)].clone() for _, weight in pruner.masked_parameters]
        pruner.mask((round(density * total) - 0.01) / total, "global")  # which they round up
    return first, flat([mask for mask, _ in pruner.masked_parameters])


@comparison(
    "ntk-sap",
    "YiteWang/NTK-SAP",
    "scores; masks after 6 rounds",
    "four layers with batch norms, 3 draws of 10 inputs a round, the same draws and equal numbers kept in each round",
)
def ntk_sap_scores(source: Reference) -> Found:
    with float64():
        pruners = source.module("Pruners.pruners")
        plain, masked = both(pruners.generator.layers, norms=True)
        drawn, draw = [], ntk_sap._drawn

        def noted(*arguments: Any) -> Any:
            drawn.append(draw(*arguments))
            return drawn[-1]

        settings = {"example": (2, 8, 8), "draws": 3, "batch_size": 10}
        with mock.patch.object(ntk_sap, "_drawn", noted):
            masks = prune(plain, "ntk-sap", rounds=ROUNDS, **settings)
        draws, numbers = iter(drawn), iter(())

        def initialise() -> None:
            nonlocal numbers
            (inputs,), theta, delta = next(draws)
            with torch.no_grad():
                for name, weight in theta.items():
                    masked.get_parameter(name).copy_(weight)
            numbers = iter([inputs, *delta.values()])

        masked._initialize_weights = initialise
        theirs = pruners.NTKSAP(pruners.generator.masked_parameters(masked), ntksap_epsilon=0.01, ntksap_R=3)
        with mock.patch.object(torch, "randn_like", lambda like: next(numbers)):
            first, last = in_rounds(theirs, masked.train(), [(torch.zeros(10, 2, 8, 8), None)])
    return Found((flat(score(plain, "ntk-sap", **settings)), flat(first)), (flat(masks), last))


@comparison(
    "px",
    "iurada/px-ntk-pruning",
    "scores; masks after 6 rounds",
    "four layers without norms, 20 inputs, equal numbers kept in each round",
    norms=False,
)
@comparison(
    "px",
    "iurada/px-ntk-pruning",
    "scores; masks after 6 rounds",
    "four layers with batch norms, 20 inputs, equal numbers kept in each round",
    "The reference leaves batch norms in place in its network of paths, whose samples are all ones, so that they take "
    "the mean of what passes out again; in ours norms only scale. Without norms both agree (the other row).",
    norms=True,
)
def px_scores(source: Reference, norms: bool) -> Found:
    bars = types.ModuleType("tqdm")
    bars.tqdm = lambda steps: steps
    with float64():
        pruners = source.module("lib.pruners", tqdm=bars)
        pruners.CONFIG.dataset, pruners.CONFIG.experiment_args = "ImageNet", {}
        plain, masked = both(pruners.layers, norms)
        data = torch.randn(20, 2, 8, 8), torch.arange(20) % 10
        masks = prune(plain, "px", data=data, rounds=ROUNDS)
        theirs = pruners.PX(pruners.masked_parameters(masked))
        first, last = in_rounds(theirs, masked.eval(), [data])
        return Found((flat(score(plain, "px", data=data)), flat(first)), (flat(masks), last))


@comparison(
    "px",
    "iurada/px-ntk-pruning",
    "scores in float32 and in float64, both of the reference",
    "resnet20 of the reference at initialisation, 8 inputs",
    "The mean over places that follows the last batch norms is zero in the reference's network of paths, whatever the "
    "weights, so that its scores are rounding errors:",
)
def px_rounding(source: Reference) -> Found:
    bars = types.ModuleType("tqdm")
    bars.tqdm = lambda steps: steps
    pruners = source.module("lib.pruners", tqdm=bars)
    pruners.CONFIG.dataset, pruners.CONFIG.experiment_args = "ImageNet", {}
    found = []
    for dtype in (torch.float32, torch.float64):
        build = source.module("lib.models.lottery_resnet", lib__layers=pruners.layers).resnet20
        torch.manual_seed(0)
        model, inputs = build(10).to(dtype).eval(), torch.randn(8, 3, 32, 32).to(dtype)
        theirs = pruners.PX(pruners.masked_parameters(model))
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        theirs.score(model, None, [(inputs, None)], CPU)
        torch.set_default_dtype(before)
        found.append(flat([theirs.scores[id(weight)] for _, weight in theirs.masked_parameters]))
    note = f" the largest is {float(found[0].max()):.0e} in float32 and {float(found[1].max()):.0e} in float64."
    return Found((found[0], found[1]), note=note)
