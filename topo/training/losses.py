"""The losses by name: what each is, which targets it is of, and what is measured beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..datasets.inputs import kind_of
from ..errors import InputError, failures_named, unknown_name
from ..registry import Registry
from .predictions import answers, cross_entropy, fit, logits_of

__all__ = ["KINDS", "LOSSES", "AskedLoss", "Loss", "check_targets", "find_loss", "loss_name"]

KINDS = {
    "classes": "whole numbers from 0 up, one a sample or one a position",
    "labels": "bools, or numbers from 0 to 1, in the shape of the outputs",
    "numbers": "numbers in the shape of the outputs",
}
"""What targets may be."""

LossFunction: TypeAlias = Callable[[Any, Tensor], Tensor]
AskedLoss: TypeAlias = str | LossFunction | None
"""A name of `LOSSES`, a function of outputs and targets that returns their mean loss, or None: that of the targets."""

LOSSES: Registry[LossFunction] = Registry("loss", plural="losses")
"""Functions ``loss(outputs, targets)`` that return one number, the mean over what is asked.

The fact ``targets`` of an entry is one of `KINDS`.
"""


@LOSSES.register("cross-entropy", targets="classes")
def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the softmax of logits, in nats, for classes or, when asked for by name, their probabilities."""
    return cross_entropy(outputs, targets)


@LOSSES.register("bce-with-logits", targets="labels")
def _bce_with_logits(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of the sigmoid of logits, in nats, for labels that each are 0 or 1."""
    return functional.binary_cross_entropy_with_logits(outputs, targets)


@LOSSES.register("mse", targets="numbers")
def _mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of numbers."""
    return functional.mse_loss(outputs, targets)


@LOSSES.register("l1", targets="numbers")
def _l1(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error of numbers."""
    return functional.l1_loss(outputs, targets)


@LOSSES.register("smooth-l1", targets="numbers")
def _smooth_l1(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of half the squared error where it is below 1, and of the absolute error less a half elsewhere (Huber)."""
    return functional.smooth_l1_loss(outputs, targets)


@dataclass(frozen=True)
class Loss:
    """A loss as it is applied to what a model returns.

    Attributes
    ----------
    name
        What errors call it.
    kind
        What the targets are, one of `KINDS`, by which also is decided what is measured beside it.
    function
        From outputs and targets to one number.
    own
        Whether it is a function of the caller's own, which is handed outputs and targets as they are.
    """

    name: str
    kind: str
    function: LossFunction
    own: bool = False

    def paired(self, output: Any, targets: Tensor) -> tuple[Tensor, Tensor] | None:
        """Outputs and targets that answer each other: for classes as `answers`, else of one shape and type.

        Parameters
        ----------
        output
            What the model returns.
        targets
            Of the same batch.

        Returns
        -------
        tuple or None
            None where they do not fit.
        """
        outputs = logits_of(output)
        if outputs is None or not outputs.is_floating_point():
            return None
        if self.kind == "classes":
            if targets.dtype == torch.bool:
                return None
            if targets.is_floating_point():
                return (outputs, targets) if outputs.shape == targets.shape and outputs.ndim > 1 else None
            return answers(outputs, targets) if fit(outputs, targets) else None
        # A model of one output gives (samples, 1) for targets (samples,).
        if outputs.shape not in (targets.shape, (*targets.shape, 1)):
            return None
        return outputs.reshape(targets.shape), targets.to(outputs.dtype)

    def __call__(
        self, output: Any, targets: Tensor, *, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """Mean loss of a batch.

        Parameters
        ----------
        output
            What the model returns.
        targets
            Of the same batch.
        temperature
            What logits of classes are divided by; other outputs stay as they are.
        label_smoothing
            Share of a target that is spread over all classes.

        Returns
        -------
        Tensor
            One number, with a gradient.

        Raises
        ------
        InputError
            When outputs and targets do not fit, or a function of the caller's own returns no number.
        """
        if self.own:
            return self._of_own(output, targets)
        pair = self.paired(output, targets)
        if pair is None:
            raise self.unfit(output, targets)
        return self.of_pair(*pair, temperature=temperature, label_smoothing=label_smoothing)

    def of_pair(
        self, outputs: Tensor, targets: Tensor, *, temperature: float = 1.0, label_smoothing: float = 0.0
    ) -> Tensor:
        """The same, of what `paired` returned.

        Parameters
        ----------
        outputs, targets
            That fit.
        temperature, label_smoothing
            As of a call.

        Returns
        -------
        Tensor
            One number, with a gradient; 0 where nothing is asked.
        """
        if label_smoothing and self.name != "cross-entropy":
            raise InputError(
                f"label_smoothing belongs to cross-entropy; give label_smoothing=0 with loss {self.name!r}."
            )
        if self.name == "cross-entropy":
            return cross_entropy(outputs / temperature, targets, label_smoothing)
        return self._checked(self.function(outputs, targets)) if outputs.numel() else outputs.sum()

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """How many answers are right, of what `paired` returned; None where answers are numbers, of which none is.

        Parameters
        ----------
        outputs, targets
            That fit.

        Returns
        -------
        Tensor or None
            One whole number.
        """
        if self.kind == "numbers":
            return None
        if self.kind == "labels":
            return ((outputs > 0) == (targets > 0.5)).sum()
        return (outputs.argmax(1) == (targets.argmax(1) if targets.is_floating_point() else targets)).sum()

    def _of_own(self, output: Any, targets: Tensor) -> Tensor:
        outputs = logits_of(output)
        with failures_named(f"loss {self.name!r}", torch.OutOfMemoryError):
            return self._checked(self.function(output if outputs is None else outputs, targets))

    def _checked(self, value: Any) -> Tensor:
        if not isinstance(value, Tensor) or value.numel() != 1:
            described = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"loss {self.name!r} must return a tensor of one number, not {described}.")
        return value.reshape(())

    def unfit(self, output: Any, targets: Tensor, name: str = "data") -> InputError:
        """The error for outputs and targets that do not fit.

        Parameters
        ----------
        output, targets
            Of a batch.
        name
            What the message calls the data.

        Returns
        -------
        InputError
            To be raised by the caller.
        """
        outputs = logits_of(output)
        returned = type(output).__name__ if outputs is None else f"{outputs.dtype} of shape {tuple(outputs.shape)}"
        whole = (
            ""
            if self.kind == kind_of(targets) == "classes"
            else "; classes are given as whole numbers, as by targets.long()"
        )
        return InputError(
            f"loss {self.name!r} takes {KINDS[self.kind]}; {name} has targets {targets.dtype} of shape "
            f"{tuple(targets.shape)} and the model returns {returned}: give targets or a model that fit, or another "
            f"loss= ({', '.join(LOSSES)}, or a function of outputs and targets){whole}."
        )


USUAL = {"classes": "cross-entropy", "labels": "bce-with-logits", "numbers": "mse"}


def find_loss(asked: AskedLoss, targets: Tensor) -> Loss:
    """The loss that is asked for, or else that of the targets: cross-entropy, mse, or bce-with-logits of bools.

    Parameters
    ----------
    asked
        A name, a function, or None.
    targets
        Of a batch, or all.

    Returns
    -------
    Loss
        Of the targets.

    Raises
    ------
    InputError
        When the name is unknown.

    Examples
    --------
    >>> [find_loss(asked, torch.rand(3)).name for asked in (None, "l1", functional.huber_loss)]
    ['mse', 'l1', 'huber_loss']
    """
    if asked is None:
        asked = USUAL[kind_of(targets)]
    if isinstance(asked, str):
        entry = LOSSES.entry(asked)
        return Loss(asked, entry.info.get("targets", kind_of(targets)), LOSSES[asked])
    if not callable(asked):
        raise unknown_name("loss", asked, LOSSES)
    return Loss(loss_name(asked), kind_of(targets), asked, own=True)


def loss_name(asked: str | LossFunction) -> str:
    """What a loss is called where it is recorded.

    Parameters
    ----------
    asked
        A name or a function.

    Returns
    -------
    str
        The name; of a function its own, of an object that of its class.
    """
    return asked if isinstance(asked, str) else getattr(asked, "__name__", type(asked).__name__)


def check_targets(asked: AskedLoss, targets: Tensor, name: str = "data") -> None:
    """Refuse targets whose values the loss cannot have, and numbers that may be of another kind unless it is named.

    Parameters
    ----------
    asked
        The loss asked for.
    targets
        All of them, or a batch.
    name
        What the message calls the data.

    Raises
    ------
    InputError
        When the targets are nothing but 0 and 1, or rows of probabilities, in floating-point numbers, and no loss is
        named; when labels are not from 0 to 1; when probabilities of classes are negative or do not add up to 1.

    Examples
    --------
    >>> check_targets(None, torch.eye(2))
    Traceback (most recent call last):
    topo.errors.InputError: the targets of data are torch.float32 of shape (2, 2) and may be labels, probabilities ...
    >>> check_targets("bce-with-logits", torch.tensor([0, 1, 2]))
    Traceback (most recent call last):
    topo.errors.InputError: loss 'bce-with-logits' takes bools, or numbers from 0 to 1, in the shape of the outputs; the
    targets of data are torch.int64 from 0 to 2.
    """
    if asked is None:
        _refuse_ambiguous(targets, name)
        return
    loss = find_loss(asked, targets)
    if loss.own or targets.numel() == 0 or targets.dtype == torch.bool:
        return
    fault = ""
    if loss.kind == "labels" and bool(((targets < 0) | (targets > 1)).any()):
        fault = f"{targets.dtype} from {float(targets.min()):g} to {float(targets.max()):g}"
    elif loss.kind == "classes" and targets.is_floating_point() and not _are_probabilities(targets):
        fault = f"{targets.dtype} that are no probabilities, which are from 0 up and add up to 1 over the classes of"
        fault += " a sample"
    if fault:
        raise InputError(f"loss {loss.name!r} takes {KINDS[loss.kind]}; the targets of {name} are {fault}.")


def _are_probabilities(targets: Tensor) -> bool:
    """Whether the second axis are probabilities of classes, as exact as 16 bits let them be."""
    if targets.ndim < 2 or not bool((targets >= 0).all()):
        return False
    sums = targets.float().sum(1)
    return bool(torch.isclose(sums, torch.ones_like(sums), atol=1e-2).all())


def _refuse_ambiguous(targets: Tensor, name: str) -> None:
    if not targets.is_floating_point() or targets.numel() < 2:
        return
    may_be = []
    if bool(((targets == 0) | (targets == 1)).all()):
        may_be.append(("labels", "bce-with-logits"))
    if targets.ndim > 1 and targets.shape[1] > 1 and bool((targets >= 0).all()):
        sums = targets.sum(1)
        if bool(torch.isclose(sums, torch.ones_like(sums), atol=1e-4).all()):
            may_be.append(("probabilities of classes", "cross-entropy"))
    if may_be:
        kinds, losses = zip(*[*may_be, ("numbers", "mse")], strict=True)
        raise InputError(
            f"the targets of {name} are {targets.dtype} of shape {tuple(targets.shape)} and may be "
            f"{', '.join(kinds[:-1])} or {kinds[-1]}; say which with loss= ({', '.join(losses)}), or give classes as "
            "whole numbers."
        )
