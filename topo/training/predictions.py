"""What a model answers, next to what is asked of it: logits and targets, of samples or of their positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

from ..datasets.inputs import IGNORED

__all__ = ["answers", "cross_entropy", "fit", "logits_of", "tensors_of"]


def logits_of(output: Any) -> Tensor | None:
    """The logits in what a model returns.

    Parameters
    ----------
    output
        A tensor; or an object or mapping that has one as ``logits``, as the models of transformers return.

    Returns
    -------
    Tensor or None
        None where there are none.

    Examples
    --------
    >>> import torch
    >>> logits_of({"logits": torch.zeros(2, 3), "hidden_states": None}).shape, logits_of("no tensor")
    (torch.Size([2, 3]), None)
    """
    if not isinstance(output, Tensor):
        output = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return output if isinstance(output, Tensor) else None


def tensors_of(output: Any) -> list[Tensor]:
    """What of a model's output counts: its logits, or else all its floating-point tensors.

    Parameters
    ----------
    output
        What the model returns.

    Returns
    -------
    list
        Of tensors, in their order.

    Examples
    --------
    >>> import torch
    >>> zeros = torch.zeros(2, 3)
    >>> [len(tensors_of(output)) for output in (zeros, {"logits": zeros, "loss": zeros}, (zeros, [zeros]), "none")]
    [1, 1, 2, 0]
    """
    logits = logits_of(output)
    if logits is not None:
        return [logits]
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def answers(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (answers, classes) and targets (answers,), one of each for every position that has a target.

    Parameters
    ----------
    logits
        (samples, classes) for targets of samples. For targets of positions (samples, positions, classes) or, as
        torch's cross-entropy has them, (samples, classes, positions); where both fit, the last axis are the classes.
    targets
        (samples,), or (samples, positions) of any number of axes, -100 where no answer is asked.

    Returns
    -------
    tuple
        Logits and targets; those of samples as they are.

    Examples
    --------
    >>> import torch
    >>> logits, targets = answers(torch.zeros(2, 3, 5), torch.tensor([[1, 2, -100], [4, -100, -100]]))
    >>> logits.shape, targets
    (torch.Size([3, 5]), tensor([1, 2, 4]))
    """
    if targets.ndim == 1 or targets.is_floating_point():
        return logits, targets
    classes_last = logits.shape[:-1] == targets.shape
    last = logits if classes_last else logits.movedim(1, -1)
    counted = targets != IGNORED
    return last[counted], targets[counted]


def fit(logits: Tensor, targets: Tensor) -> bool:
    """Whether there are logits for every target, however many classes they have.

    Parameters
    ----------
    logits, targets
        As for `answers`.

    Returns
    -------
    bool
        By their shapes alone.

    Examples
    --------
    >>> import torch
    >>> [fit(torch.zeros(shape), torch.zeros(2, 3)) for shape in ((2, 3, 5), (2, 5, 3), (2, 5), (2, 4, 5))]
    [True, True, False, False]
    """
    if logits.ndim != targets.ndim + 1:
        return False
    return targets.shape in (logits.shape[:-1], logits.shape[:1] + logits.shape[2:])


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy (nats) of an answer; 0 where none is asked.

    Parameters
    ----------
    logits, targets
        As `answers` returns them; targets may also be probabilities, (samples, classes).
    label_smoothing
        Share of a target that is spread over all classes.

    Returns
    -------
    Tensor
        One number, with a gradient.
    """
    if len(logits) == 0:
        return logits.sum()
    return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
