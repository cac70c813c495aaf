"""The cells of a study: one network each, named by all that decides what becomes of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..training import Recipe
from .config import StudyConfig
from .entries import DatasetChoice, EncodingChoice, ModelChoice, PrunerChoice

__all__ = ["FORMAT", "Cell", "cells_of"]

FORMAT = 1
"""Version of what a cell computes; raised when the same settings come to give other results."""


@dataclass(frozen=True)
class Cell:
    """One network of a study: a dense baseline when `pruner` is None, else a sparse one.

    `encodings` is empty where nothing is encoded. Where the data lies and which device computes do not decide the
    result, so a study begun on one machine can be finished and read on another; each row records its device.
    """

    dataset: DatasetChoice
    model: ModelChoice
    pruner: PrunerChoice | None
    sparsity: float
    seed: int
    recipe: Recipe
    encodings: tuple[EncodingChoice, ...]
    metrics: tuple[str, ...] | None
    save_weights: bool = False
    data_root: str | None = None
    save_trajectory: bool = False

    def decides(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        return {
            "format": FORMAT,
            "dataset": self.dataset.decides(),
            "model": self.model.decides(),
            "pruner": self.pruner.decides() if self.pruner else None,
            "sparsity": self.sparsity,
            "seed": self.seed,
            "recipe": asdict(self.recipe),
            "encodings": [encoding.decides() for encoding in self.encodings],
            "metrics": sorted(self.metrics) if self.metrics and self.encodings else None,
        }

    @cached_property
    def key(self) -> str:
        """Name of the cell's folder: 16 hexadecimal digits."""
        text = json.dumps(self.decides(), sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def needs_dense(self) -> bool:
        """Whether the pruner works on the trained dense network."""
        return self.pruner is not None and self.pruner.applied_at == "trained"

    @property
    def dataset_root(self) -> Path | None:
        """Folder of the dataset: its own `root`, else the one of its name in the study's `data_root`."""
        if self.dataset.root is not None:
            return Path(self.dataset.root).expanduser()
        return Path(self.data_root).expanduser() / self.dataset.name if self.data_root is not None else None

    @property
    def identity(self) -> dict[str, Any]:
        """The columns of the results that say which network a row is about."""
        return {
            "dataset": self.dataset.label,
            "model": self.model.label,
            "pruner": self.pruner.label if self.pruner else "dense",
            "family": self.pruner.family if self.pruner else "dense",
            "sparsity": self.sparsity,
            "seed": self.seed,
        }

    def __str__(self) -> str:
        pruner = f"{self.pruner.label} {self.sparsity:g}" if self.pruner else "dense"
        return f"{self.dataset.label} {self.model.label} {pruner} seed {self.seed}"

    def dense(self, config: StudyConfig) -> Cell:
        """The baseline of this cell."""
        encodings = config.encodings if config.measure_dense else ()
        return replace(self, pruner=None, sparsity=0.0, encodings=encodings, save_weights=True, save_trajectory=False)


def cells_of(config: StudyConfig) -> list[Cell]:
    """All cells of a study: the baselines first, then seed by seed, so that an early stop leaves whole seeds."""
    recipe = config.recipe.resolved()
    sparse = [
        Cell(
            dataset,
            model,
            pruner,
            sparsity,
            seed,
            recipe,
            config.encodings,
            config.metrics,
            config.save_weights,
            config.data_root,
            config.save_trajectory,
        )
        for seed in config.seeds
        for dataset in config.datasets
        for model in config.models
        for pruner in config.pruners or (None,)
        for sparsity in config.sparsities or (0.0,)
    ]
    baselines = {baseline.key: baseline for baseline in (cell.dense(config) for cell in sparse)}
    return [*baselines.values(), *(cell for cell in sparse if cell.pruner is not None)]
