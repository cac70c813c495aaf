"""Results of cells as bytes, for workers that do not see the study's folder."""

from __future__ import annotations

import pickle
from typing import Any

from torch import nn

from .store import CellResult

__all__ = ["packed", "unpacked"]


class _State(nn.Module):
    """Weights without the code of their network."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self.state = state

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override]
        return self.state


def packed(result: CellResult) -> bytes:
    """A result as bytes.

    Parameters
    ----------
    result
        Of a cell.

    Returns
    -------
    bytes
        For `unpacked`.
    """
    if result.weights is not None:
        result.weights = _State({name: value.detach().cpu() for name, value in result.weights.state_dict().items()})
    return pickle.dumps(result)


def unpacked(data: bytes) -> CellResult:
    """The result that `packed` made bytes of; they are trusted as the workers of a study are.

    Parameters
    ----------
    data
        The bytes.

    Returns
    -------
    CellResult
        To be saved.
    """
    return pickle.loads(data)
