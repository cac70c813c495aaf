"""The inputs of a convolution as the matrices that its kernel is multiplied by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

__all__ = ["unfolded", "unfolded_transposed"]

CHUNK = 2**25
"""The most numbers that the unfolded inputs of a convolution take up at a time."""


def unfolded(
    inputs: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Iterator[Tensor]:
    """The inputs of a convolution as matrices, some samples at a time.

    Parameters
    ----------
    inputs
        (samples, channels, *positions).
    kernel
        Its sizes, channels left out.
    stride, padding, dilation, groups
        Of the convolution.

    Yields
    ------
    Tensor
        (groups, positions, channels x kernel).
    """
    margins = [(p, p) for p in padding]
    return _windows(inputs, kernel, stride, margins, dilation, groups, flipped=False)


def unfolded_transposed(
    inputs: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    output_padding: Sequence[int],
) -> Iterator[Tensor]:
    """The same of a transposed convolution: a convolution, by the mirrored kernel, of the inputs spaced with zeros.

    Parameters
    ----------
    inputs
        (samples, channels, *positions).
    kernel
        Its sizes, channels left out.
    stride, padding, dilation, groups, output_padding
        Of the convolution.

    Yields
    ------
    Tensor
        (groups, positions, channels x kernel).
    """
    spaced = inputs.new_zeros(*inputs.shape[:2], *((n - 1) * s + 1 for n, s in zip(inputs.shape[2:], stride)))
    places: tuple[Any, ...] = (..., *(slice(None, None, s) for s in stride))
    spaced[places] = inputs
    reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding)]
    margins = [(r, r + extra) for r, extra in zip(reach, output_padding)]
    return _windows(spaced, kernel, [1] * len(kernel), margins, dilation, groups, flipped=True)


def _windows(
    inputs: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    margins: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
    flipped: bool,
) -> Iterator[Tensor]:
    padded = F.pad(inputs, [side for pair in reversed(margins) for side in pair])
    for axis, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True)):
        padded = padded.unfold(2 + axis, gap * (size - 1) + 1, step)[..., ::gap]
    spatial = len(kernel)
    windows = padded.unflatten(1, (groups, -1)).movedim(1, 0).movedim(2, 2 + spatial)
    kernel_axes = tuple(range(-spatial, 0))
    for part in windows.split(max(1, CHUNK // math.prod(padded.shape[1:])), dim=1):
        part = part.flip(kernel_axes) if flipped else part
        yield part.flatten(1, 1 + spatial).flatten(2)
