"""Any classification network of torchvision, with fresh weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import InputError
from ..torchvision_import import import_torchvision
from .initialise import initialise_missing

__all__ = ["PREFIX", "torchvision_model", "torchvision_names"]

PREFIX = "torchvision:"


def torchvision_names() -> list[str]:
    """Names of torchvision's image classification networks."""
    models = import_torchvision().models
    return models.list_models(module=models)


def torchvision_model(name: str, input_shape: tuple[int, int, int], n_classes: int, **settings: Any) -> nn.Module:
    """A torchvision classification network with `n_classes` outputs and torchvision's own initialisation.

    Inputs that are not of three channels replace the first convolution; transformers are built for the
    image's size. Networks with auxiliary classifiers are built without them, so that each returns one tensor.
    Weights that torchvision leaves at zero (the heads of vision transformers) are drawn.

    Parameters
    ----------
    name
        Name in ``torchvision.models``.
    input_shape
        (channels, height, width) of one image.
    n_classes
        Number of logits.
    settings
        Passed to torchvision's builder; pretrained weights are not offered.

    Returns
    -------
    Module
        With initial weights.

    Raises
    ------
    InputError
        When the shape or a setting does not suit the network.
    """
    channels, height, width = input_shape
    arguments: dict[str, Any] = {"num_classes": n_classes}
    if name in ("googlenet", "inception_v3"):
        # with auxiliary classifiers they return tuples in training; their own initialisation takes seconds
        arguments |= {"aux_logits": False, "init_weights": False}
    elif name.startswith("vit_"):
        if height != width:
            raise InputError(f"model {name!r} takes square images, not {height}x{width}.")
        arguments |= {"image_size": height}
    elif name.startswith("maxvit_"):
        arguments |= {"input_size": (height, width)}
    if "weights" in settings:
        raise InputError("networks are built with fresh weights; leave out 'weights' and load a checkpoint instead.")
    try:
        model = import_torchvision().models.get_model(name, weights=None, **arguments | settings)
    except (TypeError, ValueError, AssertionError, ZeroDivisionError) as error:
        raise InputError(f"model {name!r} cannot be built for inputs of shape {input_shape}: {error}") from error
    if channels != 3:
        _replace_first_convolution(model, channels)
    return initialise_missing(model)


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    name, old = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    copied: dict[str, Any] = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    new = nn.Conv2d(channels, old.out_channels, bias=old.bias is not None, **copied)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    model.set_submodule(name, new)
