"""Random crops and flips of a whole batch at once, on the batch's device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

__all__ = ["Augmentation", "crop"]


@dataclass(frozen=True)
class Augmentation:
    """Random crops after padding with `padding` zeros on each side; with `flip`, half the images mirrored.

    Attributes
    ----------
    padding
        Zeros on each side; 0 for no crops.
    flip
        Whether half the images are mirrored.

    Examples
    --------
    >>> images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    >>> Augmentation(padding=4, flip=True)(images, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 32, 32])
    """

    padding: int = 4
    flip: bool = True

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augmented copies of `images` (N, C, H, W), with offsets drawn from a CPU `generator`."""
        count = len(images)
        offsets = torch.randint(0, 2 * self.padding + 1, (2, count), generator=generator)
        mirrored = torch.rand(count, generator=generator) < (0.5 if self.flip else 0.0)
        rows, columns, flips = torch.cat([offsets, mirrored[None].long()]).to(images.device)  # one copy
        return crop(images, self.padding, rows, columns, flips.bool())


def crop(
    images: torch.Tensor, padding: int, rows: torch.Tensor, columns: torch.Tensor, mirrored: torch.Tensor
) -> torch.Tensor:
    """Pad images with zeros and cut one window of the original size out of each.

    Parameters
    ----------
    images
        (N, C, H, W), any type.
    padding
        Zeros added on each side.
    rows, columns
        (N,) top and left corner of each window in the padded image, 0 to 2 * `padding`.
    mirrored
        (N,) bool: mirror the window left to right.

    Returns
    -------
    torch.Tensor
        (N, C, H, W), of the same type.
    """
    count, channels, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4).flatten(2)
    across = torch.arange(width, device=images.device)
    across = torch.where(mirrored[:, None], across.flip(0), across)
    row = rows[:, None] + torch.arange(height, device=images.device)
    pixel = row[:, :, None] * (width + 2 * padding) + (columns[:, None] + across)[:, None]
    # One index an image, which gather reads several times as fast as indexing by image, channel, row and column does.
    index = pixel.flatten(1)[:, None].expand(count, channels, height * width)
    return padded.gather(2, index).view(count, channels, height, width)
