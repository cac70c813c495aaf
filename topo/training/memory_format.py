"""Channels-last memory of images and weights in training, where gradients in it are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..datasets.inputs import map_inputs

__all__ = ["in_memory_format", "leave_channels_last", "right_in_channels_last", "weights_in_channels_last"]

# oneDNN writes past its buffer in the gradient of the weights of a 1x1 convolution that leaves out positions, in
# channels-last memory, where it has fewer input channels than fill a vector register: 8 with AVX2, 16 with AVX-512
# (https://github.com/uxlfoundation/oneDNN/issues/6035). Gradients are wrong then, or the process dies.
FEWEST_CHANNELS = 16


def right_in_channels_last(model: nn.Module) -> bool:
    """Whether gradients are right where images and weights are in channels-last memory.

    Parameters
    ----------
    model
        The network, on the device that it is trained on.

    Returns
    -------
    bool
        False on the CPU where a 1x1 convolution of stride 2 or more has fewer than 16 input channels.

    Examples
    --------
    >>> [right_in_channels_last(nn.Conv2d(channels, 32, 1, stride=2)) for channels in (15, 16)]
    [False, True]
    """
    return not any(
        isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        and module.weight.device.type == "cpu"
        and set(module.kernel_size) == {1}
        and set(module.stride) != {1}
        and min(module.weight.shape[:2] if module.transposed else module.weight.shape[1:2]) < FEWEST_CHANNELS
        for module in model.modules()
    )


def in_memory_format(inputs: Any, model: Callable[..., Any], *, channels_last: bool = True) -> Any:
    """Images in memory in which gradients are right: channels-last where it is asked for and `right_in_channels_last`.

    Parameters
    ----------
    inputs
        Tensor, tuple or dict; all but images stay as they are.
    model
        The network that they are given to, or a function, of which nothing is known.
    channels_last
        Whether channels-last memory is asked for; without, images stay as they are where gradients are right.

    Returns
    -------
    Tensor, tuple or dict
        With the same numbers.
    """
    if isinstance(model, nn.Module) and not right_in_channels_last(model):
        return map_inputs(_contiguous, inputs)
    return map_inputs(_channels_last, inputs) if channels_last else inputs


def leave_channels_last(model: nn.Module) -> None:
    """Put weights into contiguous memory, in place, where gradients are wrong in another.

    Parameters
    ----------
    model
        The network.
    """
    if not right_in_channels_last(model):
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's types lack this overload


@contextmanager
def weights_in_channels_last(model: nn.Module) -> Iterator[None]:
    """The model's weights in channels-last memory where `right_in_channels_last`; afterwards as usual.

    Parameters
    ----------
    model
        The network.
    """
    if right_in_channels_last(model):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _contiguous(tensor: torch.Tensor) -> torch.Tensor:
    # Of one channel or one pixel, a tensor counts as contiguous where its strides say channels-last.
    usual = tensor.ndim != 4 or tensor.stride() == torch.empty(tensor.shape, device="meta").stride()
    return tensor if usual else tensor.clone(memory_format=torch.contiguous_format)


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
