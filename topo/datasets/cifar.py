"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch

from ..errors import InputError
from ..torchvision_import import import_torchvision
from .augment import Augmentation
from .dataset import Dataset, make_dataset
from .parquet import has_parquet, read_split
from .reduction import reduced
from .registry import DATASETS
from .split import Split

__all__ = ["cifar10", "cifar100"]

ROOT = "a folder of Parquet files (train-*.parquet, test-*.parquet), or the one that torchvision downloads into"


@DATASETS.register("cifar10", family="images", root=ROOT)
def cifar10(
    root: Path | None,
    download: bool = False,
    *,
    size: int | None = None,
    train: int | None = None,
    test: int | None = None,
    validation: int | None = None,
    draw: int = 0,
) -> Dataset:
    """CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes; also fewer and smaller ones.

    Parameters
    ----------
    root
        A folder of Parquet files ``train-*.parquet`` and ``test-*.parquet`` with the image file's bytes in column
        ``img`` or ``image`` and the class in ``label``; or the folder that torchvision downloads into.
    download
        Let torchvision download into `root` missing files.
    size
        Pixels of a side, from 32 down, by area averaging. Augmentation shifts by an eighth of it.
    train, test
        How many training and test images to draw, of each class as many as of any other.
    validation
        So many training images, drawn in the same way, take the place of the test images: to choose settings by.
    draw
        Seed of which images are drawn.

    References
    ----------
    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    splits = _read("cifar10", "CIFAR10", ("label",), root, download)
    return _dataset("cifar10", 10, splits, size, train, test, validation, draw)


@DATASETS.register("cifar100", family="images", root=ROOT)
def cifar100(
    root: Path | None,
    download: bool = False,
    *,
    size: int | None = None,
    train: int | None = None,
    test: int | None = None,
    validation: int | None = None,
    draw: int = 0,
) -> Dataset:
    """CIFAR-100: 60,000 colour photographs of 32x32 pixels in 100 classes; also fewer and smaller ones.

    Arguments are as for `cifar10`; in Parquet files the class is in ``fine_label`` or ``label``.
    """
    splits = _read("cifar100", "CIFAR100", ("fine_label", "label"), root, download)
    return _dataset("cifar100", 100, splits, size, train, test, validation, draw)


def _dataset(
    name: str,
    n_classes: int,
    splits: tuple[Split, Split],
    size: int | None,
    train: int | None,
    test: int | None,
    validation: int | None,
    draw: int,
) -> Dataset:
    smaller = reduced(name, *splits, size=size, train_images=train, test_images=test, validation=validation, draw=draw)
    # Crops shift by as large a share of the image as the usual 4 of 32 pixels.
    augmentation = None if size is None else Augmentation(padding=max(1, round(size / 8)))
    return make_dataset(name, *smaller, n_classes, augmentation)


def _read(
    name: str, title: str, label_columns: tuple[str, ...], root: Path | None, download: bool
) -> tuple[Split, Split]:
    if root is None:
        raise InputError(f"dataset {name!r} needs root: {ROOT}.")
    if root.is_dir() and has_parquet(root):
        return read_split(root, "train", label_columns), read_split(root, "test", label_columns)
    if root.is_dir() or download:
        return (
            _torchvision_split(title, name, root, True, download),
            _torchvision_split(title, name, root, False, download),
        )
    raise InputError(f"{root} is not a folder; dataset {name!r} needs root: {ROOT}.")


def _torchvision_split(title: str, name: str, root: Path, train: bool, download: bool) -> Split:
    try:
        source = getattr(import_torchvision().datasets, title)(root, train=train, download=download)
    except (RuntimeError, OSError, URLError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{root} does not hold dataset {name!r} ({reason}); expected: {ROOT}, or give download=True."
        ) from error
    return Split(torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(source.targets))
