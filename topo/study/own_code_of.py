"""The code of its own that a study uses, brought in where something of it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ..errors import InputError
from ..own_code import import_code
from .config import StudyConfig

__all__ = ["OwnCode"]

T = TypeVar("T")


class OwnCode:
    """What has a config and a folder, and may have code of its own."""

    config: StudyConfig
    folder: Path

    def import_code(self) -> None:
        """Import the study's own code, as a run does; the networks of its own models and datasets can then be had."""
        for source in self.config.imports:
            import_code(source)

    def with_own_code(self, make: Callable[[], T]) -> T:
        """What `make` returns; where it misses a name, the code that the study keeps is imported first.

        Parameters
        ----------
        make
            Makes something of the study's models, datasets and pruners, such as ``lambda: study.graph(key)``.

        Returns
        -------
        object
            What it returns.

        Raises
        ------
        InputError
            As of `make`; or when the code that it needs cannot be imported.
        """
        try:
            return make()
        except InputError as error:
            if not self.config.imports or "unknown" not in str(error):
                raise
        try:
            self.import_code()
            return make()
        except InputError as error:
            cause = str(error.__cause__ if isinstance(error.__cause__, InputError) else error).rstrip(".")
            raise InputError(
                f"{cause}; bring in the study's own code: topo report {self.folder} --import FILE."
            ) from error

    @contextmanager
    def _with_advice(self) -> Iterator[None]:
        """Say of what is not registered that it may be in code of the study's own."""
        try:
            yield
        except InputError as error:
            if self.config.imports and "unknown" in str(error):
                raise InputError(f"{str(error).rstrip('.')}; study.import_code() imports the study's own.") from error
            raise
