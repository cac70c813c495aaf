"""A dataset from its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..device import resolve_device
from ..errors import InputError, failures_named
from ..validation import check_settings
from .dataset import Dataset
from .registry import DATASETS

__all__ = ["load"]


def load(
    name: str = "digits",
    *,
    root: str | Path | None = None,
    device: str | torch.device = "cpu",
    download: bool = False,
    subset: int | None = None,
    **settings: Any,
) -> Dataset:
    """Load a dataset whole onto a device.

    Parameters
    ----------
    name
        One of `DATASETS`.
    root
        Folder of the files, for those that need one, or a folder that holds them in a folder of the dataset's name.
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
    download
        Fetch missing files into `root` where the dataset can.
    subset
        Keep the first so many samples of each class in both splits, for quick studies.
    settings
        The dataset's own options, such as ``size`` of ``folder``.

    Returns
    -------
    Dataset
        On the device.

    Raises
    ------
    InputError
        When the name or a setting is unknown, or files are missing or damaged.

    Examples
    --------
    >>> data = load("digits", subset=10)
    >>> data.train_inputs.shape, data.n_classes
    (torch.Size([100, 1, 8, 8]), 10)
    """
    loader = DATASETS[name]
    check_settings(loader, settings, f"dataset {name!r}", caller=load)
    target = resolve_device(device)
    folder = None if root is None else Path(root).expanduser()
    if folder is not None and (folder / name).is_dir():
        folder = folder / name
    with failures_named(f"dataset {name!r}"):
        dataset = loader(folder, download, **settings)
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"dataset {name!r} returned a {type(dataset).__name__}; it must return a topo.datasets.Dataset."
        )
    return (dataset if subset is None else dataset.subset(subset)).to(target)
