"""Wanda: pruning by weights and activations (Sun et al., ICLR 2024, arXiv 2306.11695)."""

from __future__ import annotations

from torch import Tensor

from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score
from .activation_scores import activation_scores

__all__ = ["size_times_norm", "wanda"]


@PRUNERS.register("wanda", family="trained", stage="trained", paper="Sun et al. 2024", needs_data=True)
@by_score(allocation="row")
def wanda(task: Task, *, samples: int = 128, sequential: bool = True) -> dict[str, Tensor]:
    """Magnitude times the norm of its input, |W_ij| * ||X_j||_2, compared within each output row.

    X holds the inputs of the layer over all samples and positions; those of a convolution are unfolded, so that j is
    a channel and a place in the kernel. A row are the weights of one output, along whichever axis of the weight it
    lies; of weights that are computed from a parameter, as by weight normalisation, W are the computed ones.

    Parameters
    ----------
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    sequential
        True: the inputs of a layer are those that come out of the layers before it once they are pruned, as in the
        paper; False: those of the dense network.
    """
    return activation_scores(task, size_times_norm, samples=samples, sequential=sequential)


def size_times_norm(sizes: Tensor, norms: Tensor) -> Tensor:
    """The score |W_ij| * ||X_j||.

    Parameters
    ----------
    sizes
        Absolute weights, (groups, rows, inputs, *kernel).
    norms
        Norms of their inputs, (groups, 1, inputs, *kernel).

    Returns
    -------
    Tensor
        In the shape of the sizes.
    """
    return sizes * norms
