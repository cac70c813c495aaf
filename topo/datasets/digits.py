"""The 8x8 digits that scikit-learn carries with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..validation import whole_number
from .augment import Augmentation
from .dataset import Dataset, make_dataset
from .registry import DATASETS
from .split import Split

__all__ = ["digits"]


@DATASETS.register("digits", family="embedded", recipe="digits", root="not used: the images come with scikit-learn")
def digits(root: Path | None = None, download: bool = False, *, test: int = 899) -> Dataset:
    """1,797 handwritten digits of 8x8 grey pixels, half of them to test on; needs no files.

    The split is fixed and has the same share of each class on both sides. Augmentation shifts by one pixel and
    does not mirror.

    Parameters
    ----------
    root, download
        Not used.
    test
        How many of the images are to test on: the more, the less an accuracy owes to which images these are.

    Returns
    -------
    Dataset
        The others are to train on.

    Raises
    ------
    InputError
        When a part would have fewer than two images a class.

    References
    ----------
    Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.

    Examples
    --------
    >>> data = digits()
    >>> data.input_shape, len(data.train), len(data.test)
    ((1, 8, 8), 898, 899)
    """
    whole_number("test, the number of digits to test on,", test, minimum=20, maximum=1777)
    # Loaded here, for scikit-learn takes as long to load as torch.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = torch.from_numpy((bunch.images / 16).astype(np.float32))[:, None]
    targets = torch.from_numpy(bunch.target.astype(np.int64))
    train, test = train_test_split(np.arange(len(targets)), test_size=test, stratify=bunch.target, random_state=0)
    return make_dataset(
        "digits",
        Split(images[train], targets[train]),
        Split(images[test], targets[test]),
        n_classes=10,
        augmentation=Augmentation(padding=1, flip=False),
    )
