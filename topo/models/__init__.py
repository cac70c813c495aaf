"""Networks by name: small-image networks of the sparsity literature and all of torchvision's."""

from . import conv6, digits, mobilenet, resnet, wide_resnet
from .build import build
from .registry import MODELS
from .torchvision_models import torchvision_names

__all__ = ["MODELS", "build", "conv6", "digits", "mobilenet", "resnet", "torchvision_names", "wide_resnet"]
