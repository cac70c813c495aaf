"""Datasets from whatever holds samples: tensors, torch's datasets and loaders, lists of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

from ..errors import InputError
from ..randomness import own_randomness
from .dataset import Dataset, check_splits, make_dataset
from .inputs import IGNORED, Batch, checked_batch, is_batch, joined, kind_of, labels_name
from .split import Split

__all__ = ["as_dataset", "collated", "is_map_style", "tensors_as_batch"]

KINDS = (
    "a dataset of topo.datasets, (inputs, targets) tensors or NumPy arrays, a torch.utils.data.Dataset with a length, "
    "a DataLoader, or a list of batches or samples"
)


def as_dataset(data: Any, test: Any = None, *, name: str = "data") -> Dataset:
    """Labelled samples as a `Dataset`, which training and pruning take from any of these forms themselves.

    All samples are read once, in their order, and kept in memory as they are: nothing is normalised or augmented,
    except that floating-point inputs become float32. A loader's shuffling and a dataset's own random transformations
    are drawn once, the same at every call.

    Parameters
    ----------
    data
        A `Dataset`, which stays as it is; a pair (inputs, targets) of tensors or NumPy arrays, where inputs are one
        (samples, ...), a tuple of them or a dict of them by argument name, and targets are classes, whole numbers from
        0 up, one a sample (samples,) or one a position (samples, positions), where -100 asks for no answer; a map-style
        ``torch.utils.data.Dataset`` or a list of such pairs of one sample; or a ``DataLoader`` or list of batches of
        such pairs. In place of a pair one dict may hold the inputs by argument name and the targets under ``"labels"``,
        as batches for transformers do. Labels that repeat ``"input_ids"`` are those of next-token prediction: as in
        transformers, the target of a position is then the label of the next one.
    test
        Samples to evaluate on, in any of these forms; without them a training run has no test accuracy.
    name
        What errors call the dataset.

    Returns
    -------
    Dataset
        On the device of the samples, with as many classes as the largest target asks for; none where targets are
        numbers or labels.

    Raises
    ------
    InputError
        When `data` is none of these, holds no samples, or its targets are whole numbers below 0.

    Examples
    --------
    >>> import torch
    >>> features, more = torch.rand(6, 4), torch.rand(6, 2)
    >>> data = as_dataset(((features, more), torch.tensor([0, 1, 2, 0, 1, 2])))
    >>> data.n_classes, len(data.train), [tuple(part.shape) for part in data.example]
    (3, 6, [(1, 4), (1, 2)])
    """
    if isinstance(data, Dataset):
        if test is None:
            return data
        other = _split(test, data.name).to(data.device)
        check_splits(data.name, data.train, other, data.n_classes)
        return replace(data, test=other)
    samples, held_out = _split(data, name), None if test is None else _split(test, name)
    both = [split for split in (samples, held_out) if split is not None]
    n_classes = 1 + max(int(split.targets.max()) for split in both) if all(s.has_classes for s in both) else 0
    return make_dataset(name, samples, held_out, n_classes, normalise=False)


def is_map_style(data: Any) -> bool:
    """Whether data are single samples with numbers, ``data[i]`` for i below ``len(data)``: a torch dataset, or a list.

    Parameters
    ----------
    data
        Anything.

    Returns
    -------
    bool
        False for texts, tensors, tuples, dicts, and lists of anything but pairs (inputs, one target) and dicts that
        hold one target, or vectors of one length throughout, such as the tokens and labels of one text.
    """
    first = data[0] if isinstance(data, list) and data else None
    if isinstance(first, tuple | list) and len(first) == 2:
        return np.ndim(first[1]) == 0
    if isinstance(first, Mapping) and (name := labels_name(first)) is not None:
        return np.ndim(first[name]) == 0 or all(np.ndim(part) == 1 for part in first.values())
    return (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, str | bytes | Tensor | Mapping | Sequence)
    )


def collated(data: Any, index: Iterable[int]) -> Batch:
    """The samples of a map-style dataset with these numbers, as one batch.

    Parameters
    ----------
    data
        A map-style dataset of pairs (inputs, target).
    index
        Numbers of samples.

    Returns
    -------
    tuple
        Inputs and targets.

    Raises
    ------
    InputError
        When a sample is no pair, or the samples do not form a batch.
    """
    samples = [data[int(number)] for number in index]
    for sample in samples:
        of_labels = isinstance(sample, Mapping) and labels_name(sample) is not None
        if not of_labels and (not isinstance(sample, tuple | list) or len(sample) != 2):
            raise InputError(
                "every sample of data must be a pair (inputs, target), or a dict with 'labels', not a "
                f"{type(sample).__name__}."
            )
    if of_labels:
        samples = [{name: np.asarray(part) for name, part in sample.items()} for sample in samples]
    try:
        return checked_batch(default_collate(samples))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"the samples of data do not form a batch: {str(error).splitlines()[0]}") from error


def tensors_as_batch(data: TensorDataset) -> Batch:
    """What a dataset of tensors holds, the last of them as the targets.

    Parameters
    ----------
    data
        A `TensorDataset` of inputs and targets.

    Returns
    -------
    tuple
        Inputs, as a tuple where there are several, and targets.

    Raises
    ------
    InputError
        When there are no inputs or no samples.
    """
    *inputs, targets = data.tensors
    return checked_batch((inputs[0] if len(inputs) == 1 else tuple(inputs), targets))


def _split(data: Any, name: str) -> Split:
    if isinstance(data, Dataset):
        return data.train
    with own_randomness(0):
        inputs, targets = _read(data)
    if kind_of(targets) != "classes":
        return Split(inputs, targets)
    counted = targets if targets.ndim == 1 else targets[targets != IGNORED]
    if (counted < 0).any():
        raise InputError(
            f"the targets of {name} must be classes, one whole number from 0 up a sample, or a position ({IGNORED} for "
            f"none), not {targets.dtype} of shape {tuple(targets.shape)} from {float(targets.min()):g} to "
            f"{float(targets.max()):g}; give numbers that are to be predicted as floating-point ones."
        )
    return Split(inputs, targets.long())


def _read(data: Any) -> Batch:
    if is_batch(data):
        return checked_batch(data)
    if isinstance(data, TensorDataset):
        return tensors_as_batch(data)
    if is_map_style(data):
        if len(data) == 0:
            raise InputError("data holds no samples; give at least one input and its target.")
        return collated(data, range(len(data)))
    if isinstance(data, Iterator):
        raise InputError("data is an iterator, which can be read only once; give a list of batches or a DataLoader.")
    if not isinstance(data, Iterable) or isinstance(data, str | Tensor | Mapping):
        raise InputError(f"data is a {type(data).__name__}; give {KINDS}.")
    batches = [checked_batch(batch) for batch in data]
    if not batches:
        raise InputError("data holds no batches; give at least one.")
    return joined(batches)
