"""All coefficients of variational pruning but the three knobs."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...errors import InputError

__all__ = ["Choices"]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """All coefficients but the three knobs; what their defaults rest on is in docs/variational.md.

    Attributes
    ----------
    estimator
        Of what gates are worth, see `estimators.estimator`.
    matching
        Of the regulariser with the complexity, ``"gradient"`` or ``"value"``.
    start
        The chance of every gate to be open in the beginning.
    wait
        The share of all steps in which weights are trained with random gates, before chances begin to move.
    settle
        The share of all steps after which the gates still there are decided, open where their chance is above 1/2;
        what is left is trained as a plain network.
    horizon
        The share of all steps in which complexity alone would take a chance from 1 to 0.
    memory
        What is left of the running mean of Delta after an estimate.
    margin
        The share of its coefficient with which a gate must be attracted to zero to be closed for good.
    saving
        The share of the network's complexity that closed gates must add up to before it is rebuilt without them.
    """

    estimator: str = "uniform"
    matching: str = "gradient"
    start: float = 0.9
    wait: float = 0.15
    settle: float = 0.8
    horizon: float = 0.1
    memory: float = 0.9
    margin: float = 0.5
    saving: float = 0.05

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if option.type == "float" and not (isinstance(value, int | float) and 0 <= value <= 1):
                raise InputError(f"{option.name} must be a share from 0 to 1, not {value!r}.")
        if not self.wait < self.settle:
            raise InputError(f"settle must be above wait, not {self.settle} and {self.wait}.")
