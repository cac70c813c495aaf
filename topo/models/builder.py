"""A model from its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ..dag.example import Example, example_arguments
from ..errors import InputError, failures_named, nearest, unknown_name
from ..randomness import own_randomness
from ..validation import check_settings, whole_number
from .registry import MODELS
from .torchvision_models import PREFIX, torchvision_model, torchvision_names

__all__ = ["build"]


IMAGE = ("channels", "height", "width")


def build(
    name: str,
    *,
    input_shape: Example = (3, 32, 32),
    n_classes: int = 10,
    seed: int = 0,
    example: Example | None = None,
    **settings: Any,
) -> nn.Module:
    """Build a network with fresh weights, on the CPU and in training mode.

    The same seed gives the same weights; the global random state stays as it was.

    Parameters
    ----------
    name
        One of `MODELS`, or any classification network of torchvision; ``"torchvision:<name>"`` asks for
        torchvision's where both have one.
    input_shape
        Shape of one input: (channels, height, width) of an image, (positions,) of tokens, (steps, features) of a
        sequence. For a network of your own, whatever shape it takes, or a tuple or dict of shapes where it takes
        several inputs; its builder gets it as it is.
    n_classes
        Number of outputs, from 1 up; of a language model the size of the vocabulary.
    seed
        Seed of the fresh weights.
    example
        What the network is called with once, to draw the weights of lazy layers and to see that it fits; zeros of
        `input_shape` unless given. A network of your own that takes whole numbers, such as tokens, needs it.
    settings
        The network's own options, such as ``shortcut="projection"``.

    Returns
    -------
    nn.Module
        It maps ``(N, *input_shape)`` to (N, n_classes), a language model to (N, positions, n_classes).

    Raises
    ------
    InputError
        When the name or a setting is unknown, or when the network cannot take inputs of that shape.

    Examples
    --------
    >>> net = build("resnet20", shortcut="projection", seed=1)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    entry = MODELS.entry(name) if name in MODELS else None
    axes = IMAGE if entry is None else entry.info.get("sample", IMAGE)
    shape = input_shape if _is_own(name) else _checked_shape(input_shape, axes)
    whole_number("n_classes", n_classes, minimum=1)
    builder: Callable[..., nn.Module]
    if name in MODELS:
        check_settings(MODELS[name], settings, f"model {name!r}", caller=build)
        builder = MODELS[name]
    else:
        builder = partial(torchvision_model, _torchvision_name(name))
    with own_randomness(whole_number("seed", seed)):
        try:
            with failures_named(f"model {name!r}", RuntimeError):
                model = builder(shape, n_classes, **settings)
        except RuntimeError as error:
            raise _misfit(name, shape, error) from error
        if not isinstance(model, nn.Module):
            raise InputError(f"model {name!r} returned a {type(model).__name__}; it must return an nn.Module.")
        if example is None:
            tokens = entry is not None and entry.info.get("tokens")
            example = torch.zeros(1, *shape, dtype=torch.int64) if tokens else shape
        _check_forward(name, model, shape, example)  # which draws the weights of lazy layers
    return model


def _is_own(name: str) -> bool:
    return name in MODELS and not MODELS.entry(name).source.built_in


def _checked_shape(input_shape: Any, axes: Sequence[str]) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) for size in input_shape)
    except (TypeError, ValueError):
        shape = ()
    if len(shape) != len(axes) or min(shape) < 1:
        batch = "; leave the batch axis out" if len(shape) == len(axes) + 1 else ""
        wanted = f"({', '.join(axes)}{',' * (len(axes) == 1)})"
        raise InputError(f"the shape of one sample must be {wanted}, all positive, not {input_shape!r}{batch}.")
    return shape


def _torchvision_name(name: str) -> str:
    names = torchvision_names()
    short = str(name).removeprefix(PREFIX)
    if short not in names:
        if short.endswith(".py") or ":" in short or "." in short:
            raise InputError(
                f"{name!r} names no model: a file of your own registers one with @topo.models.MODELS.register(NAME, "
                "family=...), and after --import FILE (in Python: an import) NAME is known."
            )
        raise unknown_name("model", name, [*MODELS, *nearest(short, names)])
    return short


def _check_forward(name: str, model: nn.Module, shape: Example, example: Example) -> None:
    model.eval()
    arguments, keywords = example_arguments(example, verb="topo.models.build")
    try:
        with torch.no_grad(), failures_named(f"model {name!r}", RuntimeError, ValueError, AssertionError):
            model(*arguments, **keywords)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _misfit(name, shape, error) from error
    model.train()


def _misfit(name: str, shape: Example, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"model {name!r} cannot take inputs of shape {shape} ({reason}); give a shape that suits it.")
