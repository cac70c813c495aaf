"""Iterative SNIP: connection sensitivity over rounds (de Jorge et al., ICLR 2021, arXiv 2006.09081)."""

from __future__ import annotations

from torch import Tensor

from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score, in_double
from .snip import snip

__all__ = ["iterative_snip"]


@PRUNERS.register("iterative-snip", family="initial", stage="initial", paper="de Jorge et al. 2021", needs_data=True)
@by_score(allocation="global", rounds=60)
def iterative_snip(task: Task, *, batch_size: int = 128) -> dict[str, Tensor]:
    """SNIP over rounds of exponentially falling density; what is removed stays removed.

    Each round scores |theta * dL/dtheta| of the network that the round before left, on new samples. Everything is done
    in float64: which weights go depends on which went, so that differences of rounding grow from round to round.

    Parameters
    ----------
    batch_size
        About how many samples each round looks at, from 1 up, as many of each class; given batches, one of them is
        used.
    """
    in_double(task)
    return dict(snip.score(task, batch_size=batch_size))
