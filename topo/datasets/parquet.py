"""Labelled images in Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from ..errors import InputError
from .decode import decode
from .split import Split

__all__ = ["has_parquet", "read_split"]

IMAGE_COLUMNS = ("img", "image")


def has_parquet(root: Path) -> bool:
    """Whether the folder holds Parquet files.

    Parameters
    ----------
    root
        A folder.

    Returns
    -------
    bool
        Only files right in the folder count.
    """
    return any(root.glob("*.parquet"))


def read_split(root: Path, split: str, label_columns: Sequence[str]) -> Split:
    """Read the files ``<split>-*.parquet`` of a folder.

    Parameters
    ----------
    root
        The folder.
    split
        ``"train"`` or ``"test"``.
    label_columns
        Names under which the class may be found; the first one present is taken.

    Returns
    -------
    Split
        uint8 images (N, C, H, W) and int64 classes.

    Raises
    ------
    InputError
        When files or columns are missing, a file is damaged, or an image or label is.
    """
    paths = sorted(root.glob(f"{split}-*.parquet"))
    if not paths:
        raise InputError(f"{root} holds Parquet files but none named {split}-*.parquet; give both splits.")
    parts = [_read_file(path, label_columns) for path in paths]
    shapes = {images.shape[1:] for images, _ in parts}
    if len(shapes) > 1:
        raise InputError(f"the files {split}-*.parquet in {root} hold images of different sizes; make them one size.")
    return Split(torch.cat([images for images, _ in parts]), torch.cat([targets for _, targets in parts]))


def _read_file(path: Path, label_columns: Sequence[str]) -> tuple[Tensor, Tensor]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            image = _column(path, names, IMAGE_COLUMNS)
            label = _column(path, names, label_columns)
            table = file.read(columns=[image, label])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a whole Parquet file ({error}); fetch it again.") from error
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows; it should hold one image a row.")
    images, labels = table[image].combine_chunks(), table[label].combine_chunks()
    if pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = images.field("bytes")
    if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)):
        raise InputError(f"column {image!r} of {path} must hold image files as bytes, not {images.type}.")
    if not pa.types.is_integer(labels.type):
        raise InputError(f"column {label!r} of {path} must hold whole numbers, not {labels.type}.")
    if images.null_count or labels.null_count:
        raise InputError(f"columns {image!r} and {label!r} of {path} must not have empty rows.")
    rows = [f"row {row} of {path}" for row in range(table.num_rows)]
    targets = torch.from_numpy(labels.to_numpy(zero_copy_only=False).astype("int64"))
    return decode(images.to_pylist(), rows), targets


def _column(path: Path, names: Sequence[str], wanted: Sequence[str]) -> str:
    for name in wanted:
        if name in names:
            return name
    expected = " or ".join(repr(name) for name in wanted)
    raise InputError(f"{path} has no column {expected}; its columns are {', '.join(names)}.")
