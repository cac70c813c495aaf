"""The topology over training: masks recorded while a network is trained, on disk, and measured one by one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
from torch import nn

from ..dag import Dag, trace
from ..dag.example import Example
from ..encoding import encode
from ..errors import InputError, counted, unknown_name
from ..features import measure
from ..masks import Masks
from ..safe_files import parsed_json, read_arrays, write_arrays
from ..training import Callback, TrainingState

__all__ = ["MaskTrajectory", "measure_trajectory"]

EVERY = ("change", "epoch")
MOST_AXES = 64


class MaskTrajectory(Callback, Sequence[Masks]):
    """A callback that records the masks of a training run; then a sequence of `Masks`, eight weights to a byte.

    Put it after the callbacks that change the masks.

    Parameters
    ----------
    every
        ``"change"``: record the masks at the start and after each change; ``"epoch"``: at the start and at the end
        of every epoch.

    Attributes
    ----------
    steps, epochs
        How many steps and whole epochs were finished when each of the masks was recorded.

    Examples
    --------
    >>> import topo
    >>> from topo.training import recipe, train
    >>> data = topo.datasets.load("digits", subset=20)
    >>> net = topo.models.build("digits-mlp", input_shape=(1, 8, 8))
    >>> callback, trajectory = topo.pruning.sparse_training_callback(net, "set", sparsity=0.9), MaskTrajectory()
    >>> run = train(net, data, recipe("digits", epochs=3), masks=callback.masks, callbacks=[callback, trajectory])
    >>> trajectory.steps, trajectory[-1] == run.masks
    ([0, 5, 9], True)
    """

    def __init__(self, *, every: str = "change") -> None:
        if every not in EVERY:
            raise unknown_name("value of every", every, EVERY)
        self.every = every
        self.steps: list[int] = []
        self.epochs: list[int] = []
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._rows: list[np.ndarray] = []
        self._last: Any = None

    def on_start(self, state: TrainingState) -> None:
        if state.masks is None:
            raise InputError("there are no masks to record; train with masks=.")
        self._shapes = {name: tuple(mask.shape) for name, mask in state.masks.items()}
        self.steps, self.epochs, self._rows = [], [], []
        self._record(state)

    def on_step_end(self, state: TrainingState) -> None:
        # Changed masks are another object; their contents are compared only then.
        if self.every == "change" and state.masks is not self._last:
            self._record(state)

    def on_epoch_end(self, state: TrainingState) -> None:
        if self.every == "epoch":
            self._record(state)
        else:
            self.on_step_end(state)

    def on_end(self, state: TrainingState) -> None:
        self.on_step_end(state)

    def _record(self, state: TrainingState) -> None:
        assert state.masks is not None  # nothing takes masks away during training
        row = np.packbits(np.concatenate([state.masks[name].numpy().ravel() for name in self._shapes]))
        self._last = state.masks
        if self.every == "change" and self._rows and np.array_equal(row, self._rows[-1]):
            return
        self._rows.append(row)
        self.steps.append(state.step)
        self.epochs.append(state.epoch)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Masks: ...

    @overload
    def __getitem__(self, index: slice) -> list[Masks]: ...

    def __getitem__(self, index: int | slice) -> Masks | list[Masks]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        sizes = [prod(shape) for shape in self._shapes.values()]
        flat = np.unpackbits(self._rows[index], count=sum(sizes)).astype(bool)
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        return Masks(
            {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
        )

    def save(self, path: str | Path) -> Path:
        """Write the trajectory to a safetensors file, whole or not at all.

        Parameters
        ----------
        path
            The file to write or replace.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            When nothing has been recorded, or the file cannot be written.
        """
        if not self._rows:
            raise InputError("the trajectory holds no masks; train with it among the callbacks first.")
        return write_arrays(
            path,
            {"bits": np.stack(self._rows), "steps": np.array(self.steps), "epochs": np.array(self.epochs)},
            {"content": "topo mask trajectory", "every": self.every, "shapes": json.dumps(self._shapes)},
        )

    @classmethod
    def load(cls, path: str | Path) -> MaskTrajectory:
        """Read a trajectory.

        Parameters
        ----------
        path
            What `save` has written.

        Returns
        -------
        MaskTrajectory
            With its masks, steps and epochs.

        Raises
        ------
        InputError
            When the file is missing, damaged or holds something else.
        """
        arrays, metadata = read_arrays(path)
        if metadata.get("content") != "topo mask trajectory":
            raise InputError(f"{path} does not hold a trajectory of masks.")
        try:
            return cls._from_file(arrays, metadata)
        except InputError as error:
            raise InputError(f"{path} does not hold a whole trajectory of masks: {error}") from error

    @classmethod
    def _from_file(cls, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> MaskTrajectory:
        """What a file holds, once sizes and numbers agree."""
        trajectory = cls(every=metadata.get("every", ""))
        shapes = parsed_json(metadata.get("shapes", ""), "the list of its shapes")
        if not isinstance(shapes, dict) or not shapes or not all(_is_shape(shape) for shape in shapes.values()):
            raise InputError("the list of its shapes has no shapes by name.")
        weights = sum(prod(shape) for shape in shapes.values())
        if arrays.keys() != {"bits", "steps", "epochs"}:
            raise InputError("it has not the arrays bits, steps and epochs.")
        bits, steps, epochs = arrays["bits"], arrays["steps"], arrays["epochs"]
        if bits.dtype != np.uint8 or bits.ndim != 2 or not len(bits) or bits.shape[1] != -(-weights // 8):
            raise InputError(
                f"its bits, {bits.dtype} of shape {bits.shape}, are not those of {counted(weights, 'weight')}."
            )
        if weights % 8 and (bits[:, -1] & (0xFF >> weights % 8)).any():
            raise InputError(f"more bits are set than it has weights ({weights:,}).")
        for counts in (steps, epochs):
            if counts.shape != (len(bits),) or counts.dtype.kind != "i" or counts[0] < 0 or (np.diff(counts) < 0).any():
                raise InputError("its steps and epochs are not rising counts, one a record.")
        trajectory._shapes = {name: tuple(shape) for name, shape in shapes.items()}
        trajectory._rows = list(bits)
        trajectory.steps, trajectory.epochs = steps.tolist(), epochs.tolist()
        return trajectory

    def table(self) -> pd.DataFrame:
        """One row a record: step, epoch, sparsity, changed and explored.

        ``changed`` is the share of the kept weights that were pruned in the record before; ``explored`` the share of
        all weights that have been kept in some record so far, the in-time over-parameterisation rate R_s (Liu et al.
        2021, arXiv 2102.02887) where every change is recorded.
        """
        total = sum(prod(shape) for shape in self._shapes.values())
        rows, union, before = [], None, None
        for step, epoch, row in zip(self.steps, self.epochs, self._rows, strict=True):
            kept = _ones(row)
            union = row if union is None else union | row
            changed = _ones(row & ~before) if before is not None else 0
            rows.append((step, epoch, 1 - kept / total, changed / max(kept, 1), _ones(union) / total))
            before = row
        return pd.DataFrame(rows, columns=["step", "epoch", "sparsity", "changed", "explored"])


def measure_trajectory(
    model: nn.Module | Dag,
    trajectory: MaskTrajectory,
    *,
    example: Example | None = None,
    encoding: str = "multipartite",
    metrics: str | Iterable[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The topology along a trajectory: the columns of `MaskTrajectory.table` and those of `topo.measure`.

    Weights of edges, which few metrics look at, are those that `model` holds; a trajectory has only masks.

    Parameters
    ----------
    model
        A network, or one that has been traced; a module is traced once.
    trajectory
        The masks along a training run of it.
    example, encoding, options
        As for `topo.encode`.
    metrics
        As for `topo.measure`.

    Returns
    -------
    pandas.DataFrame
        One row a record; a metric without a value is NaN.
    """
    metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    if not isinstance(model, Dag):
        model = trace(model, example).single()
    rows = [dict(measure(encode(model, m, encoding=encoding, **options), metrics=metrics)) for m in trajectory]
    return trajectory.table().join(pd.DataFrame(rows))


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and len(shape) <= MOST_AXES and all(type(n) is int and 0 < n < 2**31 for n in shape)


def _ones(packed: np.ndarray) -> int:
    return int(np.bitwise_count(packed).sum())
