"""RIA: relative importance and activations (Zhang et al., ICLR 2024, *Plug-and-Play*)."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from ...validation import real_number
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score
from .activation_scores import activation_scores

__all__ = ["relative_importance", "ria"]


@PRUNERS.register("ria", family="trained", stage="trained", paper="Zhang et al. 2024", needs_data=True)
@by_score(allocation="row")
def ria(task: Task, *, exponent: float = 0.5, samples: int = 128, sequential: bool = True) -> dict[str, Tensor]:
    """Share of a weight in its row and in its column, times a power of the norm of its input.

    (|W_ij| / sum_i |W_ij| + |W_ij| / sum_j |W_ij|) * ||X_j||^a, compared within each output row: no channel, in or out,
    is lost because all its weights are small. The public code compares within a row on demand, and else within a layer,
    which is ``allocation="uniform"``. Rows, and inputs of convolutions, are those of `wanda`; a column are the
    weights of one input at one place of the kernel. The permutation of channels that the paper adds for N:M patterns is
    left out.

    Parameters
    ----------
    exponent
        a, from 0 up: 0 looks at weights only.
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    sequential
        True: the inputs of a layer are those that come out of the layers before it once they are pruned; False: those
        of the dense network.

    Notes
    -----
    Zhang, Bai, Lin, Zhao, Hou & Cannistraci, *Plug-and-play: an efficient post-training pruning method for large
    language models*, ICLR 2024; a = .5 there.
    """
    power = real_number("exponent", exponent, minimum=0)
    return activation_scores(task, partial(relative_importance, exponent=power), samples=samples, sequential=sequential)


def relative_importance(sizes: Tensor, norms: Tensor, exponent: float = 0.5) -> Tensor:
    """The score of `ria`; zero in rows and columns of zeros.

    Parameters
    ----------
    sizes
        Absolute weights, (groups, rows, inputs, *kernel).
    norms
        Norms of their inputs, (groups, 1, inputs, *kernel).
    exponent
        Power of the norms.

    Returns
    -------
    Tensor
        float64, in the shape of the sizes.

    Examples
    --------
    >>> import torch
    >>> sizes = torch.tensor([[[1.0, 3.0], [1.0, 0.0]]])
    >>> relative_importance(sizes, torch.ones(1, 1, 2)).tolist()
    [[[0.75, 1.75], [1.5, 0.0]]]
    """
    sizes = sizes.double()
    columns = sizes.sum(dim=1, keepdim=True)
    rows = sizes.flatten(2).sum(dim=2).view(*sizes.shape[:2], *[1] * (sizes.ndim - 2))
    shares = (sizes / columns).nan_to_num(nan=0.0) + (sizes / rows).nan_to_num(nan=0.0)
    return shares * norms.double() ** exponent
