"""The callback of an algorithm that changes the masks while the network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..masks import Masks
from ..parameter_names import named_parameters
from ..training import Callback, TrainingState
from ..weight_norms import norm_axes
from .masks_within import kept_within
from .task import Task

__all__ = ["SparseTrainingCallback"]


class SparseTrainingCallback(Callback):
    """A callback of the training loop that owns the masks; a subclass is an algorithm of stage ``"training"``.

    Its constructor takes a `Task` and the algorithm's settings, all keyword-only. It may set `masks`, those in force
    from the first step, from a copy of the untrained model, and keeps nothing of that copy. Later it calls `change`.

    Parameters
    ----------
    task
        What the call of `topo.prune` gives an algorithm to work on.

    Attributes
    ----------
    masks
        Parameter name -> bool tensor on the CPU, in force before the first step; all weights are kept unless a
        subclass says otherwise.
    pruner
        The name under which the algorithm is registered.
    names, total, kept
        The prunable weights, their number, and how many are to be kept at the end.
    generator
        Source of every random choice, on the CPU.
    within
        Masks that the model holds itself, for some of the names: what they prune stays pruned.
    exact
        Whether as many weights are kept as an algorithm asks for where `within` prunes some of them: others of the
        same weight, drawn at random, take their place.
    """

    masks: Mapping[str, Tensor]
    exact: ClassVar[bool] = True

    def __init__(self, task: Task) -> None:
        self.names = list(task.weights)
        self.pruner = task.name
        self.total, self.kept = task.total, task.kept
        self.generator = task.generator
        self.within = task.within
        self.masks = {name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in task.weights.items()}
        frozen = set(map(id, task.frozen))
        self._frozen = {name: weight.detach().clone() for name, weight in task.weights.items() if id(weight) in frozen}

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"pruner {self.pruner!r}"

    def weights(self, state: TrainingState) -> dict[str, nn.Parameter]:
        """The prunable weights of the model in training.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        dict
            Name -> parameter.
        """
        parameters = named_parameters(state.model)
        return {name: parameters[name] for name in self.names}

    def magnitudes(self, state: TrainingState) -> dict[str, Tensor]:
        """The absolute values of the prunable weights in training.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        dict
            Name -> tensor in the weight's shape.
        """
        return {name: weight.detach().abs() for name, weight in self.weights(state).items()}

    @torch.no_grad()
    def show(self, state: TrainingState, values: Mapping[str, Tensor]) -> None:
        """Let the network compute with other weights than those that stand behind them.

        Parameters
        ----------
        state
            The training run.
        values
            Name -> what it computes with from now on, in the weight's shape, zero where a weight is left out.

        Raises
        ------
        InputError
            When a norm would divide zeros by their norm.
        """
        for name, weight in self.weights(state).items():
            weight.copy_(values[name])
        for name, axes in norm_axes(state.model).items():
            zero = values[name] == 0 if name in values else None
            if zero is not None and bool((zero.all(dim=axes) if axes else zero).any()):
                raise InputError(
                    f"pruner {self.pruner!r} computes with zeros in the place of a row of {name!r}, or of all of it, "
                    "and a norm of weights divides that by its own norm, then zero; remove the norm first, as by "
                    "torch.nn.utils.parametrize.remove_parametrizations, exclude this weight, or lower the sparsity."
                )

    def held(self, state: TrainingState) -> Masks:
        """The masks that the training run holds now.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        Masks
            Of the run.

        Raises
        ------
        InputError
            When the run has no masks.
        """
        if state.masks is None:
            raise InputError(f"{type(self).__name__} changes masks: train with masks=callback.masks as well.")
        return state.masks

    def change(self, state: TrainingState, masks: Mapping[str, Tensor]) -> None:
        """Put masks in force from now on: pruned weights become zero and stay so.

        Frozen weights that are kept have the values that they had in the beginning, also those that were pruned before.

        Parameters
        ----------
        state
            The training run.
        masks
            Masks by name.
        """
        if self.within:
            masks = kept_within(masks, self.within, self.exact, self.generator)
        weights = self.weights(state) if self._frozen else {}
        with torch.no_grad():
            for name, value in self._frozen.items():
                weights[name].copy_(value)
        state.hold(Masks(masks) if state.masks is None else state.masks.replaced(masks))

    def state_dict(self) -> dict[str, Any]:
        """Refused: what an algorithm remembers from step to step is its own.

        Raises
        ------
        InputError
            Always, unless an algorithm overrides it.
        """
        raise InputError(
            f"pruner {type(self).__name__} does not save what it remembers between steps; train without a checkpoint."
        )
