"""Labelled samples that live on the device: digits, CIFAR, image folders, and any data of one's own."""

from ..registry import import_submodules
from .augment import Augmentation
from .conversion import as_dataset
from .dataset import Dataset, make_dataset
from .loader import load
from .registry import DATASETS
from .split import Split

__all__ = ["DATASETS", "Augmentation", "Dataset", "Split", "as_dataset", "load", "make_dataset"]

import_submodules(__name__, __path__)
