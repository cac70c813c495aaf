"""Models that no verb can work on, and models whose weights have no values: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import InputError

__all__ = ["check_readable", "check_traceable", "check_values", "quantised_layers"]

QUANTISED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")
"""Where torch keeps its quantised layers."""


def check_readable(model: nn.Module, verb: str) -> None:
    """Raise `InputError` for TorchScript and for weights that are stored as sparse tensors.

    Parameters
    ----------
    model
        Any module.
    verb
        Who asks, for the error.

    Raises
    ------
    InputError
        Names the module or the parameter.

    Examples
    --------
    >>> check_readable(torch.jit.script(nn.Linear(2, 2)), "topo.trace")
    Traceback (most recent call last):
    topo.errors.InputError: topo.trace cannot look into TorchScript: the model is a RecursiveScriptModule; give the
    nn.Module that it was made from.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"{verb} cannot look into TorchScript: {f'module {name!r}' if name else 'the model'} is a "
                f"{type(module).__name__}; give the nn.Module that it was made from."
            )
    for name, tensor in model.named_parameters():
        if tensor.layout is not torch.strided:
            raise InputError(
                f"{verb} needs dense weights: {name!r} is stored as {tensor.layout}; give the model with "
                "nn.Parameter(weight.to_dense()), whose zeros count as pruned."
            )


def check_traceable(model: nn.Module, verb: str) -> None:
    """Raise `InputError` for quantised layers and for parameters that have no shape yet.

    Parameters
    ----------
    model
        Any module.
    verb
        Who asks, for the error.

    Raises
    ------
    InputError
        Names the layer or the parameter.
    """
    for name in quantised_layers(model):
        raise InputError(
            f"{verb} cannot follow the quantised module {name!r} ({type(model.get_submodule(name)).__name__}), whose "
            "weights are no parameters; give the model as it was before it was quantised."
        )
    for name, tensor in model.named_parameters():
        if is_lazy(tensor):
            raise InputError(f"{verb}: {name!r} has no shape yet; run the model once on an input.")


def check_values(tensors: Mapping[str, Tensor], verb: str) -> None:
    """Raise `InputError` where a tensor is on the meta device.

    Parameters
    ----------
    tensors
        Parameters and buffers by name.
    verb
        Who asks, for the error.

    Raises
    ------
    InputError
        Names the first such tensor.

    Examples
    --------
    >>> check_values({"0.weight": torch.empty(2, device="meta")}, "topo.encode")
    Traceback (most recent call last):
    topo.errors.InputError: topo.encode needs the values of the weights, and '0.weight' has none on the meta device;
    build the model on another device, or load its weights after model.to_empty(device="cpu").
    """
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise InputError(
                f"{verb} needs the values of the weights, and {name!r} has none on the meta device; build the model on "
                'another device, or load its weights after model.to_empty(device="cpu").'
            )


def quantised_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose weights are no parameters, since they are quantised.

    Parameters
    ----------
    model
        Any module.

    Returns
    -------
    list
        Names of modules.
    """
    return [
        name
        for name, module in model.named_modules()
        if hasattr(module, "qweight") or any(c.__module__.startswith(QUANTISED) for c in type(module).__mro__)
        if not name.endswith("._packed_params")  # a part of such a layer
    ]
