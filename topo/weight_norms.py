"""Torch's weight norms and spectral norms, the present and the older kind: what divides a weight by a norm of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["is_spectral", "norm_axes", "norm_scales"]

_WEIGHT_NORMS = (parametrizations._WeightNorm, WeightNorm)
_SPECTRAL_NORMS = (parametrizations._SpectralNorm, SpectralNorm)


def norm_scales(model: nn.Module) -> dict[str, tuple[nn.Parameter, tuple[int, ...]]]:
    """The scales of weight norms, by the plain names of the weights.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    dict
        Plain name of a weight -> its scale, and the axes of the weight over which a norm is taken.

    Examples
    --------
    >>> net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    >>> [(name, tuple(scale.shape), axes) for name, (scale, axes) in norm_scales(net).items()]
    [('0.weight', (3, 1), (1,))]
    """
    found = {}
    for module, plain, name, norm in _norms(model):
        if isinstance(norm, _WEIGHT_NORMS):
            if isinstance(norm, WeightNorm):
                scale, weight = getattr(module, f"{plain}_g"), getattr(module, f"{plain}_v")
            else:
                stored: Any = module.parametrizations[plain]  # type: ignore[index]
                scale, weight = stored.original0, stored.original1
            dim = norm.dim
            axes = tuple(axis for axis in range(weight.ndim) if dim in (None, -1) or axis != dim % weight.ndim)
            found[name] = scale, axes
    return found


def norm_axes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The axes over which norms of weights are taken, by the plain names of the weights.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    dict
        Of weights that a weight norm or a spectral norm divides.

    Examples
    --------
    >>> layers = nn.Linear(4, 3), nn.Linear(3, 2)
    >>> norm_axes(nn.Sequential(parametrizations.weight_norm(layers[0]), parametrizations.spectral_norm(layers[1])))
    {'0.weight': (1,), '1.weight': (0, 1)}
    """
    found = {name: axes for name, (_, axes) in norm_scales(model).items()}
    for module, plain, name, norm in _norms(model):
        if isinstance(norm, _SPECTRAL_NORMS):
            # Not the weight itself: computing it takes a step of the iteration that finds the norm.
            stored: Any = getattr(module, f"{plain}_orig", None)
            stored = module.parametrizations[plain].original if stored is None else stored  # type: ignore[index,union-attr]
            found[name] = tuple(range(stored.ndim))
    return found


def is_spectral(model: nn.Module, name: str) -> bool:
    """Whether a spectral norm divides a weight by its largest singular value.

    Parameters
    ----------
    model
        The network.
    name
        Plain name of the weight.

    Returns
    -------
    bool
        For both kinds.
    """
    return any(known == name and isinstance(norm, _SPECTRAL_NORMS) for _, _, known, norm in _norms(model))


def _norms(model: nn.Module) -> Iterator[tuple[nn.Module, str, str, Any]]:
    """Module, name of the weight within it, its plain name in the model, and each thing that computes it."""
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        if parametrize.is_parametrized(module):
            for plain, stored in module.parametrizations.items():
                for part in stored:
                    yield module, plain, f"{prefix}{plain}", part
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, (WeightNorm, SpectralNorm)):
                yield module, hook.name, f"{prefix}{hook.name}", hook
