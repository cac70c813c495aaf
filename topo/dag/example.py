"""What a model is called with, as every verb, command and study takes it: one argument named `example`."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError
from ..memory import available_memory, in_words

__all__ = ["Example", "example_arguments", "is_shape", "sample_shapes", "unfit_inputs_named", "unfit_keywords"]

Example: TypeAlias = (
    "Tensor | Mapping[str, Tensor | Sequence[int]] | Sequence[int] | Sequence[Tensor | Sequence[int] | Any]"
)
"""A tensor; a tuple of a model's arguments; a dict of its keyword arguments; or, as shorthand, the shape of one sample
such as ``(3, 32, 32)`` or a tuple of shapes, one an argument. Tensors have samples along their first axis."""

COPIES = 3
"""How often an input is held while a model is traced: two samples beside one."""


def example_arguments(
    example: Example | None, model: nn.Module | None = None, *, verb: str = "topo.trace"
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments that `example` stands for.

    Shapes become zeros of one sample, of the type of the model's first floating-point parameter; tensors are put on
    the device of the model's first parameter and detached.

    Parameters
    ----------
    example
        See `Example`.
    model
        Gives the device and the type.
    verb
        Who asks, for the error.

    Returns
    -------
    tuple
        The positional arguments, and the keyword arguments.

    Raises
    ------
    InputError
        When `example` is none of these, holds no tensor with samples along its first axis, or is a shape for which
        there is not enough memory.

    Examples
    --------
    >>> args, kwargs = example_arguments((3, 8, 8))
    >>> [tuple(a.shape) for a in args], kwargs
    ([(1, 3, 8, 8)], {})
    >>> args, kwargs = example_arguments({"x": (4,), "y": torch.zeros(1, 2)})
    >>> {name: tuple(value.shape) for name, value in kwargs.items()}
    {'x': (1, 4), 'y': (1, 2)}
    """
    parameters = [] if model is None else list(model.parameters())
    device = next((p.device for p in parameters), torch.device("cpu"))
    dtype = next((p.dtype for p in parameters if p.is_floating_point()), torch.get_default_dtype())

    def filled(value: Any) -> Any:
        if is_shape(value):
            if any(size < 1 for size in value):
                raise InputError(f"{verb}: shape {tuple(value)} must be of sizes from 1 up, such as (3, 32, 32).")
            size, free = COPIES * dtype.itemsize * prod(value), available_memory()
            if size > free:
                raise InputError(
                    f"{verb}: an input of shape {tuple(value)} takes {in_words(size)} in all, and {in_words(free)} of "
                    "memory are left; use a smaller one."
                )
            return torch.zeros(1, *value, dtype=dtype, device=device)
        return pytree.tree_map_only(Tensor, lambda t: t.detach().to(device), value)

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(example, Mapping):
        kwargs = {name: filled(value) for name, value in example.items()}
    elif isinstance(example, Tensor) or is_shape(example):
        args = (filled(example),)
    elif isinstance(example, list | tuple):
        args = tuple(filled(value) for value in example)
    leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not leaves or any(leaf.ndim == 0 for leaf in leaves) or any(not isinstance(name, str) for name in kwargs):
        raise InputError(
            f"{verb} needs an example of the model's input: a tensor whose first axis counts samples, a tuple or dict "
            f"of them, or the shape of one sample such as (3, 32, 32); got {_described(example)}."
        )
    return args, kwargs


def is_shape(value: Any) -> bool:
    """Whether `value` is a tuple or list of whole numbers: the shape of one sample.

    Parameters
    ----------
    value
        Anything.

    Returns
    -------
    bool
        False for an empty tuple, and where an entry is a bool.
    """
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(size, int) and not isinstance(size, bool) for size in value)
    )


def sample_shapes(example: Any) -> Any:
    """The shape of one sample in the place of every tensor of an `Example`: what a model is built for.

    Parameters
    ----------
    example
        A tensor, a shape of one sample, or a tuple or dict of these.

    Returns
    -------
    tuple or dict
        A shape, or a tuple or dict of shapes, in the form of `example`; the samples' axis of tensors is left out.

    Examples
    --------
    >>> sample_shapes(torch.zeros(2, 3)), sample_shapes({"x": torch.zeros(1, 4), "y": (2,)})
    ((3,), {'x': (4,), 'y': (2,)})
    """
    if isinstance(example, Tensor):
        return tuple(example.shape[1:])
    if isinstance(example, Mapping):
        return {name: sample_shapes(value) for name, value in example.items()}
    if is_shape(example):
        return tuple(example)
    shapes = tuple(sample_shapes(value) for value in cast("Sequence[Example]", example))
    return shapes[0] if len(shapes) == 1 else shapes


@contextmanager
def unfit_inputs_named(inputs: Any, *, name: str = "") -> Iterator[None]:
    """Say of a failure of a model within the `with` block that it does not take these inputs, with their shapes.

    Parameters
    ----------
    inputs
        Tensors, in tuples or dicts or alone.
    name
        Whose inputs they are, such as ``"dataset 'digits'"``.

    Raises
    ------
    InputError
        In place of what the model raises; a lack of memory goes on as it is.

    Examples
    --------
    >>> x, model = torch.zeros(1, 5), nn.Sequential(nn.Linear(4, 3))
    >>> with unfit_inputs_named(x):
    ...     model(x)
    Traceback (most recent call last):
    topo.errors.InputError: the model does not take inputs of shape (1, 5), samples along the first axis: mat1 and mat2
    shapes cannot be multiplied (1x5 and 4x3) in module '0' (Linear); give inputs of the shape that it is built for.
    """
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        if isinstance(inputs, Mapping) and isinstance(error, TypeError) and " argument" in str(error):
            raise unfit_keywords(inputs, str(error).partition("forward() ")[2] or str(error)) from error
        tensors = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"the model does not take inputs of shape {shapes}{f' of {name}' if name else ''}, samples along the first "
            f"axis: {reason[:300].rstrip('.')}{_where(error)}; give inputs of the shape that it is built for"
            f"{_hint(reason, tensors)}."
        ) from error


# What torch says where a table or a tensor is indexed by numbers that are no integers.
_NO_INDICES = r"'indices'|used as indices must be|[Ee]xpected dtype int|index tensor of type|indices should be"
_ONE_SAMPLE = "; a shape given as an example is that of one sample, such as (3, 32, 32): leave the batch axis out"


_ONE_VALUE = "; batch norms have no statistics of one sample alone: give more samples at a time"
_TOKENS = "; a shape stands for zeros that are no integers: give tokens, such as torch.zeros(1, 16, dtype=torch.long)"


def _hint(reason: str, tensors: Sequence[Tensor]) -> str:
    if "more than 1 value per channel" in reason:
        return _ONE_VALUE
    if re.search(_NO_INDICES, reason) and any(tensor.is_floating_point() for tensor in tensors):
        return _TOKENS
    return _ONE_SAMPLE if any(map(_has_second_samples_axis, tensors)) else ""


def _has_second_samples_axis(tensor: Tensor) -> bool:
    """Whether a tensor looks like zeros of a shape that was given with its batch axis; (1, 1, 8, 8) is an image."""
    return tensor.ndim not in (0, 4) and len(tensor) == 1 and (tensor.ndim > 4 or tensor.shape[:2] == (1, 1))


def unfit_keywords(names: Iterable[str], reason: object, forward: str = "forward") -> InputError:
    """The error for inputs by keyword that a model's forward does not have.

    Parameters
    ----------
    names
        The keywords.
    reason
        What does not fit.
    forward
        The forward as the message has it, such as ``"forward(batch)"``.

    Returns
    -------
    InputError
        To be raised by the caller.

    Examples
    --------
    >>> print(unfit_keywords(["x", "y"], "missing a required argument: 'batch'"))
    the inputs x, y by keyword do not fit the model's forward: missing a required argument: 'batch'; a model whose one
    argument is a dict takes it in a tuple, ({...},).
    """
    return InputError(
        f"the inputs {', '.join(map(str, names))} by keyword do not fit the model's {forward}: {reason}; a model whose "
        "one argument is a dict takes it in a tuple, ({...},)."
    )


def _where(error: Exception) -> str:
    """The innermost module in whose forward an error arose, by its name in the outermost one."""
    calls = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [module for module in calls if isinstance(module, nn.Module)]
    names = [name for name, module in modules[0].named_modules() if module is modules[-1]] if modules else []
    return f" in module {names[0]!r} ({type(modules[-1]).__name__})" if any(names) else ""


def _described(example: Any) -> str:
    return "none" if example is None else f"{type(example).__name__} {str(example)[:60]}"
