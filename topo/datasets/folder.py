"""Folders of image files, one folder a class."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import InputError
from ..safe_files import read_text
from ..validation import whole_number
from .dataset import Dataset, make_dataset
from .decode import decode
from .registry import DATASETS
from .split import Split

__all__ = ["folder"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
LAYOUT = "train/<class>/* and val/<class>/* or test/<class>/* (or TinyImageNet's val/val_annotations.txt)"


@DATASETS.register("folder", family="images", root=f"a folder with {LAYOUT}")
def folder(root: Path | None, download: bool = False, *, size: int | None = None) -> Dataset:
    """Image files in one folder a class, TinyImageNet among them.

    Parameters
    ----------
    root
        Holds ``train/<class>/``, at any depth below it the images of that class, and the test images likewise in
        ``val/<class>/`` or ``test/<class>/``, or as TinyImageNet has them: ``val/images/`` and, in
        ``val/val_annotations.txt``, a line for each with its name and class, separated by tabs.
        Classes are numbered in alphabetical order.
    size
        Side in pixels to which images are scaled and cropped about their centre; needed when sizes differ.

    Raises
    ------
    InputError
        When a folder is missing or empty, a class of the test images is unknown, or an image is damaged.
    """
    if root is None or not root.is_dir():
        raise InputError(f"{root or 'root'} is not a folder; dataset 'folder' needs {LAYOUT}.")
    if size is not None:
        whole_number("size, in pixels,", size, minimum=1)
    train = _by_class(root / "train")
    classes = sorted(train)
    number = {name: index for index, name in enumerate(classes)}
    splits = []
    for images in (train, _test_files(root)):
        unknown = sorted(set(images) - set(number))
        if unknown:
            raise InputError(f"{root} has test images of class {unknown[0]!r}, which {root / 'train'} lacks.")
        paths = [path for name in classes for path in images.get(name, ())]
        targets = [number[name] for name in classes for _ in images.get(name, ())]
        splits.append(Split(decode(paths, [str(path) for path in paths], size), torch.tensor(targets)))
    train_split, test_split = splits
    return make_dataset("folder", train_split, test_split, len(classes))


def _by_class(root: Path) -> dict[str, list[Path]]:
    """Class name -> its image files, at any depth, sorted."""
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    if not names:
        raise InputError(f"{root} has no class folders; dataset 'folder' needs {LAYOUT}.")
    images = {name: sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in SUFFIXES) for name in names}
    empty = [name for name in names if not images[name]]
    if empty:
        raise InputError(f"{root / empty[0]} has no image files; remove the folder or fill it.")
    return images


def _test_files(root: Path) -> dict[str, list[Path]]:
    annotations = root / "val" / "val_annotations.txt"
    if annotations.is_file():
        return _annotated(annotations)
    for name in ("val", "test"):
        if (root / name).is_dir():
            return _by_class(root / name)
    raise InputError(f"{root} has no test images; dataset 'folder' needs {LAYOUT}.")


def _annotated(annotations: Path) -> dict[str, list[Path]]:
    """Class name -> its image files, as a file says that lies beside their folder."""
    text = read_text(annotations)
    if not text.strip():
        raise InputError(f"{annotations} is empty; it should name the file and the class of each test image.")
    images: dict[str, list[Path]] = {}
    for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):
        name, *fields = line.rstrip("\r").split("\t")
        path = annotations.parent / "images" / name
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not fields or not inside or not _is_file(path):
            raise InputError(
                f"line {number} of {annotations} must name a file of {path.parent if inside else annotations.parent} "
                "and its class, with a tab between."
            )
        images.setdefault(fields[0], []).append(path)
    return images


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False
