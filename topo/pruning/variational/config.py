"""The settings of variational pruning beside nu, kappa and alpha."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ...errors import InputError
from ...validation import one_of, real_number, share
from .estimators import Estimator, make_estimator
from .objective import MATCHINGS

__all__ = ["VariationalConfig"]

_SHARES = ("warmup", "settle", "horizon", "margin", "min_saving")


@dataclass(frozen=True, kw_only=True)
class VariationalConfig:
    """All settings but nu, kappa and alpha; docs/variational.md has the measurements that the defaults rest on.

    Parameters
    ----------
    estimator
        Of Delta, the change of the loss when a gate closes: a name of `topo.pruning.variational.estimators.ESTIMATORS`,
        one for layers and one for units as in ``"layers:exact,units:trapezoid"``, a mapping of these, or an estimator.
    matching
        How the regulariser follows the complexity, ``"gradient"`` or ``"value"``; see
        `topo.pruning.variational.objective.coefficients`.
    initial_theta
        Probability of every gate to be open in the beginning, above 0.
    warmup
        Share of all steps in which weights are trained with random gates before theta begins to move.
    settle
        Share of all steps after which the remaining gates are decided, open where theta is above 1/2; from then on the
        pruned network is trained without gates.
    horizon
        Share of all steps in which complexity alone would take theta from 1 to 0.
    ema_decay
        Decay of the exponential moving average of Delta, per estimate, below 1.
    caution
        Standard errors by which the estimates of Delta must tell a gate's drift from none before its theta moves: in a
        short run, with few estimates, gates whose worth is not known stay open.
    margin
        Share of its coefficient with which a gate must lie in the domain of attraction of zero to be closed for good.
    min_saving
        Share of the network's complexity that closed gates must add up to before it is rebuilt without them.

    Raises
    ------
    InputError
        A setting is out of range or unknown.

    Examples
    --------
    >>> VariationalConfig(horizon=0.2).horizon
    0.2
    >>> VariationalConfig(warmup=1.5)
    Traceback (most recent call last):
    topo.errors.InputError: warmup must be a number from 0 to 1, not 1.5.
    """

    estimator: str | Mapping[str, str | Estimator] | Estimator = "uniform"
    matching: str = "gradient"
    initial_theta: float = 0.9
    warmup: float = 0.15
    settle: float = 0.8
    horizon: float = 0.1
    ema_decay: float = 0.9
    caution: float = 1.0
    margin: float = 0.5
    min_saving: float = 0.05

    def __post_init__(self) -> None:
        real_number("caution", self.caution, minimum=0)
        one_of("matching", self.matching, MATCHINGS)
        make_estimator(self.estimator, torch.zeros(0, dtype=torch.bool))  # refuses unknown ones
        real_number("ema_decay", self.ema_decay, minimum=0, below=1)
        real_number("initial_theta", self.initial_theta, above=0, maximum=1)
        for name in _SHARES:
            share(name, getattr(self, name))
        if not self.warmup < self.settle:
            raise InputError(f"settle must be above warmup, not {self.settle} and {self.warmup}.")
