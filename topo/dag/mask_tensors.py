"""What is given as masks, checked where it enters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["mask_tensors"]


def mask_tensors(masks: Any) -> dict[str, Tensor]:
    """Masks as bool tensors by parameter name.

    Parameters
    ----------
    masks
        Parameter name -> tensor or array; bool, or numbers that are all exactly 0 or 1.

    Returns
    -------
    dict
        Name -> bool tensor on its own device, which may share memory with what was given.

    Raises
    ------
    InputError
        When it is no mapping, or one of the masks is neither bool nor exact zeros and ones.

    Examples
    --------
    >>> mask_tensors({"weight": [[1, 0]]})
    {'weight': tensor([[ True, False]])}
    >>> mask_tensors("masks.safetensors")
    Traceback (most recent call last):
    topo.errors.InputError: masks must be bool tensors by parameter name, as topo.prune and topo.Masks.load(path) return
    them, not the str 'masks.safetensors'.
    """
    if not isinstance(masks, Mapping):
        raise InputError(
            "masks must be bool tensors by parameter name, as topo.prune and topo.Masks.load(path) return them, not "
            f"the {type(masks).__name__} {str(masks)[:60]!r}."
        )
    return {name: _mask_tensor(name, mask) for name, mask in masks.items()}


def _mask_tensor(name: str, mask: Any) -> Tensor:
    try:
        tensor = mask.detach() if isinstance(mask, Tensor) else torch.from_numpy(np.array(mask))
    except (TypeError, ValueError) as error:
        raise InputError(f"the mask of {name!r} is not an array of numbers: {error}.") from error
    if tensor.dtype != torch.bool and not ((tensor == 0) | (tensor == 1)).all():
        raise InputError(f"the mask of {name!r} must be bool or exactly 0 and 1; it holds other values.")
    return tensor.to(torch.bool)
