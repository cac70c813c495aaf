"""Labelled images in Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from ..errors import InputError, described
from ..safe_files import require_file
from .decode import decode, require_memory
from .split import Split

__all__ = ["has_parquet", "read_split"]

IMAGE_COLUMNS = ("img", "image")
ROWS_AT_ONCE = 1024


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
    require_file(path)
    try:
        with pq.ParquetFile(path) as file:
            names, rows = file.schema_arrow.names, file.metadata.num_rows
            image, label = _column(path, names, IMAGE_COLUMNS), _column(path, names, label_columns)
            if rows == 0:
                raise InputError(f"{path} has no rows; it should hold one image a row.")
            images, targets, done = [], [], 0
            # A few at a time: a small file may say the same large image very often.
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[image, label]):
                files = _image_files(path, image, batch.column(image))
                targets.append(_labels(path, label, batch.column(label)))
                images.append(decode(files, [f"row {done + i} of {path}" for i in range(len(files))]))
                if not done:
                    require_memory(rows, images[0][0].nbytes, f"row 0 of {path}")
                done += len(files)
            return _joined(path, images), torch.cat(targets)
    except InputError:
        raise
    except Exception as error:  # whatever a reader trips over in bytes that anybody may have written
        raise InputError(f"{path} is not a whole Parquet file ({described(error)}); fetch it again.") from error


def _image_files(path: Path, name: str, images: pa.Array) -> list[bytes]:
    if pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = images.flatten()[images.type.get_field_index("bytes")]
    if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)):
        raise InputError(f"column {name!r} of {path} must hold image files as bytes, not {images.type}.")
    if images.null_count:
        raise InputError(f"column {name!r} of {path} must not have empty rows.")
    return images.to_pylist()


def _labels(path: Path, name: str, labels: pa.Array) -> Tensor:
    if not pa.types.is_integer(labels.type):
        raise InputError(f"column {name!r} of {path} must hold whole numbers, not {labels.type}.")
    if labels.null_count:
        raise InputError(f"column {name!r} of {path} must not have empty rows.")
    return torch.from_numpy(labels.to_numpy(zero_copy_only=False).astype("int64"))


def _joined(path: Path, images: Sequence[Tensor]) -> Tensor:
    if len({piece.shape[1:] for piece in images}) > 1:
        raise InputError(f"{path} holds images of different sizes; make them one size.")
    return torch.cat(list(images))


def _column(path: Path, names: list[str], wanted: Sequence[str]) -> str:
    for name in wanted:
        if names.count(name) > 1:
            raise InputError(f"{path} has several columns {name!r}; leave one of them.")
        if name in names:
            return name
    expected = " or ".join(repr(name) for name in wanted)
    raise InputError(f"{path} has no column {expected}; its columns are {', '.join(names)}.")
