"""Images of ten shapes, drawn by the program itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..validation import whole_number
from .augment import Augmentation
from .dataset import Dataset, make_dataset
from .registry import DATASETS
from .split import Split

__all__ = ["shapes"]

SIDE = 8
LEVELS = 16  # of grey above black
# The brightest noise; how many of a hundred pixels are stray, and of those of a shape missing.
NOISE = 3
STRAY = 4
MISSING = 5
# Five by five pixels each, a row a line.
SHAPES = (
    "..... ..... ##### ..... .....",  # a bar across
    "..#.. ..#.. ..#.. ..#.. ..#..",  # a bar down
    "#.... .#... ..#.. ...#. ....#",  # a falling diagonal
    "....# ...#. ..#.. .#... #....",  # a rising diagonal
    "..#.. ..#.. ##### ..#.. ..#..",  # a cross
    "#...# .#.#. ..#.. .#.#. #...#",  # a diagonal cross
    "##### #...# #...# #...# #####",  # a frame
    "#.... #.... #.... #.... #####",  # an angle
    "##### ..#.. ..#.. ..#.. ..#..",  # a T
    "..#.. .#.#. #...# .#.#. ..#..",  # a diamond
)


@DATASETS.register("shapes", family="generated", root="not used: the images are drawn")
def shapes(root: Path | None = None, download: bool = False, *, train: int = 900, test: int = 900) -> Dataset:
    """Ten shapes such as bars, crosses and frames on 8x8 grey pixels, at any place and under noise; needs no files.

    Each image is a shape of 5x5 pixels at one of four places, of a brightness of its own, with a few of its pixels
    missing, on a background of noise and stray bright pixels. The images are made of whole numbers from a generator
    whose stream NumPy keeps (`numpy.random.RandomState`), so they are the same everywhere. Classes have equal shares,
    as far as the numbers of images go. Augmentation shifts by one pixel and does not mirror.

    Parameters
    ----------
    root, download
        Not used.
    train, test
        Numbers of images.

    Returns
    -------
    Dataset
        Other numbers of training images leave the test images as they are.

    Examples
    --------
    >>> data = shapes()
    >>> data.input_shape, len(data.train), len(data.test)
    ((1, 8, 8), 900, 900)
    """
    for name, number in (("train", train), ("test", test)):
        whole_number(f"{name}, a number of images,", number, minimum=len(SHAPES))
    return make_dataset(
        "shapes",
        _images(train, seed=1),
        _images(test, seed=2),
        n_classes=len(SHAPES),
        augmentation=Augmentation(padding=1, flip=False),
    )


def _images(number: int, seed: int) -> Split:
    """So many images, the classes in turn."""
    random = np.random.RandomState(seed)
    masks = np.array([[[pixel == "#" for pixel in row] for row in shape.split()] for shape in SHAPES])
    targets = np.arange(number) % len(SHAPES)
    images = random.randint(0, NOISE + 1, size=(number, SIDE, SIDE))
    stray = random.randint(0, 100, size=images.shape) < STRAY
    images += stray * random.randint(3, 10, size=images.shape)
    places = random.randint(1, 3, size=(number, 2))
    brightness = random.randint(5, 12, size=number)
    drawn = masks[targets] & (random.randint(0, 100, size=(number, *masks.shape[1:])) >= MISSING)
    for image, shape, (row, column), light in zip(images, drawn, places, brightness, strict=True):
        image[row : row + shape.shape[0], column : column + shape.shape[1]] += light * shape
    grey = np.minimum(images, LEVELS).astype(np.float32) / LEVELS
    return Split(torch.from_numpy(grey)[:, None], torch.from_numpy(targets.astype(np.int64)))
