"""Models that cannot have gates because of what they are wrapped in."""

from __future__ import annotations

from torch import nn

from ...errors import InputError

__all__ = ["check_plain"]


def check_plain(model: nn.Module) -> None:
    """`InputError` for a model that is compiled or wrapped to run on several devices."""
    for module in model.modules():
        kind = type(module).__name__
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise InputError(f"the model is wrapped in {kind}; give the plain model, its attribute 'module'.")
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise InputError(
                "the model is compiled by torch.compile; give the plain model, for its shapes change when units go."
            )
