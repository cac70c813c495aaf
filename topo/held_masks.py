"""Masks in force: how pruned weights become zero, and stay so while an optimizer trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .errors import InputError
from .parameter_names import named_parameters
from .weight_norms import is_spectral, norm_scales
from .wrapped_names import renamed

__all__ = ["HeldMasks", "PrunedWeights"]


class PrunedWeights:
    """The pruned weights of a model, and what it takes that the weights computed from them are zero.

    A weight norm divides every row by its own norm: of a row that is pruned whole, the scale is set to zero and the
    direction is left as it is.

    Parameters
    ----------
    masks
        Plain name -> bool mask.
    model
        The network.
    strict
        Whether weights are refused that cannot be pruned whole.

    Raises
    ------
    InputError
        When a mask prunes the whole of a weight that a spectral norm divides by its largest singular value.

    Examples
    --------
    >>> net = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> masks = {"weight": torch.tensor([[True, False], [False, False]])}
    >>> PrunedWeights(masks, net).clear()
    >>> (net.weight != 0).tolist()
    [[True, False], [False, False]]
    """

    def __init__(self, masks: Mapping[str, Tensor], model: nn.Module, *, strict: bool = True) -> None:
        parameters, scales = named_parameters(model, aliases=True), norm_scales(model)
        self._pruned: list[tuple[nn.Parameter, Tensor]] = []
        self._directions: list[tuple[nn.Parameter, Tensor]] = []
        for name, mask in renamed(masks, parameters).items():
            parameter, pruned = parameters[name], ~mask
            if strict and not mask.any() and is_spectral(model, name):
                raise InputError(
                    f"the masks prune the whole of {name!r}, which a spectral norm divides by its largest singular "
                    "value, then zero; keep a weight of it, or remove the spectral norm."
                )
            if name in scales:
                scale, axes = scales[name]
                whole = pruned.all(dim=axes, keepdim=True) if axes else pruned
                self._add(self._pruned, scale, whole.view_as(scale))
                self._add(self._directions, parameter, whole.expand_as(pruned))
                pruned = pruned & ~whole
            self._add(self._pruned, parameter, pruned)

    @staticmethod
    def _add(to: list[tuple[nn.Parameter, Tensor]], parameter: nn.Parameter, where: Tensor) -> None:
        # In the memory layout of the parameter, so that filling reads both in one order.
        laid_out = torch.empty_like(parameter, dtype=torch.bool, requires_grad=False)
        to.append((parameter, laid_out.copy_(where)))

    def __iter__(self) -> Iterator[nn.Parameter]:
        """The parameters of which something is held at zero."""
        return (parameter for parameter, _ in self._pruned)

    @torch.no_grad()
    def clear(self) -> None:
        """Set the pruned weights to 0.0."""
        for parameter, pruned in self._pruned:
            parameter.masked_fill_(pruned.to(parameter.device), 0.0)
        for parameter, whole in self._directions:
            # A direction of length zero has no norm to be divided by.
            parameter.masked_fill_(whole.to(parameter.device) & (parameter == 0), 1.0)

    @torch.no_grad()
    def clear_gradients(self) -> None:
        """Set the gradients of the pruned weights to 0.0."""
        for parameter, pruned in (*self._pruned, *self._directions):
            if parameter.grad is not None:
                parameter.grad.masked_fill_(pruned.to(parameter.device), 0.0)


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
        pruned = PrunedWeights(masks, model)
        updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(parameter) in updated for parameter in pruned):
            raise InputError("the optimizer updates none of the masked parameters; build it from this very model.")

        def before(*_: Any) -> None:
            pruned.clear_gradients()

        def after(*_: Any) -> None:
            pruned.clear()

        self._hooks = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]

    def remove(self) -> None:
        """Let the optimizer move the pruned weights again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def __enter__(self) -> HeldMasks:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
