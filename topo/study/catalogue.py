"""The cells of a study and the places of their keys, worked out once and not at every look-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..errors import InputError, counted, nearest
from .config import StudyConfig
from .grid import Cell, Planned, cells_of, registered
from .store import Store

__all__ = ["Catalogue"]

T = TypeVar("T")


class Catalogue:
    """The cells of a study; made anew where the plan on disk, own code or what is registered has changed.

    Parameters
    ----------
    config
        The study.
    store
        Its folder.
    """

    def __init__(self, config: StudyConfig, store: Store) -> None:
        self.config, self.store = config, store
        self._kept: dict[str, tuple[Any, Any]] = {}

    def _remembered(self, name: str, now: Any, make: Callable[[], T]) -> T:
        """What `make` returned when things were as they are now."""
        before = self._kept.get(name)
        if before is None or (before[0] is not now and before[0] != now):
            before = self._kept[name] = (now, make())
        return before[1]

    @property
    def cells(self) -> list[Cell]:
        """All cells, the dense baselines first."""
        return self._remembered("cells", registered(self.config), lambda: cells_of(self.config))

    @property
    def plan(self) -> list[Planned]:
        """Key and identity of all cells: those of the last run of this very study, else as they would be now."""
        now = (self.store.planned_at(), self.config.code())
        recorded = self._remembered("recorded", now, lambda: self.store.plan(self.config))
        if recorded is not None:
            return recorded
        cells = self.cells
        return self._remembered("planned", cells, lambda: [cell.planned for cell in cells])

    def find(self, key: str | Cell) -> tuple[int, str]:
        """The place of a cell in the plan, and its key there.

        Parameters
        ----------
        key
            Key of the cell, or the cell itself.

        Returns
        -------
        tuple
            Place and key.

        Raises
        ------
        InputError
            When the study has no such cell; it names the nearest key.
        """
        plan = self.plan
        wanted = key.key if isinstance(key, Cell) else key
        named: Sequence[Cell | Planned] = self.cells if isinstance(key, Cell) else plan
        kind = "cell" if isinstance(key, Cell) else "key"
        places = self._remembered(kind, named, lambda: {one.key: place for place, one in enumerate(named)})
        if not isinstance(wanted, str) or wanted not in places:
            close = nearest(str(wanted), places, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(
                f"the study has no cell {wanted!r}; {hint}study.status(), like the column cell of the table, "
                f"names its {counted(len(places), 'cell')}."
            )
        return places[wanted], plan[places[wanted]].key
