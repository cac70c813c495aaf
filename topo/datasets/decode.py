"""Image files to one uint8 tensor."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError, described
from ..memory import available_memory, in_words
from ..safe_files import require_file

__all__ = ["FORMATS", "decode", "require_memory"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""The kinds of image files that are read, whatever a file is called: no others, some of which start programs."""
MOST_PIXELS = 1 << 26


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
        When a file is not a whole image of one of the `FORMATS`, or has more pixels than any picture; when sizes differ
        and no `size` is given; when all of them do not fit in memory.
    """
    first = _decode_one(files[0], names[0], size)
    require_memory(len(files), first.nbytes, names[0])
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


def require_memory(count: int, size: int, name: str) -> None:
    """Refuse images that do not fit in memory before room is made for them.

    Parameters
    ----------
    count, size
        How many there are, and the bytes of each.
    name
        What to call one of them.

    Raises
    ------
    InputError
        They do not fit.
    """
    free = available_memory()
    if count * size > free:
        raise InputError(
            f"{count:,} images as large as {name} take {in_words(count * size)}, and {in_words(free)} of memory is "
            "free; scale them down (image folders: give size=)."
        )


def _decode_one(file: Path | bytes, name: str, size: int | None) -> np.ndarray:
    if isinstance(file, Path):
        require_file(file)
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than any picture has")
            colours = _of_eight_bits(image).convert("RGB")
            return np.asarray(colours if size is None else ImageOps.fit(colours, (size, size)))
    except Exception as error:  # whatever a decoder trips over in bytes that anybody may have written
        why = "none of " + ", ".join(FORMATS) if isinstance(error, UnidentifiedImageError) else described(error)
        raise InputError(f"{name} is not a whole image ({why}); replace the file.") from error


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """An image of at most eight bits a channel; Pillow itself would make nearly all of more than eight white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits, which do not say what is white")
    return image
