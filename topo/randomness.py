"""Random numbers of one's own for a while, the global random states left as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["own_randomness"]


@contextmanager
def own_randomness(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch, and put them back as they were afterwards.

    Parameters
    ----------
    seed
        A whole number.
    device
        Whose generator is seeded too, where it is a CUDA device.

    Yields
    ------
    None

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with own_randomness(0):
    ...     first = torch.rand(1)
    >>> with own_randomness(0):
    ...     again = torch.rand(1)
    >>> bool(first == again), torch.equal(torch.get_rng_state(), before)
    (True, True)
    """
    devices = []
    if device is not None and device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            torch.default_generator.manual_seed(seed)
            for index in devices:
                torch.cuda.default_generators[index].manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
