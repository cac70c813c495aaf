"""Series of numbers in four classes, drawn by the program itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..validation import real_number, whole_number
from .dataset import Dataset, make_dataset
from .registry import DATASETS
from .split import Split

__all__ = ["waves"]

SHAPES = ("sine", "square", "triangle", "sawtooth")


@DATASETS.register("waves", family="generated", recipe="sequences", root="not used: the series are drawn")
def waves(
    root: Path | None = None,
    download: bool = False,
    *,
    steps: int = 24,
    train: int = 800,
    test: int = 400,
    noise: float = 0.3,
) -> Dataset:
    """Sequence classification: sine, square, triangle and sawtooth waves under noise, one number a step; no files.

    Each series is one and a half to three periods of a wave of mean 0 and mean square 1, begun anywhere, with normal
    noise added. They are drawn with a generator whose stream NumPy keeps (`numpy.random.RandomState`). Classes have
    equal shares, as far as the numbers of series go.

    Parameters
    ----------
    root, download
        Not used.
    steps
        Length of a series.
    train, test
        Numbers of series.
    noise
        Standard deviation of the noise.

    Returns
    -------
    Dataset
        Inputs (samples, steps, 1); other numbers of training series leave the test series as they are.

    Examples
    --------
    >>> data = waves()
    >>> data.input_shape, data.n_classes, len(data.train), len(data.test)
    ((24, 1), 4, 800, 400)
    """
    whole_number("steps, the length of a series,", steps, minimum=4)
    real_number("noise", noise, minimum=0)
    for name, number in (("train", train), ("test", test)):
        whole_number(f"{name}, a number of series,", number, minimum=len(SHAPES))
    splits = [_series(number, steps, noise, seed) for seed, number in ((1, train), (2, test))]
    return make_dataset("waves", splits[0], splits[1], len(SHAPES))


def _series(number: int, steps: int, noise: float, seed: int) -> Split:
    """So many series, the classes in turn."""
    random = np.random.RandomState(seed)
    targets = np.arange(number) % len(SHAPES)
    periods, start = random.uniform(1.5, 3, (number, 1)), random.uniform(0, 1, (number, 1))
    phase = (start + periods * np.arange(steps) / steps) % 1
    waves = (
        np.sqrt(2) * np.sin(2 * np.pi * phase),
        np.where(phase < 0.5, 1.0, -1.0),
        np.sqrt(3) * (4 * np.abs(phase - 0.5) - 1),
        np.sqrt(3) * (2 * phase - 1),
    )
    series = np.choose(targets[:, None], waves) + noise * random.standard_normal(phase.shape)
    return Split(torch.from_numpy(series.astype(np.float32))[..., None], torch.from_numpy(targets.astype(np.int64)))
