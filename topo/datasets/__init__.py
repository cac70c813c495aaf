"""Labelled images that live on the device: digits, CIFAR, image folders."""

from . import cifar, digits, folder
from .augment import Augmentation
from .dataset import Dataset, Split, make_dataset
from .load import load
from .registry import DATASETS

__all__ = ["DATASETS", "Augmentation", "Dataset", "Split", "cifar", "digits", "folder", "load", "make_dataset"]
