"""Labelled images, all in memory on one device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ..errors import InputError, unknown_name
from .augment import Augmentation

__all__ = ["Dataset", "Split", "make_dataset"]


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) as they were read, uint8 or float, and their classes (N,), int64."""

    images: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device."""
        return Split(self.images.to(device), self.targets.to(device))

    def first(self, per_class: int) -> Split:
        """The first `per_class` samples of each class, in their order."""
        order = torch.argsort(self.targets, stable=True)
        counts = torch.bincount(self.targets)
        starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        rank = torch.arange(len(self), device=order.device) - starts
        kept = order[rank < per_class].sort().values
        return Split(self.images[kept], self.targets[kept])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split that live on one device, handed out as normalised float32 batches.

    Images stay as they were read (uint8 where they came from files) and are normalised a batch at a time, with
    the mean and standard deviation of each channel over the training split.
    """

    name: str
    train: Split
    test: Split
    n_classes: int
    mean: torch.Tensor
    std: torch.Tensor
    augmentation: Augmentation

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return tuple(self.train.images.shape[1:])

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.train.targets.device

    @property
    def train_inputs(self) -> torch.Tensor:
        """All training images, normalised: (N, C, H, W) float32. Computed anew at each access."""
        return self._normalised(self.train.images)

    @property
    def train_targets(self) -> torch.Tensor:
        """Classes of the training images: (N,) int64."""
        return self.train.targets

    @property
    def test_inputs(self) -> torch.Tensor:
        """All test images, normalised: (N, C, H, W) float32. Computed anew at each access."""
        return self._normalised(self.test.images)

    @property
    def test_targets(self) -> torch.Tensor:
        """Classes of the test images: (N,) int64."""
        return self.test.targets

    def to(self, device: torch.device | str) -> Dataset:
        """The same dataset on another device."""
        if torch.device(device) == self.device:
            return self
        return replace(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )

    def subset(self, per_class: int) -> Dataset:
        """The first `per_class` samples of each class of both splits, normalised as the whole dataset is."""
        if per_class < 1:
            raise InputError(f"subset must keep at least 1 sample a class, not {per_class}.")
        return replace(self, train=self.train.first(per_class), test=self.test.first(per_class))

    def batches(
        self, split: str, batch_size: int, *, generator: torch.Generator | None = None, augment: bool = False
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Go through a split once.

        A last batch of a single sample joins the batch before it, because batch norm cannot train on one.

        Parameters
        ----------
        split
            ``"train"`` or ``"test"``.
        batch_size
            Samples a batch.
        generator
            CPU generator that shuffles and augments; without one the order is that of the split.
        augment
            Apply the dataset's augmentation.

        Yields
        ------
        inputs, targets
            (B, C, H, W) float32 and (B,) int64, on the dataset's device.
        """
        chosen = self._split(split)
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}.")
        if augment and generator is None:
            raise InputError("augmented batches are random: give a generator.")
        count = len(chosen)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        order = order.to(self.device)
        starts = list(range(0, count, batch_size))
        if batch_size > 1 and count > 1 and count % batch_size == 1:
            starts.pop()
        for start, stop in zip(starts, [*starts[1:], count]):
            index = order[start:stop]
            images = chosen.images[index]
            if augment:
                images = self.augmentation(images, generator)
            yield self._normalised(images), chosen.targets[index]

    def n_batches(self, split: str, batch_size: int) -> int:
        """Number of batches that `batches` hands out."""
        count = len(self._split(split))
        full, rest = divmod(count, batch_size)
        alone = rest == 1 and full > 0
        return full + (rest > 0 and not alone)

    def balanced_batch(self, per_class: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw `per_class` training samples of every class, without replacement.

        Returns
        -------
        inputs, targets
            (n_classes * per_class, C, H, W) float32 and the classes, sorted.

        Raises
        ------
        InputError
            When a class has fewer samples.
        """
        counts = torch.bincount(self.train.targets, minlength=self.n_classes)
        if per_class < 1 or per_class > int(counts.min()):
            raise InputError(
                f"a balanced batch of {per_class} samples a class is impossible: "
                f"the smallest class of {self.name!r} has {int(counts.min())} (at least 1 is needed)."
            )
        shuffled = torch.randperm(len(self.train), generator=generator).to(self.device)
        by_class = shuffled[torch.argsort(self.train.targets[shuffled], stable=True)]
        starts = counts.cumsum(0) - counts
        index = by_class[(starts[:, None] + torch.arange(per_class, device=self.device)).flatten()]
        return self._normalised(self.train.images[index]), self.train.targets[index]

    def _split(self, name: str) -> Split:
        splits = {"train": self.train, "test": self.test}
        if name not in splits:
            raise unknown_name("split", name, splits)
        return splits[name]

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() - self.mean) / self.std


def make_dataset(
    name: str, train: Split, test: Split, n_classes: int, augmentation: Augmentation | None = None
) -> Dataset:
    """A dataset from its splits, after checking that they belong together.

    Raises
    ------
    InputError
        When a split is empty, images of the splits differ in shape, or a class is out of range.

    Examples
    --------
    >>> images, targets = torch.rand(20, 1, 8, 8), torch.arange(20) % 2
    >>> data = make_dataset("noise", Split(images[:10], targets[:10]), Split(images[10:], targets[10:]), 2)
    >>> [len(y) for x, y in data.batches("train", 4)]
    [4, 4, 2]
    """
    for label, split in (("training", train), ("test", test)):
        if len(split) == 0:
            raise InputError(f"dataset {name!r} has no {label} images.")
        low, high = int(split.targets.min()), int(split.targets.max())
        if low < 0 or high >= n_classes:
            raise InputError(
                f"dataset {name!r} has {label} classes {low} to {high}, but they must lie in 0 to {n_classes - 1}."
            )
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = tuple(train.images.shape[1:]), tuple(test.images.shape[1:])
        raise InputError(f"dataset {name!r} has training images of shape {shapes[0]} but test images of {shapes[1]}.")
    mean, std = _statistics(train.images)
    return Dataset(name, train, test, n_classes, mean, std, augmentation or Augmentation())


def _statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel, (C, 1, 1) float32; 1 for a constant channel."""
    channels = images.transpose(0, 1).flatten(1)
    if images.dtype == torch.uint8:
        levels = torch.arange(256, dtype=torch.float64)
        shares = torch.stack([torch.bincount(channel, minlength=256) for channel in channels]) / channels.shape[1]
        shares = shares.double()
        mean = shares @ levels
        std = (shares * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    else:
        mean, std = channels.double().mean(1), channels.double().std(1, correction=0)
    std = torch.where(std > 0, std, 1.0)
    return mean.float()[:, None, None], std.float()[:, None, None]
