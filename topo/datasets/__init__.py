"""Labelled images that live on the device: digits, CIFAR, image folders."""

from ..registry import import_submodules
from .augment import Augmentation
from .dataset import Dataset, Split, make_dataset
from .loader import load
from .registry import DATASETS

__all__ = ["DATASETS", "Augmentation", "Dataset", "Split", "load", "make_dataset"]

import_submodules(__name__, __path__)
