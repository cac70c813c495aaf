"""What may happen between the steps of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..datasets import Dataset
from ..datasets.inputs import Batch
from ..errors import InputError
from ..masks import Masks
from .recipes import Recipe

__all__ = ["Callback", "TrainingState"]


@dataclass
class TrainingState:
    """A training run in progress, as callbacks see it.

    Attributes
    ----------
    model, optimizer, dataset, recipe, masks, seed
        What is trained, on what and how; `masks` are those held now, None where there are none.
    generator
        The run's own source of chance.
    steps_per_epoch
        Optimizer steps in an epoch.
    batch, loss
        Inputs and targets of the step at hand, and their mean loss, without penalties.
    step, epoch
        How many are finished.
    history
        One row a finished epoch, as in `Training.history`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    dataset: Dataset
    recipe: Recipe
    generator: torch.Generator
    steps_per_epoch: int
    seed: int = 0
    masks: Masks | None = None
    batch: Batch | None = None
    loss: torch.Tensor | None = None
    step: int = 0
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    _handles: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"TrainingState(epoch {self.epoch} of {self.recipe.epochs}, step {self.step} of {self.total_steps})"

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.recipe.epochs * self.steps_per_epoch

    def hold(self, masks: Masks | None) -> None:
        """Put `masks` in the place of those held so far: prune by them now and after every later step.

        Parameters
        ----------
        masks
            None for none.
        """
        self.release()
        self.masks = masks
        if masks is not None:
            masks.apply(self.model)
            self._handles.append(masks.hold(self.model, self.optimizer))
        if self.recipe.gradient_clip is not None:
            # registered after the masks, so that gradients of pruned weights do not count in the norm
            self._handles.append(self.optimizer.register_step_pre_hook(self._clip))

    def replace(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Train another network from the next epoch on; a run that holds masks refuses it.

        Parameters
        ----------
        model
            The network that takes the other's place.
        optimizer
            What trains it.

        Raises
        ------
        InputError
            When the run holds masks.
        """
        if self.masks is not None:
            raise InputError("masks are held on the network in training, so that another cannot take its place.")
        self.release()
        self.model, self.optimizer = model, optimizer
        self.hold(None)

    def release(self) -> None:
        """Stop holding masks; the pruned weights stay as they are."""
        while self._handles:
            self._handles.pop().remove()

    def _clip(self, *_: Any) -> None:
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)


class Callback:
    """Override what you need; each method may change the model, the optimizer and the masks."""

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"callback {type(self).__name__}"

    def on_start(self, state: TrainingState) -> None:
        """Called once, before the first step, the masks already held.

        Parameters
        ----------
        state
            The training run.
        """

    def penalty(self, state: TrainingState) -> torch.Tensor | None:
        """A scalar to add to the loss of the batch at hand, called between the forward and the backward pass.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        Tensor or None
            One number; None for no penalty.
        """

    def on_gradients(self, state: TrainingState) -> None:
        """Called between the backward pass and the step: ``.grad`` holds the gradients of pruned weights too.

        Parameters
        ----------
        state
            The training run.
        """

    def on_step_end(self, state: TrainingState) -> None:
        """Called after every optimizer step.

        Parameters
        ----------
        state
            The training run.
        """

    def on_epoch_end(self, state: TrainingState) -> None:
        """Called after every epoch, evaluated, with its row at the end of ``state.history``.

        Parameters
        ----------
        state
            The training run.
        """

    def on_end(self, state: TrainingState) -> None:
        """Called once, after the last epoch of a run that did not diverge.

        Parameters
        ----------
        state
            The training run.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold of it: tensors, numbers, strings, and lists and dicts of them."""
        return {}

    def load_state_dict(self, state: TrainingState, held: dict[str, Any]) -> None:
        """Take up what `state_dict` gave, after `on_start`; the model and the optimizer are loaded afterwards.

        Parameters
        ----------
        state
            The training run.
        held
            What `state_dict` returned.
        """
