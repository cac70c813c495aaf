"""OWL: outlier weighed layer-wise sparsity (Yin et al., ICML 2024, arXiv 2310.05175)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...validation import flag, real_number
from ..allocation import layer_counts
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import check_scores
from .activation_scores import activation_scores, kept_in_rows
from .wanda import size_times_norm

__all__ = ["outlier_densities", "owl"]

# Of the mean density, the least that a layer keeps.
LEAST = 0.01


@PRUNERS.register("owl", family="trained", stage="trained", paper="Yin et al. 2024", needs_data=True)
def owl(
    task: Task, *, outliers: float = 5.0, spread: float = 0.08, samples: int = 128, sequential: bool = True
) -> dict[str, Tensor]:
    """Scores and rows of `wanda`, more of them kept in the layers with the larger share of outliers.

    The share D of a layer are its scores |W_ij| * ||X_j|| in the dense network that exceed `outliers` times their mean.
    Densities are linear in D and differ by twice `spread` between the layers with the least and the most, around
    the density asked for. A layer here is one weight; in the paper all weights of a block of a language model
    have one density.

    Parameters
    ----------
    outliers
        M, above 0: what a score has to exceed, in multiples of the layer's mean.
    spread
        lambda, from 0 up: half of the range of densities. It is cut to the smaller of the density and the sparsity.
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    sequential
        True: the inputs of a layer are those that come out of the layers before it once they are pruned, as in the
        paper; False: those of the dense network.
    """
    real_number("outliers", outliers, above=0)
    real_number("spread", spread, minimum=0)
    flag("sequential", sequential)
    dense = check_scores(activation_scores(task, size_times_norm, samples=samples, sequential=False), task)
    shares = torch.stack([(score > outliers * score.mean()).double().mean() for score in dense.values()]).tolist()
    densities = outlier_densities(shares, [w.numel() for w in task.weights.values()], task.kept / task.total, spread)
    shapes = {name: weight.shape for name, weight in task.weights.items()}
    counts = dict(zip(shapes, layer_counts(shapes, task.kept, densities, task.room), strict=True))
    scores = dense
    if sequential:
        scores = activation_scores(task, size_times_norm, samples=samples, sequential=True, counts=counts)
    return {name: kept_in_rows(task, name, score, counts[name]) for name, score in scores.items()}


def outlier_densities(shares: Sequence[float], sizes: Sequence[int], density: float, spread: float) -> list[float]:
    """Densities of layers that are linear in their shares of outliers, with a mean over all weights.

    Parameters
    ----------
    shares
        Share of outliers of each layer.
    sizes
        How many weights each has.
    density
        The mean over all weights.
    spread
        Half of the difference between the largest and the smallest density, cut to what leaves both between 0 and 1.

    Returns
    -------
    list
        One density a layer, of at least a hundredth of the mean.

    Examples
    --------
    >>> [round(d, 3) for d in outlier_densities([0.0, 0.01, 0.02], [10, 10, 10], 0.3, 0.1)]
    [0.2, 0.3, 0.4]
    """
    outlying, weights = np.asarray(shares, dtype=float), np.asarray(sizes, dtype=float)
    width = np.ptp(outlying)
    if not width:
        return [density] * len(outlying)
    part = 2 * min(spread, density, 1 - density) * (outlying - outlying.min()) / width
    return np.clip(density + part - np.average(part, weights=weights), LEAST * density, 1.0).tolist()
