"""What a comparison is, all of them, and the row that each becomes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from .references import TORCH_PRUNING, Reference, Skipped, on_cpu

SPARSITY = 0.9


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
