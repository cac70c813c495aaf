"""Which cells of a study have yet to be computed."""

from __future__ import annotations

from collections.abc import Sequence

from .grid import Cell
from .store import Store

__all__ = ["outstanding"]


def outstanding(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """The cells without a result that stays, each once, in the order given.

    The trained weights of a dense baseline that one of them prunes are read and their checksum taken, so that the
    baseline is among them where these are not whole. Of other files size and time are compared first.

    Parameters
    ----------
    cells
        All cells of the study.
    store
        Its folder.

    Returns
    -------
    list
        Of `Cell`.
    """
    once = {cell.key: cell for cell in cells}
    todo = {key for key, state in zip(once, store.states(once), strict=True) if not state.done}
    needed = dict.fromkeys(b.key for key in todo if once[key].needs_dense and (b := once[key].baseline) is not None)
    keys = [key for key in needed if key not in todo]
    todo |= {key for key, state in zip(keys, store.states(keys, thorough=True), strict=True) if not state.done}
    return [cell for key, cell in once.items() if key in todo]
