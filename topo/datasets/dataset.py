"""Samples and their targets, all in memory on one device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import InputError, counted
from ..validation import one_of, whole_number
from .augment import Augmentation
from .inputs import IGNORED, Batch, Inputs, map_inputs
from .split import Split, samples_for

__all__ = ["Dataset", "check_splits", "make_dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and, unless there is none, a test split that live on one device, handed out in batches.

    Inputs stay as they were read (images from files uint8). Images are normalised a batch at a time, with the mean and
    standard deviation of each channel over the training split, where these are given; floating-point inputs are handed
    out as float32.

    Attributes
    ----------
    name, train, test, n_classes
        What errors call it, its splits and the number of classes; 0 where targets are numbers or labels.
    mean, std
        Of each channel of the images, (C, 1, 1); None where inputs are not normalised.
    augmentation
        Random changes of training images; None for none.
    dtype
        The type in which floating-point inputs are handed out.
    """

    name: str
    train: Split
    test: Split | None
    n_classes: int
    mean: Tensor | None = None
    std: Tensor | None = None
    augmentation: Augmentation | None = None
    dtype: torch.dtype = torch.float32

    def __repr__(self) -> str:
        tested = "no test samples" if self.test is None else counted(len(self.test), "test sample")
        return f"Dataset({self.name!r}, {counted(len(self.train), 'training sample')}, {tested})"

    @property
    def n_outputs(self) -> int:
        """How many outputs a model has for it: one a class, or as many numbers or labels as the first axis of a sample
        holds."""
        shape = self.train.targets.shape[1:]
        return self.n_classes if self.train.has_classes else shape[0] if shape else 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, such as channels, height and width; `InputError` where a model takes several inputs.

        Raises
        ------
        InputError
            When the samples have several inputs.
        """
        if not isinstance(self.train.inputs, Tensor):
            raise InputError(
                f"dataset {self.name!r} has {counted(len(self.train.inputs), 'input')}, so that no one shape is theirs."
            )
        return tuple(self.train.inputs.shape[1:])

    @property
    def example(self) -> Inputs:
        """The first training sample as a batch of one, as `topo.trace` and its like take it."""
        return self._prepared(map_inputs(lambda tensor: tensor[:1], self.train.inputs))

    @property
    def device(self) -> torch.device:
        """Where the samples are."""
        return self.train.targets.device

    @property
    def train_inputs(self) -> Inputs:
        """All training inputs as batches have them, images normalised: (N, C, H, W) float32. Made at each access."""
        return self._prepared(self.train.inputs)

    @property
    def train_targets(self) -> Tensor:
        """Targets of the training samples; classes are int64, (N,) or (N, positions)."""
        return self.train.targets

    @property
    def test_inputs(self) -> Inputs:
        """All test inputs as batches have them, images normalised: (N, C, H, W) float32. Made at each access."""
        return self._prepared(self.split("test").inputs)

    @property
    def test_targets(self) -> Tensor:
        """Targets of the test samples; classes are int64, (N,) or (N, positions)."""
        return self.split("test").targets

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Dataset:
        """The same dataset on another device, or for a model of other numbers.

        Parameters
        ----------
        device
            Where the tensors go.
        dtype
            In which type floating-point inputs are to be handed out; as they are unless given.

        Returns
        -------
        Dataset
            This one when it is there already.
        """
        dtype = dtype or self.dtype
        if torch.device(device) == self.device:
            return self if dtype == self.dtype else replace(self, dtype=dtype)
        return replace(
            self,
            dtype=dtype,
            train=self.train.to(device),
            test=None if self.test is None else self.test.to(device),
            mean=None if self.mean is None else self.mean.to(device),
            std=None if self.std is None else self.std.to(device),
        )

    def subset(self, per_class: int) -> Dataset:
        """The first `per_class` samples of each class of both splits, normalised as the whole dataset is.

        Parameters
        ----------
        per_class
            How many samples, from 1 up; all of a class that has fewer.

        Returns
        -------
        Dataset
            A new one.
        """
        whole_number("subset, the number of samples of each class,", per_class, minimum=1)
        test = None if self.test is None else self.test.first(per_class)
        return replace(self, train=self.train.first(per_class), test=test)

    def batches(
        self, split: str, batch_size: int, *, generator: torch.Generator | None = None, augment: bool = False
    ) -> Iterator[Batch]:
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
            Of images (B, C, H, W) float32, and int64, (B,) or (B, positions), on the dataset's device.

        Raises
        ------
        InputError
            When augmentation is asked for without a generator, or there is no such split.
        """
        chosen = self.split(split)
        whole_number("batch_size", batch_size, minimum=1)
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
            part = chosen.take(index)
            inputs = part.inputs
            if augment and generator is not None and self.augmentation is not None and isinstance(inputs, Tensor):
                inputs = self.augmentation(inputs, generator)
            yield self._prepared(inputs), part.targets

    def n_batches(self, split: str, batch_size: int) -> int:
        """Number of batches that `batches` hands out.

        Parameters
        ----------
        split
            ``"train"`` or ``"test"``.
        batch_size
            Samples of a batch.

        Returns
        -------
        int
            A last batch of a single sample, which joins the one before it, is not counted.
        """
        count = len(self.split(split))
        full, rest = divmod(count, batch_size)
        alone = rest == 1 and full > 0
        return full + (rest > 0 and not alone)

    def balanced_batch(self, per_class: int, generator: torch.Generator) -> Batch:
        """Draw `per_class` training samples of every class, without replacement.

        Where samples have a target a position, so many are drawn, whatever their classes, that a class has `per_class`
        targets on average, or all there are.

        Parameters
        ----------
        per_class
            How many samples of every class.
        generator
            Source of random numbers.

        Returns
        -------
        inputs, targets
            Of n_classes * per_class samples, images as float32, and the classes, sorted.

        Raises
        ------
        InputError
            When a class has fewer samples.
        """
        if not self.train.has_classes:
            raise InputError(f"dataset {self.name!r} has no classes to draw the same number of.")
        if self.train.is_of_positions:
            whole_number("per_class", per_class, minimum=1)
            return self.drawn(samples_for(per_class * self.n_classes, self.train.targets), generator)
        counts = torch.bincount(self.train.targets, minlength=self.n_classes)
        if per_class < 1 or per_class > int(counts.min()):
            raise InputError(
                f"a balanced batch of {counted(per_class, 'sample')} a class is impossible: "
                f"the smallest class of {self.name!r} has {int(counts.min())} (at least 1 is needed)."
            )
        shuffled = torch.randperm(len(self.train), generator=generator).to(self.device)
        by_class = shuffled[torch.argsort(self.train.targets[shuffled], stable=True)]
        starts = counts.cumsum(0) - counts
        index = by_class[(starts[:, None] + torch.arange(per_class, device=self.device)).flatten()]
        part = self.train.take(index)
        return self._prepared(part.inputs), part.targets

    def drawn(self, count: int, generator: torch.Generator) -> Batch:
        """Draw training samples, whatever their classes, without replacement.

        Parameters
        ----------
        count
            How many; all where there are fewer.
        generator
            Source of random numbers.

        Returns
        -------
        inputs, targets
            In random order.
        """
        part = self.train.take(torch.randperm(len(self.train), generator=generator)[:count].to(self.device))
        return self._prepared(part.inputs), part.targets

    def split(self, name: str) -> Split:
        """One of the two splits.

        Parameters
        ----------
        name
            ``"train"`` or ``"test"``.

        Returns
        -------
        Split
            As it is stored.

        Raises
        ------
        InputError
            When there is no such split.
        """
        chosen = self.train if one_of("split", name, ("train", "test")) == "train" else self.test
        if chosen is None:
            raise InputError(
                f"dataset {self.name!r} has no test samples; give split='train', or data with test samples as "
                "topo.datasets.as_dataset(data, test=...) makes them."
            )
        return chosen

    def _prepared(self, inputs: Inputs) -> Inputs:
        if self.mean is not None and self.std is not None and isinstance(inputs, Tensor):
            return ((inputs.float() - self.mean) / self.std).to(self.dtype)
        return map_inputs(lambda tensor: tensor.to(self.dtype) if tensor.is_floating_point() else tensor, inputs)


def make_dataset(
    name: str,
    train: Split,
    test: Split | None,
    n_classes: int = 0,
    augmentation: Augmentation | None = None,
    *,
    normalise: bool = True,
) -> Dataset:
    """A dataset from its splits, after checking that they belong together.

    Parameters
    ----------
    name
        What errors call it.
    train, test
        Samples to train with and, unless there are none, to evaluate on.
    n_classes
        Number of classes; targets lie in 0 to n_classes - 1. 0 where targets are numbers or labels.
    augmentation
        Random changes of training images, those of `Augmentation` unless given; other inputs are never changed, nor are
        images whose targets have places, such as maps of classes, which would have to change alike.
    normalise
        Whether images, inputs of one tensor (N, C, H, W), are handed out with mean 0 and standard deviation 1 of each
        channel and are augmented in training; other inputs are handed out as they are.

    Returns
    -------
    Dataset
        On the device of its splits.

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
    check_splits(name, train, test, n_classes)
    if not normalise or not isinstance(train.inputs, Tensor) or train.inputs.ndim != 4:
        return Dataset(name, train, test, n_classes)
    mean, std = _statistics(train.inputs)
    of_places = train.targets.ndim > 2 or train.is_of_positions
    return Dataset(name, train, test, n_classes, mean, std, None if of_places else augmentation or Augmentation())


def check_splits(name: str, train: Split, test: Split | None, n_classes: int) -> None:
    """Raise `InputError` when a split is empty, inputs of the splits differ in shape, or a class is out of range.

    Parameters
    ----------
    name
        Name of the dataset, for the message.
    train, test
        The splits; `test` may be None.
    n_classes
        Classes are numbered below it.

    Raises
    ------
    InputError
        When one of these is so.
    """
    for label, split in (("training", train), ("test", test)):
        if split is None:
            continue
        if len(split) == 0:
            raise InputError(f"dataset {name!r} has no {label} samples.")
        if not split.has_classes:
            if not bool(split.targets.isfinite().all()):
                raise InputError(f"dataset {name!r} has {label} targets that are no finite numbers; leave them out.")
            continue
        counted = split.targets[split.targets != IGNORED] if split.is_of_positions else split.targets
        if len(counted) == 0:
            raise InputError(f"dataset {name!r} has no {label} targets: all are {IGNORED}, which asks for no answer.")
        low, high = int(counted.min()), int(counted.max())
        if low < 0 or high >= n_classes:
            raise InputError(
                f"dataset {name!r} has {label} classes {low} to {high}, but they must lie in 0 to {n_classes - 1}."
            )
    if test is not None and train.is_of_positions != test.is_of_positions:
        raise InputError(f"dataset {name!r} has targets of positions in one split and of samples in the other.")
    if test is not None and _kind(train) != _kind(test):
        raise InputError(
            f"dataset {name!r} has training targets {_kind(train)} and test targets {_kind(test)}; make them one kind."
        )
    if test is not None and _shapes(train.inputs) != _shapes(test.inputs):
        raise InputError(
            f"dataset {name!r} has training samples of shape {_shapes(train.inputs)} but test samples of "
            f"{_shapes(test.inputs)}."
        )


def _kind(split: Split) -> str:
    shape = ", ".join(map(str, ("samples", *split.targets.shape[1:])))
    return "of classes" if split.has_classes else f"{split.targets.dtype} of shape ({shape})"


def _shapes(inputs: Inputs) -> object:
    """Of one sample: a shape, or the shapes of several inputs."""
    return pytree.tree_map(lambda tensor: tuple(tensor.shape[1:]), inputs)


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
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
