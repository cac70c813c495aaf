"""The sizes that a module states of its own tensors."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["resize"]


def resize(module: nn.Module, owner: Any) -> None:
    """Set the sizes that a module states to those of its tensors.

    Parameters
    ----------
    module
        A linear, convolution, embedding, batch or group norm layer whose tensors have been cut, changed in place;
        others stay.
    owner
        The layer that it was copied from, with its tensors uncut.
    """
    weight: Any = getattr(module, "weight", None)
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = weight.shape
    elif isinstance(module, nn.modules.conv._ConvNd):
        leading, inner = weight.shape[:2]
        if module.groups > 1:
            module.groups = leading * owner.groups // owner.weight.shape[0]
        ends = (leading, inner * module.groups)
        module.in_channels, module.out_channels = ends if module.transposed else ends[::-1]
    elif isinstance(module, nn.GroupNorm) and weight is not None:
        module.num_groups = owner.num_groups * weight.numel() // owner.num_channels
        module.num_channels = weight.numel()
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        tensors = [t for t in (weight, module.running_mean) if t is not None]
        if tensors:
            module.num_features = tensors[0].numel()
