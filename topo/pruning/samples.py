"""The samples that a pruner looks at, from tensors, a dataset, torch's datasets or batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from ..datasets import Dataset
from ..datasets.conversion import collated, is_map_style, tensors_as_batch
from ..datasets.inputs import IGNORED, Batch, Inputs, checked_batch, is_batch, joined, kind_of, map_inputs, selected
from ..datasets.split import samples_for
from ..errors import InputError
from ..randomness import own_randomness

__all__ = ["Samples", "chunks"]

READ_AT_A_TIME = 256
"""Samples of a torch dataset that are read together."""


class Samples:
    """One face for the kinds of data a pruner is given.

    Parameters
    ----------
    data
        A pair of tensors or NumPy arrays (inputs, targets); a dataset of `topo.datasets`; a map-style
        ``torch.utils.data.Dataset`` or a list of such pairs of one sample, of which as many are read as are asked for;
        or an iterable of batches, as a ``DataLoader``. Inputs may be a tuple, for a model that takes several arguments,
        or a dict of them by name. Integer targets of one dimension are class labels. The order in which samples are
        stored plays no part, for they may be stored class by class: what a loader reads in that order is drawn at
        random instead, and so are the batches of a list.
    generator
        Source of every random choice, on the CPU.

    Raises
    ------
    InputError
        When the data are in no such form, or hold no samples.
    """

    def __init__(self, data: Any, generator: torch.Generator) -> None:
        self._generator = generator
        self._dataset: Dataset | None = None
        self._pair: Batch | None = None
        self._items: Any = None
        self._batches: Iterable[Any] = ()
        if isinstance(data, Dataset):
            self._dataset = data
        elif is_batch(data):
            self._pair = checked_batch(data)
        elif isinstance(data, TensorDataset):
            self._pair = tensors_as_batch(data)
        elif is_map_style(data):
            if len(data) == 0:
                raise InputError("data holds no samples; give at least one input and its target.")
            self._items = data
        elif isinstance(data, Iterable) and not isinstance(data, str | Tensor | Mapping):
            self._batches = data
        else:
            raise InputError(
                f"data is a {type(data).__name__}; give (inputs, targets) tensors, a dataset, or batches of such pairs."
            )

    def example(self) -> Inputs:
        """Inputs of one sample, floating-point ones as zeros: all that a network is traced with."""
        if self._dataset is not None:
            inputs = self._dataset.example
        elif self._items is not None:
            inputs, _ = collated(self._items, [0])
        else:
            inputs, _ = self._pair or next(self._checked(self._batches))
        return map_inputs(lambda t: torch.zeros_like(t[:1]) if t.is_floating_point() else t[:1], inputs)

    def glimpse(self) -> Inputs | None:
        """As `example`, but leaves data and the generators that draw them as they are; None where that is not possible.

        Returns
        -------
        Tensor, tuple or dict
            Inputs of one sample, or None where the batches can be read once only or are unfit.
        """
        if isinstance(self._batches, Iterator):
            return None
        drawing = (self._batches, getattr(self._batches, "sampler", None))
        generators = [getattr(each, "generator", None) for each in drawing]
        states = [(g, g.get_state()) for g in (*generators, self._generator) if isinstance(g, torch.Generator)]
        try:
            with own_randomness(0):
                return self.example()
        except InputError:
            return None  # whoever needs the data says what is wrong with them
        finally:
            for generator, state in states:
                generator.set_state(state)

    def batch(self, size: int) -> Batch:
        """About `size` samples, as many of each class as there are; of targets of positions, so many at random.

        Of batches one, whole: any of a list, and the first that a loader or another iterable gives. Of a torch dataset
        so many at random.

        Parameters
        ----------
        size
            How many, about.

        Returns
        -------
        tuple
            Inputs and targets.
        """
        if self._dataset is not None and _are_labels(self._dataset.train.targets):
            return self.balanced(max(1, round(size / self._dataset.n_classes)))
        if self._dataset is not None:
            return self._dataset.drawn(size, self._generator)
        if self._items is not None:
            return collated(self._items, self._permutation(len(self._items))[:size].tolist())
        if self._pair is None:
            return next(self._read())
        inputs, targets = self._pair
        if len(targets) <= size:
            return inputs, targets
        if not _are_labels(targets):
            return selected(self._pair, self._permutation(len(targets))[:size])
        return self.balanced(max(1, round(size / len(targets.unique()))))

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches without end, each drawn anew as by `batch`; of batches one after the other, each once a round.

        Parameters
        ----------
        size
            How many samples a batch has, about.

        Yields
        ------
        tuple
            Inputs and targets.
        """
        while True:
            if self._pair is None and self._dataset is None and self._items is None:
                yield from self._read()
            else:
                yield self.batch(size)

    def balanced(self, per_class: int) -> Batch:
        """`per_class` samples of every class, in random order, or all there are of a class that has fewer.

        A dataset gives as many of every class as its smallest class has, where that is fewer. Of a list of batches as
        many are read as it takes until each of its classes has enough, and of a torch dataset or other batches until
        each class seen has. Of samples with a target at each position so many are drawn that a class has `per_class`
        targets on average. Data whose targets are not class labels are used whole; of batches, one is.

        Parameters
        ----------
        per_class
            How many of each class.

        Returns
        -------
        tuple
            Inputs and targets.
        """
        if self._dataset is not None:
            if self._dataset.train.is_of_positions:
                return self._dataset.balanced_batch(per_class, self._generator)
            if not self._dataset.train.has_classes:
                return self._dataset.drawn(len(self._dataset.train), self._generator)
            counts = self._dataset.train.targets.bincount(minlength=self._dataset.n_classes)
            per_class = min(per_class, max(1, int(counts.min())))
            pair = self._dataset.balanced_batch(per_class, self._generator)
            return selected(pair, self._permutation(len(pair[1])))
        pair = self._pair or self._read_until(per_class)
        labels = pair[1].cpu()
        if _are_of_positions(labels):
            n_classes = len(labels[labels != IGNORED].unique())
            return selected(pair, self._permutation(len(labels))[: samples_for(per_class * n_classes, labels)])
        if not _are_labels(labels):
            return pair
        order = self._permutation(len(labels))
        # How many samples of its own class come before each one in the random order.
        by_class = order[labels[order].argsort(stable=True)]
        sizes = labels.unique(return_counts=True)[1]
        rank = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        chosen = by_class[rank < per_class]
        return selected(pair, chosen[self._permutation(len(chosen))])

    def _permutation(self, size: int) -> Tensor:
        return torch.randperm(size, generator=self._generator)

    def _read(self) -> Iterator[Batch]:
        if self._items is not None:
            for index in self._permutation(len(self._items)).split(READ_AT_A_TIME):
                yield collated(self._items, index.tolist())
            return
        yield from self._checked(self._in_random_order())

    @staticmethod
    def _checked(batches: Iterable[Any]) -> Iterator[Batch]:
        empty = True
        for batch in batches:
            empty = False
            yield checked_batch(batch)
        if empty:
            raise InputError("data holds no batches (or was an iterator that is used up); give it again.")

    def _in_random_order(self) -> Iterable[Any]:
        """The batches; those that lie in an order are drawn, others come as they are."""
        batches = self._batches
        if isinstance(batches, Sequence):
            return (batches[number] for number in self._permutation(len(batches)).tolist())
        if not (
            isinstance(batches, DataLoader)
            and type(batches.sampler) is SequentialSampler
            and type(batches.batch_sampler) is BatchSampler
        ):
            return batches
        order = self._permutation(len(batches.sampler)).tolist()
        parts = BatchSampler(order, batches.batch_sampler.batch_size, batches.batch_sampler.drop_last)
        return (batches.collate_fn([batches.dataset[number] for number in part]) for part in parts)

    def _read_until(self, per_class: int) -> Batch:
        batches: list[Batch] = []
        classes = self._listed_classes()
        for batch in self._read():
            batches.append(batch)
            labels = torch.cat([targets for _, targets in batches])
            if not _are_labels(labels):
                break
            sizes = labels.unique(return_counts=True)[1]
            if len(sizes) >= classes and sizes.min() >= per_class:
                break
        return joined(batches)

    def _listed_classes(self) -> int:
        """How many classes a list of batches has, one of which may have but one; 1 where that is not known."""
        if self._items is not None or not isinstance(self._batches, Sequence):
            return 1
        labels = [targets for _, targets in self._checked(self._batches)]
        return len(torch.cat(labels).unique()) if all(map(_are_labels, labels)) else 1


def chunks(pair: Batch, size: int) -> Iterator[Batch]:
    """A pair in near-equal parts of at most `size` samples.

    Parameters
    ----------
    pair
        Inputs and targets.
    size
        The most samples of a part.

    Yields
    ------
    tuple
        Inputs and targets of a part, in order.
    """
    count = len(pair[1])
    inputs, targets = pair
    for index in torch.arange(count).tensor_split(math.ceil(count / size)):
        part = slice(int(index[0]), int(index[-1]) + 1)  # views, which need no copy
        yield map_inputs(itemgetter(part), inputs), targets[part]


def _are_labels(targets: Tensor) -> bool:
    return targets.ndim == 1 and kind_of(targets) == "classes"


def _are_of_positions(targets: Tensor) -> bool:
    return targets.ndim > 1 and kind_of(targets) == "classes"
