"""Masks in force: how pruned weights stay zero while an optimizer trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .errors import InputError
from .parameter_names import named_parameters
from .wrapped_names import renamed

__all__ = ["HeldMasks"]


class HeldMasks:
    """Masks in force on the parameters an optimizer updates; made by `Masks.hold`.

    Before a step the gradients of the pruned weights are set to zero, so that they enter no momentum and no norm;
    after it the weights themselves are, so that weight decay, noise or a running average cannot bring them back.

    Parameters
    ----------
    masks, model, optimizer
        As for `Masks.hold`.

    Raises
    ------
    InputError
        When the optimizer updates none of the masked parameters.
    """

    def __init__(self, masks: Mapping[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        parameters = named_parameters(model, aliases=True)
        masks = renamed(masks, parameters)
        updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(parameters[name]) in updated for name in masks):
            raise InputError("the optimizer updates none of the masked parameters; build it from this very model.")
        self._pruned = [(parameters[name], ~mask.to(parameters[name].device)) for name, mask in masks.items()]
        self._hooks = [
            optimizer.register_step_pre_hook(self._clear_gradients),
            optimizer.register_step_post_hook(self._clear_weights),
        ]

    @torch.no_grad()
    def _clear_gradients(self, *_: Any) -> None:
        for parameter, pruned in self._pruned:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(pruned.to(parameter.device), 0.0)

    @torch.no_grad()
    def _clear_weights(self, *_: Any) -> None:
        for parameter, pruned in self._pruned:
            parameter.masked_fill_(pruned.to(parameter.device), 0.0)

    def remove(self) -> None:
        """Let the optimizer move the pruned weights again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def __enter__(self) -> HeldMasks:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
