"""Networks by name: small-image networks of the sparsity literature and all of torchvision's."""

from ..registry import import_submodules
from .builder import build
from .registry import MODELS
from .torchvision_models import torchvision_names

__all__ = ["MODELS", "build", "torchvision_names"]

import_submodules(__name__, __path__)
