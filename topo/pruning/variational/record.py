"""The record of a variational run, by epoch: theta of every gate, expected and actual complexity, and time."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from .complexity import COMPLEXITIES, Complexity

__all__ = ["Record"]

COLUMNS = [
    "epoch",
    "seconds",
    "training_macs",
    "expected_parameters",
    "expected_macs",
    "parameters",
    "macs",
    "units",
    "layers",
    "nu",
]


class Record:
    """The course of a run, one entry before the first epoch and one after every epoch.

    Gates are numbered as in the full network throughout; removed ones have a theta of 0.

    Attributes
    ----------
    rows
        One dict an entry: epoch; seconds of it; training_macs, the multiply-accumulates of its forward passes on the
        training images; expected_parameters and expected_macs under the gates; parameters and macs of the network at
        that time; units and layers whose gates remain; nu.
    thetas
        One tensor an entry, float32 (gates of the full network,).
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.thetas: list[Tensor] = []

    def add(
        self,
        complexity: Complexity,
        theta: Tensor,
        is_open: Tensor,
        *,
        epoch: int,
        seconds: float,
        training_macs: float,
        nu: float,
    ) -> None:
        """Append an entry.

        Parameters
        ----------
        complexity
            Of the full network.
        theta
            Probabilities of all its gates.
        is_open
            Which of its gates have not been removed, bool (gates,).
        epoch, seconds, training_macs, nu
            Values of the row.
        """
        layers = int((is_open & complexity.gates.is_layer).sum())
        row: dict[str, float] = {"epoch": epoch, "seconds": seconds, "training_macs": training_macs, "nu": nu}
        row |= {"units": int(is_open.sum()) - layers, "layers": layers}
        for budget in COMPLEXITIES:
            row[budget] = float(complexity.expected(is_open.double(), budget))
            row[f"expected_{budget}"] = float(complexity.expected(theta, budget))
        self.rows.append({name: float(row[name]) for name in COLUMNS})
        self.thetas.append(theta.detach().float().cpu().clone())

    def table(self) -> pd.DataFrame:
        """One row an entry, columns as in `rows`."""
        table = pd.DataFrame(self.rows, columns=COLUMNS)
        return table.astype({"epoch": int, "units": int, "layers": int})

    def theta_table(self) -> Tensor:
        """The thetas of all entries, float32 (entries, gates)."""
        return torch.stack(self.thetas)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes to go on from here."""
        return {"rows": [dict(row) for row in self.rows], "thetas": list(self.thetas)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Parameters
        ----------
        state
            What `state_dict` returned.
        """
        self.rows, self.thetas = [dict(row) for row in state["rows"]], [theta.cpu() for theta in state["thetas"]]
