"""Regression on a small table that scikit-learn brings along."""

from __future__ import annotations

from pathlib import Path

import torch

from .dataset import Dataset, make_dataset
from .registry import DATASETS
from .split import Split

__all__ = ["diabetes"]


@DATASETS.register("diabetes", family="embedded", recipe="table", root="not used: scikit-learn holds the table")
def diabetes(root: Path | None = None, download: bool = False) -> Dataset:
    """Regression: how a disease has progressed after a year, from ten numbers of each of 442 patients; no files.

    The table of Efron, Hastie, Johnstone, Tibshirani, *Least angle regression*, Annals of Statistics 2004, as
    scikit-learn holds it. Every fourth patient is a test sample. Inputs have mean 0 and standard deviation 1 over all
    patients, as their table has them up to a factor, and targets over the training samples.

    Parameters
    ----------
    root, download
        Not used.

    Returns
    -------
    Dataset
        Inputs (samples, 10), targets (samples,) of floating point.

    Examples
    --------
    >>> data = diabetes()
    >>> data.input_shape, data.n_outputs, len(data.train), len(data.test)
    ((10,), 1, 331, 111)
    """
    from sklearn.datasets import load_diabetes

    inputs, values = load_diabetes(return_X_y=True)
    features = torch.from_numpy(inputs * len(inputs) ** 0.5).float()
    targets, held_out = torch.from_numpy(values), torch.arange(len(values)) % 4 == 0
    known = targets[~held_out]
    targets = ((targets - known.mean()) / known.std(correction=0)).float()
    train, test = (Split(features[where], targets[where]) for where in (~held_out, held_out))
    return make_dataset("diabetes", train, test, normalise=False)
