"""How much of an accuracy is luck with the test images."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError

__all__ = ["accuracy_error"]


def accuracy_error(accuracy: ArrayLike, samples: ArrayLike) -> np.ndarray:
    """Standard error of an accuracy that was measured on so many samples, drawn independently.

    It is that of a binomial share, sqrt(a (1 - a) / n), and says nothing of what other seeds would give.

    Parameters
    ----------
    accuracy
        From 0 to 1, of any shape; NaN where there is none.
    samples
        Test samples, 1 or more, of a shape that goes with it.

    Returns
    -------
    ndarray
        In the unit of the accuracy.

    Raises
    ------
    InputError
        An accuracy outside 0 to 1, or less than one sample.

    Examples
    --------
    >>> accuracy_error([0.5, 1.0], 100).tolist()
    [0.05, 0.0]
    """
    share, number = np.asarray(accuracy, dtype=float), np.asarray(samples, dtype=float)
    if (share < 0).any() or (share > 1).any():
        raise InputError("accuracies are shares from 0 to 1; divide percentages by 100.")
    if not (number >= 1).all():
        raise InputError("an accuracy needs at least one test sample.")
    return np.sqrt(share * (1 - share) / number)
