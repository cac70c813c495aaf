"""What every pruner works on: a private copy of the model, its weights, its data and its sources of chance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..dag import Dag
from ..dag.effective_weights import computed_magnitudes
from ..dag.example import unfit_inputs_named
from ..datasets import Dataset, as_dataset
from ..datasets.inputs import IGNORED, Batch, Inputs, call_model, kind_of
from ..errors import InputError, counted
from ..held_masks import PrunedWeights
from ..masks import Masks
from ..parameter_names import called_with
from ..training import Callback, Diverged, Recipe, Training, train
from ..training.losses import AskedLoss, check_targets
from ..training.memory_format import in_memory_format
from .loss_of_output import loss_of_output
from .needs import NotGiven
from .samples import Samples
from .trainable import trainable
from .weight_rows import Rows

__all__ = ["Task"]


@dataclass
class Task:
    """What an algorithm is given: it may change all of it, for the model is a copy.

    Attributes
    ----------
    model
        Copy of the caller's model on the device, in evaluation mode. For an algorithm of stage ``"initial"`` its
        batch norms use the statistics of the batch: at initialisation they have no others.
    weights
        Parameter name -> the parameter of the copy; these alone require gradients.
    kept
        How many of the weights to keep in all.
    given_samples
        The data, or None when none were given; see `samples`.
    generator
        Source of every random choice, on the CPU.
    device
        Where the model is.
    name, seed
        Of the call.
    sparsity
        The share to remove: of `weights`; for a structured algorithm, of those `counted`.
    sparsity_of, counted, prunable
        Of the call; names of the weights that a structured algorithm takes the share of where weights are its budget;
        and how many weights the model has to prune whatever the patterns.
    data, recipe
        What `train` trains with, where they were given.
    asked_loss
        The loss that the call or its recipe names; None for that of the targets. See `loss`.
    given_example
        The example of the model's input that the call gave, as a tuple or a dict of arguments; see `example`.
    call
        What `forward` calls in the place of the model, such as the model with other parameters.
    rows
        Name of a weight -> its rows by output, where an algorithm has found out which elements these are; patterns and
        shares by row hold along them, and else along the first axis.
    frozen
        Parameters of the copy that the caller's model does not train (``requires_grad`` is False), nor does `train`.
    within
        Masks that `torch.nn.utils.prune` keeps in the model, by the names of weights: what they prune is zero in the
        copy, and stays pruned.
    dag
        The copy as it is traced with the example, or with the form of the data; None without these.
    cleared
        What `clear` has last set to zero, by masks of the rounds before.
    keep_state
        Set by an algorithm that changes the weights: what the model holds at the end goes along as `Masks.state`.
    record
        Set by an algorithm that says what it did and when: a table, which goes along as `Masks.record`.
    """

    model: nn.Module
    weights: dict[str, nn.Parameter]
    kept: int
    given_samples: Samples | None
    generator: torch.Generator
    device: torch.device
    name: str = "an algorithm"
    data: Any = None
    recipe: Recipe | None = None
    asked_loss: AskedLoss = None
    seed: int = 0
    keep_state: bool = False
    record: Any = None
    sparsity: float = 0.0
    sparsity_of: str = "included"
    counted: Collection[str] = ()
    prunable: int | None = None
    given_example: tuple[Any, ...] | dict[str, Any] | None = None
    call: Callable[..., Any] | None = None
    rows: dict[str, list[Rows]] = field(default_factory=dict)
    frozen: Sequence[nn.Parameter] = ()
    within: Mapping[str, Tensor] = field(default_factory=dict)
    dag: Dag | None = None
    cleared: Mapping[str, Tensor] = field(default_factory=dict)
    _example: Any = field(default=None, init=False, repr=False)
    _known: tuple[Any, tuple[int, int]] | None = field(default=None, init=False, repr=False)

    def __repr__(self) -> str:
        return f"Task({self.name!r}, keep {self.kept:,} of {counted(self.total, 'weight')})"

    def share(self, masks: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the sparsity of the call is a share of, as arguments of `topo.Masks`; empty where all are one.

        Parameters
        ----------
        masks
            Name -> mask of all that may be pruned.

        Returns
        -------
        dict
            Argument -> value.
        """
        masked = sum(mask.numel() for mask in masks.values())
        if self.sparsity_of == "included" and masked == self.total == (self.prunable or self.total):
            return {}
        included = None if masks.keys() == self.weights.keys() else list(self.weights)
        return {"sparsity_of": self.sparsity_of, "included": included, "prunable": max(self.prunable or 0, masked)}

    @property
    def total(self) -> int:
        """Number of the weights."""
        return sum(weight.numel() for weight in self.weights.values())

    @property
    def room(self) -> dict[str, int]:
        """Name -> how many elements of a weight masks within the model let stay."""
        own = {name: int(mask.sum()) for name, mask in self.within.items()}
        return {name: own.get(name, weight.numel()) for name, weight in self.weights.items()}

    @property
    def samples(self) -> Samples:
        """The data to look at; `InputError` when none were given.

        Raises
        ------
        InputError
            When the call gave no data.
        """
        if self.given_samples is None:
            raise NotGiven(self.name, "data")
        return self.given_samples

    @cached_property
    def dataset(self) -> Dataset | None:
        """The data as a dataset to train with, or None when none were given; `InputError` when they are unfit."""
        return None if self.data is None else as_dataset(self.data)

    @property
    def example(self) -> tuple[Any, ...] | dict[str, Any]:
        """Arguments of the model for one sample, as `topo.trace` takes them: those given, or else made from the data.

        A tuple of positional or a dict of keyword arguments, on the task's device and of the weights' type.

        Raises
        ------
        InputError
            When the call gave neither an example nor data.
        """
        if self._example is None:
            example: Any = self.given_example
            if example is None and self.given_samples is None:
                raise NotGiven(self.name, "example")
            if example is None:
                inputs = self.samples.example()
                example = (inputs,) if isinstance(inputs, Tensor) else inputs
            self._example = self.on_device(example)
        return self.on_device(self._example)

    def clear(self, masks: Mapping[str, Tensor]) -> None:
        """Set the weights of the copy that masks prune to zero.

        Parameters
        ----------
        masks
            Name -> bool mask, of some or all weights.
        """
        # A whole layer may go here that masks of a model must not take, for what is left is only looked at.
        PrunedWeights(masks, self.model, strict=False).clear()
        self.cleared = {**self.cleared, **masks}

    @property
    def magnitudes(self) -> dict[str, Tensor]:
        """Name -> absolute values, in the shape of the weight, of what multiplies the activations.

        Where that is computed from the weight, as by a weight norm, it is what the network computes from it, as far as
        an example of the input shows; otherwise the absolute weight.
        """
        magnitudes = {name: weight.detach().abs() for name, weight in self.weights.items()}
        return magnitudes if self.dag is None else magnitudes | computed_magnitudes(self.dag, magnitudes)

    def on_device(self, inputs: Any) -> Any:
        """Inputs on the task's device, floating-point ones of the weights' type; all are such that gradients may pass.

        Parameters
        ----------
        inputs
            Tensors in any structure.

        Returns
        -------
        object
            The same structure.
        """
        dtype = next(iter(self.weights.values())).dtype

        def placed(tensor: Tensor) -> Tensor:
            there = tensor.to(self.device, dtype if tensor.is_floating_point() else tensor.dtype)
            return _tracked(in_memory_format(there, self.model, channels_last=False))

        return pytree.tree_map_only(Tensor, placed, inputs)

    def forward(self, inputs: Inputs) -> Any:
        """The model's output; `InputError` when it does not take such inputs."""
        inputs = self.on_device(inputs)
        with unfit_inputs_named(inputs):
            return call_model(self.call or self.model, inputs)

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Task:
        """The same task, whose `forward` and `loss` see tensors in the place of the model's own parameters.

        Parameters
        ----------
        tensors
            Plain name -> what stands in for that parameter.

        Returns
        -------
        Task
            Shares everything else with this one.
        """

        def called(*inputs: Any, **named: Any) -> Any:
            return called_with(self.model, tensors, inputs, named)

        return replace(self, call=called)

    def moved(self, batch: Batch, *, targets_only: bool = False) -> Batch:
        """A batch on the task's device, whose labels have been looked at, so that parts of it can do without.

        Parameters
        ----------
        batch
            Inputs and targets.
        targets_only
            Whether the inputs stay where they are.

        Returns
        -------
        tuple
            Inputs and targets.
        """
        inputs, targets = batch
        labels = targets[targets != IGNORED] if targets.ndim > 1 else targets
        whole = kind_of(targets) == "classes" and labels.numel() > 0
        check_targets(self.asked_loss, targets)
        ends = tuple(torch.stack(torch.aminmax(labels)).tolist()) if whole else (0, 0)
        targets = _tracked(targets.to(self.device))
        self._known = targets.untyped_storage(), ends
        return (inputs if targets_only else self.on_device(inputs)), targets

    def _is_known(self, targets: Tensor) -> bool:
        return self._known is not None and self._known[0]._cdata == targets.untyped_storage()._cdata

    def loss(self, inputs: Inputs, targets: Tensor, temperature: float = 1.0) -> Tensor:
        """Mean loss of a batch, that of the call or else of the targets, over samples or positions that have targets.

        Parameters
        ----------
        inputs, targets
            A batch.
        temperature
            What logits are divided by, of cross-entropy; other losses have none.

        Returns
        -------
        Tensor
            One number, with a gradient.

        Raises
        ------
        InputError
            When what the model returns does not fit the targets and the loss.
        """
        output = self.forward(inputs)
        if not self._is_known(targets):
            _, targets = self.moved((inputs, targets), targets_only=True)
        assert self._known is not None, "targets have been moved"
        return loss_of_output(output, targets, self.asked_loss, self._known[1], temperature)

    def train(
        self,
        masks: Masks | None = None,
        *,
        recipe: Recipe | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Training:
        """Train the copy in place, by the recipe of the call unless another is given, and hold masks meanwhile.

        Afterwards the copy is in the mode and with the gradients it had before.

        Parameters
        ----------
        masks
            What is pruned from the start; None for nothing.
        recipe
            How to train; None for the recipe of the call.
        callbacks
            What acts on the training.

        Returns
        -------
        Training
            Masks and history of the run.

        Raises
        ------
        InputError
            When the call gave no data or no recipe, the data are unfit, or the training diverged
            (`topo.training.Diverged`).
        """
        if self.dataset is None or self.recipe is None:
            raise NotGiven(self.name, "recipe")
        with trainable(self.model, self.frozen):
            run = train(
                self.model,
                self.dataset,
                recipe or self.recipe,
                masks=masks,
                seed=self.seed,
                device=self.device,
                progress=False,
                callbacks=callbacks,
            )
        if run.status != "finished":
            raise Diverged(f"pruner {self.name!r} trains the network, and {run.reason}")
        return run

    def gradients(
        self, loss: Tensor, create_graph: bool = False, *, may_be_constant: bool = False
    ) -> dict[str, Tensor]:
        """Gradients of a scalar by the weights.

        A weight that the scalar does not depend on is refused, or, where it may be constant, has gradient zero.

        Parameters
        ----------
        loss
            One number.
        create_graph
            Whether the gradients shall have gradients.
        may_be_constant
            Whether the scalar may depend on some weights only, or on none.

        Returns
        -------
        dict
            Name -> gradient in the weight's shape.
        """
        if may_be_constant and not loss.requires_grad:
            return {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        weights = list(self.weights.values())
        gradients: Sequence[Tensor | None] = (
            torch.autograd.grad(
                loss, weights, create_graph=create_graph, allow_unused=True, materialize_grads=may_be_constant
            )
            if loss.requires_grad
            else [None] * len(weights)
        )
        return self.by_name(gradients)

    def by_name(self, gradients: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """Gradients by the names of the weights.

        Parameters
        ----------
        gradients
            One for each weight, in their order.

        Returns
        -------
        dict
            Name -> gradient.

        Raises
        ------
        InputError
            When one is None.
        """
        named = dict(zip(self.weights, gradients, strict=True))
        unused = [name for name, gradient in named.items() if gradient is None]
        if unused:
            more = f" and {len(unused) - 5} more" if len(unused) > 5 else ""
            raise InputError(
                f"{', '.join(unused[:5])}{more} get no gradient, for the model's output does not depend on them, "
                f"so pruner {self.name!r} cannot score them; exclude them."
            )
        return {name: gradient for name, gradient in named.items() if gradient is not None}


def _tracked(tensor: Tensor) -> Tensor:
    """A tensor that autograd may save, which it does not of those that were made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor
