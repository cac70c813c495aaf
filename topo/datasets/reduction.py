"""Fewer and smaller images of a dataset, so that a network trains on them in seconds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, counted
from ..validation import whole_number
from .split import Split

__all__ = ["area_averaged", "balanced_part", "reduced"]

AT_A_TIME = 2000
"""Images averaged at once, so that their floating-point copies stay small."""


def reduced(
    name: str,
    train: Split,
    test: Split,
    *,
    size: int | None = None,
    train_images: int | None = None,
    test_images: int | None = None,
    validation: int | None = None,
    draw: int = 0,
) -> tuple[Split, Split]:
    """Smaller splits of smaller images.

    Which images are drawn depends on `draw` alone: the images of a smaller number are among those of a larger one, and
    validation images are the same for every `train_images`.

    Parameters
    ----------
    name
        What errors call the dataset.
    train, test
        Square images (N, C, H, H), uint8, and their classes.
    size
        Pixels of a side, by area averaging; None for as they are.
    train_images, test_images
        How many to draw, of all classes alike as far as these have so many; None for all.
    validation
        So many training images, drawn in the same way and not trained on, in the place of the test images: to choose
        settings by.
    draw
        Seed of what is drawn.

    Returns
    -------
    tuple
        The splits, images in the order in which they were.

    Raises
    ------
    InputError
        When a number is out of range, both `test_images` and `validation` are given, or they and the training images
        are more than there are.
    """
    whole_number("draw, the seed of the images drawn,", draw, minimum=0)
    if validation is not None and test_images is not None:
        raise InputError(
            f"dataset {name!r} has test and validation images to evaluate on; give test, a number of test images, or "
            "validation, a number of training images that take their place."
        )
    chosen = {label: torch.arange(len(split)) for label, split in (("train", train), ("test", test))}
    if test_images is not None:
        chosen["test"] = balanced_part(test.targets, _number("test", test_images, test), draw)
    if train_images is not None:
        chosen["train"] = balanced_part(train.targets, _number("train", train_images, train), draw)
    if validation is not None:
        test = train
        # Drawn from the other end of the same order, so that they stay the same whatever is trained on.
        chosen["test"] = balanced_part(train.targets, _number("validation", validation, train), draw, from_the_end=True)
        free = torch.ones(len(train), dtype=torch.bool)
        free[chosen["test"]] = False
        wanted = len(chosen["train"])
        chosen["train"] = chosen["train"][free[chosen["train"]]]
        if len(chosen["train"]) < (wanted if train_images is not None else 1):
            raise InputError(
                f"dataset {name!r} has {counted(len(train), 'training image')}, too few for {wanted} to train on and "
                f"{counted(validation, 'other')} of the same classes for validation; give smaller numbers."
            )
    splits = train.take(chosen["train"]), test.take(chosen["test"])
    return splits if size is None else (_smaller(splits[0], size), _smaller(splits[1], size))


def balanced_part(targets: Tensor, count: int, draw: int, *, from_the_end: bool = False) -> Tensor:
    """Numbers of samples drawn at random, as many of each class as of any other, to within one.

    Parameters
    ----------
    targets
        (N,) classes.
    count
        How many to draw; once a class has no more, the others fill its place.
    draw
        Seed of a generator whose stream NumPy keeps (`numpy.random.RandomState`).
    from_the_end
        Draw those that would otherwise be drawn last.

    Returns
    -------
    Tensor
        int64, ascending.

    Examples
    --------
    >>> targets = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> targets[balanced_part(targets, 4, draw=0)].tolist()
    [0, 0, 1, 1]
    """
    order = np.random.RandomState(draw).permutation(len(targets))
    if from_the_end:
        order = order[::-1]
    shuffled = targets.cpu().numpy()[order]
    by_class = np.argsort(shuffled, kind="stable")
    sizes = np.unique(shuffled, return_counts=True)[1]
    rank = np.empty(len(targets), dtype=np.int64)
    rank[by_class] = np.arange(len(targets)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    in_turn = order[np.argsort(rank, kind="stable")]
    return torch.from_numpy(np.sort(in_turn[:count]))


def area_averaged(images: Tensor, size: int) -> Tensor:
    """Smaller images: each pixel is the mean over the area that it covers, parts of pixels by their share.

    Parameters
    ----------
    images
        (N, C, H, H), uint8.
    size
        Pixels of a side, at most H.

    Returns
    -------
    Tensor
        (N, C, size, size), uint8, rounded to the nearest, halves up.

    Examples
    --------
    >>> area_averaged(torch.tensor([[[[10, 20], [30, 40]]]], dtype=torch.uint8), 1).tolist()
    [[[[25]]]]
    """
    side = images.shape[-1]
    # In units of 1 / size of an old pixel, which is exact: a new pixel is `side` long and an old one `size`.
    starts = torch.arange(size)[:, None] * side
    covered = torch.arange(side)[None] * size
    shared = torch.minimum(starts + side, covered + size) - torch.maximum(starts, covered)
    weights = shared.clamp(min=0).double()
    parts = [
        torch.floor((weights @ part.double() @ weights.T) / side**2 + 0.5).to(torch.uint8)
        for part in images.split(AT_A_TIME)
    ]
    return torch.cat(parts)


def _smaller(split: Split, size: int) -> Split:
    images = split.inputs
    assert isinstance(images, Tensor), "images are one tensor"
    whole_number("size, the pixels of a side,", size, minimum=1, maximum=images.shape[-1])
    return Split(area_averaged(images, size), split.targets)


def _number(label: str, count: int, split: Split) -> int:
    classes = len(torch.unique(split.targets))
    return whole_number(f"{label}, a number of images,", count, minimum=classes, maximum=len(split))
