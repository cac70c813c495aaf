"""Random numbers for the gates of many steps, drawn at once on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Noise"]

LARGEST = 2**20
"""The most numbers that are drawn ahead."""
AHEAD = 64
"""Draws that are made at once."""


class Noise:
    """Uniform random numbers on a device, of which a seed means the same on every device.

    They are drawn on the CPU, many at a time, so that few copies go to the device.

    Parameters
    ----------
    generator
        Their source, on the CPU.
    device
        Where they are needed.

    Examples
    --------
    >>> noise = Noise(torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> first = noise.take(3)
    >>> again = torch.rand(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> torch.equal(first, again)
    True
    """

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device
        self._ahead = torch.empty(0, dtype=torch.float64)

    def take(self, count: int) -> Tensor:
        """The next numbers.

        Parameters
        ----------
        count
            How many.

        Returns
        -------
        Tensor
            float64 from 0 to 1, (count,).
        """
        if len(self._ahead) < count:
            draws = max(1, min(AHEAD, LARGEST // max(count, 1)))
            drawn = torch.rand(draws * count, generator=self.generator, dtype=torch.float64)
            self._ahead = torch.cat([self._ahead.to(self.device), drawn.to(self.device)])
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    def forget(self) -> None:
        """Forget what has been drawn ahead, so that what comes next depends on the state of the generator alone."""
        self._ahead = self._ahead[:0]
