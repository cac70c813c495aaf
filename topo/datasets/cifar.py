"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch

from ..errors import InputError
from ..torchvision_import import import_torchvision
from .dataset import Dataset, make_dataset
from .parquet import has_parquet, read_split
from .registry import DATASETS
from .split import Split

__all__ = ["cifar10", "cifar100"]

ROOT = "a folder of Parquet files (train-*.parquet, test-*.parquet), or the one that torchvision downloads into"


@DATASETS.register("cifar10", family="images", root=ROOT)
def cifar10(root: Path | None, download: bool = False) -> Dataset:
    """CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes.

    Parameters
    ----------
    root
        A folder of Parquet files ``train-*.parquet`` and ``test-*.parquet`` with the image file's bytes in column
        ``img`` or ``image`` and the class in ``label``; or the folder that torchvision downloads into.
    download
        Let torchvision download into `root` missing files.

    References
    ----------
    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    return _cifar("cifar10", "CIFAR10", 10, ("label",), root, download)


@DATASETS.register("cifar100", family="images", root=ROOT)
def cifar100(root: Path | None, download: bool = False) -> Dataset:
    """CIFAR-100: 60,000 colour photographs of 32x32 pixels in 100 classes.

    `root` and `download` are as for `cifar10`; in Parquet files the class is in ``fine_label`` or ``label``.
    """
    return _cifar("cifar100", "CIFAR100", 100, ("fine_label", "label"), root, download)


def _cifar(
    name: str, title: str, n_classes: int, label_columns: tuple[str, ...], root: Path | None, download: bool
) -> Dataset:
    if root is None:
        raise InputError(f"dataset {name!r} needs root: {ROOT}.")
    if root.is_dir() and has_parquet(root):
        train, test = (read_split(root, split, label_columns) for split in ("train", "test"))
    elif root.is_dir() or download:
        train, test = (_torchvision_split(title, name, root, part, download) for part in (True, False))
    else:
        raise InputError(f"{root} is not a folder; dataset {name!r} needs root: {ROOT}.")
    return make_dataset(name, train, test, n_classes)


def _torchvision_split(title: str, name: str, root: Path, train: bool, download: bool) -> Split:
    try:
        source = getattr(import_torchvision().datasets, title)(root, train=train, download=download)
    except (RuntimeError, OSError, URLError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{root} does not hold dataset {name!r} ({reason}); expected: {ROOT}, or give download=True."
        ) from error
    return Split(torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(source.targets))
