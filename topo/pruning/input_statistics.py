"""What enters the layers of any model: second moments of the inputs that a weight is multiplied by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ..dag.operators import operator_called
from ..datasets.inputs import Batch
from ..errors import InputError
from .samples import chunks
from .task import Task

__all__ = ["Rows", "gram", "squares", "visit_layers"]

CHUNK = 2**25
"""The most numbers that the unfolded inputs of a convolution take up at a time."""


@dataclass(frozen=True)
class Rows:
    """Rows of a weight that are multiplied by the same inputs: all of them, or a part, as in attention.

    Attributes
    ----------
    name
        Of the weight.
    axis
        The axis of the weight that runs over the outputs: 0, but 1 of a transposed convolution.
    start, stop
        The part of this axis that is used.
    groups
        Of a convolution; each has its own inputs.
    """

    name: str
    axis: int
    start: int
    stop: int
    groups: int = 1

    def view(self, tensor: Tensor) -> Tensor:
        """These rows of a tensor of the weight's shape, as a view (groups, rows, inputs, *kernel).

        Parameters
        ----------
        tensor
            Of the weight's shape.

        Returns
        -------
        Tensor
            (groups, rows, inputs, *kernel).
        """
        part = tensor.detach().narrow(self.axis, self.start, self.stop - self.start)
        return part.unflatten(0, (self.groups, -1)).movedim(1 + self.axis, 1)

    def matrices(self, tensor: Tensor) -> Tensor:
        """These rows as matrices (groups, rows, columns), with the columns in the order of the inputs.

        Parameters
        ----------
        tensor
            Of the weight's shape.

        Returns
        -------
        Tensor
            (groups, rows, columns).
        """
        return self.view(tensor).flatten(2)


def gram(inputs: Tensor) -> Tensor:
    """X^T X of inputs X (groups, count, columns), in float64.

    Parameters
    ----------
    inputs
        (groups, count, columns).

    Returns
    -------
    Tensor
        (groups, columns, columns).
    """
    return (inputs.mT @ inputs).double()


def squares(inputs: Tensor) -> Tensor:
    """Squared norms of the columns of inputs X (groups, count, columns), in float64.

    Parameters
    ----------
    inputs
        (groups, count, columns).

    Returns
    -------
    Tensor
        (groups, columns).
    """
    return inputs.square().sum(1).double()


def visit_layers(
    task: Task,
    samples: Batch,
    visit: Callable[[str, Mapping[Rows, Tensor]], None],
    *,
    statistic: Callable[[Tensor], Tensor] = gram,
    sequential: bool = True,
    batch_size: int = 64,
) -> None:
    """Call ``visit(name, {rows: statistic of their inputs})`` for every weight, in the order in which layers run.

    Linear and convolutional layers of every kind count, wherever they are: what a weight is multiplied by is read off
    the operations that run, so that attention, which uses its weights without calling modules, is seen too. Inputs
    of convolutions are unfolded: a row of X is what one output position sees of one sample, so that the outputs are
    X W^T.

    Parameters
    ----------
    task
        The model and its weights.
    samples
        Inputs and targets; the targets do not matter.
    visit
        Called with the name of a weight, and a mapping from the `Rows` of it that read the same inputs to the statistic
        of
        these inputs.
    statistic
        Of a matrix of inputs (groups, count, columns); it is summed over all samples and all uses of the weight.
    sequential
        All samples go through the network together, and a weight is visited before it is used: what `visit` changes
        shapes
        the inputs of all later layers. A weight that is used several times is visited before its last use. Otherwise
        the
        samples go through in batches, and all weights are visited at the end.
    batch_size
        Samples of a batch where they do not go together.

    Raises
    ------
    InputError
        When a weight multiplies no input, or is used both in whole and in part.
    """
    uses: Counter[str] = Counter()
    _run(task, next(chunks(samples, 2)), lambda rows, inputs: uses.update([rows.name]))
    seen: Counter[str] = Counter()
    sums: dict[str, dict[Rows, Tensor]] = {}
    visited = set()

    def finish(name: str) -> None:
        _check(name, task.weights[name], sums[name])
        visited.add(name)
        visit(name, sums.pop(name))

    def add(rows: Rows, inputs: Iterator[Tensor]) -> None:
        if rows.name in visited:
            return
        of_weight = sums.setdefault(rows.name, {})
        for part in inputs:
            part = part if part.dtype == torch.float64 else part.float()
            of_weight[rows] = of_weight.get(rows, 0.0) + statistic(part)
        seen[rows.name] += 1
        if sequential and seen[rows.name] == uses[rows.name]:
            finish(rows.name)

    for batch in [samples] if sequential else chunks(samples, batch_size):
        _run(task, batch, add)
    unused = [name for name in task.weights if name not in visited and name not in sums]
    if unused:
        raise InputError(
            f"no linear or convolutional layer multiplies its inputs by {', '.join(unused[:5])}, "
            f"which pruner {task.name!r} needs; exclude such weights."
        )
    for name in list(sums):
        finish(name)


def _run(task: Task, batch: Batch, on_use: Callable[[Rows, Iterator[Tensor]], None]) -> None:
    with torch.no_grad(), _separate_operations(), _Watch(task.weights, on_use):
        task.forward(batch[0])


def _check(name: str, weight: Tensor, used: Mapping[Rows, Tensor]) -> None:
    """The rows must be the whole weight, each once."""
    parts = sorted((rows.axis, rows.start, rows.stop) for rows in used)
    joined = all(a[0] == b[0] and a[2] == b[1] for a, b in pairwise(parts))
    if not joined or parts[0][1] != 0 or parts[-1][2] != weight.shape[parts[0][0]]:
        raise InputError(f"{name} is used in different parts or also transposed, which has no one input; exclude it.")


@contextmanager
def _separate_operations() -> Iterator[None]:
    """Encoder layers and attention as single operations would hide what their weights are multiplied by."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class _Watch(TorchDispatchMode):
    """Sees every operation before it runs and reports the uses of weights."""

    def __init__(self, weights: Mapping[str, Tensor], on_use: Callable[[Rows, Iterator[Tensor]], None]) -> None:
        super().__init__()
        self._weights: dict[int, list[tuple[str, Tensor]]] = {}
        for name, weight in weights.items():
            self._weights.setdefault(weight.untyped_storage().data_ptr(), []).append((name, weight))
        self._on_use = on_use

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        record = operator_called(operation)
        if record is not None and record.kernel:
            self._convolution(*args)
        elif record is not None and record.factors is not None:
            self._product(*(args[position] for position in record.factors))
        return operation(*args, **(kwargs or {}))

    def _convolution(
        self,
        inputs: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        transposed: bool,
        output_padding: Sequence[int],
        groups: int,
    ) -> None:
        for name, weight in self._owners(kernel):
            if kernel.shape == weight.shape and kernel.stride() == weight.stride():
                unfold = _unfolded_transposed if transposed else _unfolded
                more = (output_padding,) if transposed else ()
                matrices = unfold(inputs, kernel.shape[2:], stride, padding, dilation, groups, *more)
                axis = int(transposed)
                self._on_use(Rows(name, axis, 0, weight.shape[axis], groups), matrices)

    def _product(self, left: Tensor, right: Tensor) -> None:
        for matrix, inputs in ((right.mT, left), (left, right.mT)):
            for name, weight in self._owners(matrix):
                rows = _rows(name, weight, matrix)
                if rows is not None:
                    self._on_use(rows, iter([inputs.reshape(1, -1, inputs.shape[-1])]))

    def _owners(self, tensor: Tensor) -> list[tuple[str, Tensor]]:
        return self._weights.get(tensor.untyped_storage().data_ptr(), [])


def _rows(name: str, weight: Tensor, matrix: Tensor) -> Rows | None:
    """Which rows of a weight a matrix (outputs x inputs) is a view of; None when it is another part of its memory."""
    if weight.ndim != 2:
        return None
    if matrix.ndim == 3:  # one weight, expanded over the batch
        if matrix.stride(0) != 0 and matrix.shape[0] != 1:
            return None
        matrix = matrix[0]
    offset = matrix.storage_offset() - weight.storage_offset()
    for axis in (0, 1):
        step, along = weight.stride(axis), weight.stride(1 - axis)
        start = offset // step
        fits = matrix.stride(0) == step or matrix.shape[0] == 1
        fits &= matrix.stride(1) == along or matrix.shape[1] == 1
        full_rows = matrix.shape[1] == weight.shape[1 - axis] and offset % step == 0
        if fits and full_rows and 0 <= start <= weight.shape[axis] - matrix.shape[0]:
            return Rows(name, axis, start, start + matrix.shape[0])
    return None


def _unfolded(
    inputs: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Iterator[Tensor]:
    """The inputs of a convolution as matrices (groups, positions, channels x kernel), some samples at a time."""
    margins = [(p, p) for p in padding]
    return _windows(inputs, kernel, stride, margins, dilation, groups, flipped=False)


def _unfolded_transposed(
    inputs: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    output_padding: Sequence[int],
) -> Iterator[Tensor]:
    """The same of a transposed convolution: a convolution, by the mirrored kernel, of the inputs spaced with zeros."""
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
