"""Image files to one uint8 tensor."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ..errors import InputError

__all__ = ["decode"]


def decode(files: Sequence[Path | bytes], names: Sequence[str], size: int | None = None) -> torch.Tensor:
    """Decode images, on all cores, to RGB.

    Parameters
    ----------
    files
        Paths, or the bytes of image files.
    names
        What to call each of them in an error.
    size
        Side in pixels to which images are scaled and cropped about their centre; as they are when None.

    Returns
    -------
    torch.Tensor
        (N, 3, H, W) uint8.

    Raises
    ------
    InputError
        When a file is not a whole image, or sizes differ and no `size` is given.
    """
    first = _decode_one(files[0], names[0], size)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)

    def fill(start: int, stop: int) -> None:
        for index in range(start, stop):
            image = _decode_one(files[index], names[index], size)
            if image.shape != first.shape:
                raise InputError(
                    f"{names[index]} is {image.shape[0]}x{image.shape[1]} pixels but {names[0]} is "
                    f"{first.shape[0]}x{first.shape[1]}; make the images one size (image folders: give size=)."
                )
            images[index] = image

    edges = np.linspace(0, len(files), 4 * (os.cpu_count() or 1) + 1).astype(int)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, edges[:-1], edges[1:]))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _decode_one(file: Path | bytes, name: str, size: int | None) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            colours = image.convert("RGB")
            return np.asarray(colours if size is None else ImageOps.fit(colours, (size, size)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{name} is not a whole image ({error}); replace the file.") from error
