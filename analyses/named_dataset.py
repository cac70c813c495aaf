"""A dataset by its name, or by a mapping with its settings as in a study file, for the command lines of analyses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import topo
from topo.datasets import Dataset

__all__ = ["dataset_label", "load_named"]


def load_named(dataset: str | dict[str, Any], root: Path | None, subset: int | None = None) -> Dataset:
    """The dataset of a name, or of a mapping such as ``{name: cifar10, size: 16, train: 10000}``."""
    settings = {"name": dataset} if isinstance(dataset, str) else dict(dataset)
    settings.pop("label", None)
    return topo.datasets.load(settings.pop("name"), root=root, subset=subset, **settings)


def dataset_label(dataset: str | dict[str, Any]) -> str:
    """What files call a dataset: its label, or its name with its settings but for what is evaluated on."""
    if isinstance(dataset, str):
        return dataset
    settings = [f"{key}{value}" for key, value in dataset.items() if key not in ("name", "label", "validation")]
    return str(dataset.get("label") or "-".join([dataset["name"], *settings]))
