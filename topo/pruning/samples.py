"""The samples that a pruner looks at, from tensors, a dataset or batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..datasets import Dataset
from ..errors import InputError

if TYPE_CHECKING:
    from .task import Task

__all__ = ["Samples", "chunks", "input_shapes"]

Inputs = Tensor | tuple[Tensor, ...]


class Samples:
    """One face for the kinds of data a pruner is given.

    Parameters
    ----------
    data
        A pair of tensors (inputs, targets); or a dataset with `balanced_batch(per_class, generator)`, `n_classes`
        and `input_shape`; or an iterable of such pairs, as a `DataLoader`. Inputs may be a tuple of tensors, for a
        model that takes several. Integer targets of one dimension are class labels.
    generator
        Source of every random choice, on the CPU.
    """

    def __init__(self, data: Any, generator: torch.Generator) -> None:
        self._generator = generator
        self._dataset = data if hasattr(data, "balanced_batch") else None
        self._pair = None
        self._batches = None
        if self._dataset is not None:
            return
        if _is_pair(data):
            self._pair = _checked_pair(data)
        elif isinstance(data, Iterable) and not isinstance(data, str | Tensor | dict):
            self._batches = data
        else:
            raise InputError(
                f"data is a {type(data).__name__}; give (inputs, targets) tensors, a dataset, or batches of such pairs."
            )

    def input_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the model's inputs, without the batch dimension."""
        if self._dataset is not None:
            return [tuple(self._dataset.input_shape)]
        inputs, _ = self._pair or next(self._read())
        return [tuple(tensor.shape[1:]) for tensor in _tensors(inputs)]

    def batch(self, size: int) -> tuple[Inputs, Tensor]:
        """About `size` samples, as many of each class as there are; of batches the first one, whole."""
        if self._dataset is not None:
            return self.balanced(max(1, round(size / self._dataset.n_classes)))
        if self._pair is None:
            return next(self._read())
        inputs, targets = self._pair
        if len(targets) <= size:
            return inputs, targets
        if not _are_labels(targets):
            return _take(self._pair, self._permutation(len(targets))[:size])
        return self.balanced(max(1, round(size / len(targets.unique()))))

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Batches without end, each drawn anew as by `batch`; of batches one after the other, from the first again."""
        while True:
            if self._batches is None:
                yield self.batch(size)
            else:
                yield from self._read()

    def balanced(self, per_class: int) -> tuple[Inputs, Tensor]:
        """`per_class` samples of every class, in random order, or all there are of a class that has fewer.

        A dataset gives as many of every class as its smallest class has, where that is fewer. Of batches, as many are
        read as it takes until each class seen has enough. Data whose targets are not class labels are used whole; of
        batches, the first one is.
        """
        if self._dataset is not None:
            if isinstance(self._dataset, Dataset):
                counts = self._dataset.train.targets.bincount(minlength=self._dataset.n_classes)
                per_class = min(per_class, max(1, int(counts.min())))
            pair = self._dataset.balanced_batch(per_class, self._generator)
            return _take(pair, self._permutation(len(pair[1])))
        pair = self._pair or self._read_until(per_class)
        labels = pair[1].cpu()
        if not _are_labels(labels):
            return pair
        order = self._permutation(len(labels))
        # How many samples of its own class come before each one in the random order.
        by_class = order[labels[order].argsort(stable=True)]
        sizes = labels.unique(return_counts=True)[1]
        rank = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        chosen = by_class[rank < per_class]
        return _take(pair, chosen[self._permutation(len(chosen))])

    def _permutation(self, size: int) -> Tensor:
        return torch.randperm(size, generator=self._generator)

    def _read(self) -> Iterator[tuple[Inputs, Tensor]]:
        empty = True
        for batch in self._batches:
            if not _is_pair(batch):
                raise InputError("every batch of data must be a pair (inputs, targets) of tensors.")
            empty = False
            yield _checked_pair(batch)
        if empty:
            raise InputError("data holds no batches (or was an iterator that is used up); give it again.")

    def _read_until(self, per_class: int) -> tuple[Inputs, Tensor]:
        batches = []
        for batch in self._read():
            batches.append(batch)
            labels = torch.cat([targets for _, targets in batches])
            if not _are_labels(labels) or labels.unique(return_counts=True)[1].min() >= per_class:
                break
        inputs = [torch.cat(parts) for parts in zip(*(_tensors(inputs) for inputs, _ in batches), strict=True)]
        return inputs[0] if len(inputs) == 1 else tuple(inputs), torch.cat([targets for _, targets in batches])


def input_shapes(task: Task, input_shape: Sequence[int] | None) -> list[tuple[int, ...]]:
    """The shapes of a model's inputs without the batch dimension, as a setting gives it or else as the data have them.

    `InputError` when neither does, or the setting is no shape.
    """
    if input_shape is None and task.samples is None:
        raise InputError(f"pruner {task.name!r} needs the shape of an input; give input_shape=(channels, ...) or data.")
    if input_shape is None:
        return task.samples.input_shapes()
    try:
        shape = tuple(int(size) for size in input_shape)
    except (TypeError, ValueError):
        shape = (0,)
    if min(shape, default=0) < 1:
        raise InputError(f"input_shape must be whole numbers from 1 up, not {input_shape!r}.")
    return [shape]


def chunks(pair: tuple[Inputs, Tensor], size: int) -> Iterator[tuple[Inputs, Tensor]]:
    """A pair in near-equal parts of at most `size` samples."""
    count = len(pair[1])
    for index in torch.arange(count).tensor_split(math.ceil(count / size)):
        yield _take(pair, index)


def _tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def _is_pair(value: Any) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2 or not isinstance(value[1], Tensor):
        return False
    return isinstance(value[0], Tensor) or (
        isinstance(value[0], tuple | list) and bool(value[0]) and all(isinstance(part, Tensor) for part in value[0])
    )


def _checked_pair(pair: Any) -> tuple[Inputs, Tensor]:
    inputs, targets = pair
    lengths = {len(tensor) if tensor.ndim else 0 for tensor in (*_tensors(inputs), targets)}
    if lengths == {0} or 0 in lengths:
        raise InputError("data holds no samples; give at least one input and its target.")
    if len(lengths) > 1:
        raise InputError(f"inputs and targets of data differ in length ({sorted(lengths)}); give one target an input.")
    return (inputs if isinstance(inputs, Tensor) else tuple(inputs)), targets


def _are_labels(targets: Tensor) -> bool:
    return targets.ndim == 1 and not targets.is_floating_point()


def _take(pair: tuple[Inputs, Tensor], index: Tensor) -> tuple[Inputs, Tensor]:
    inputs, targets = pair
    taken = [tensor[index.to(tensor.device)] for tensor in _tensors(inputs)]
    return (taken[0] if isinstance(inputs, Tensor) else tuple(taken)), targets[index.to(targets.device)]
