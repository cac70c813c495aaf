"""Which run works on which cell, for runs that share the folder of a study, and for people who ask how far it is."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..safe_files import read_json, read_text
from .store import StudyError

__all__ = ["ActiveRun", "Claims", "RunningCell", "active_runs"]

BEAT = 2.0  # seconds between two signs of life
SILENCE = 60.0  # seconds without one, after which a run on another machine counts as dead
FOLDER = "running"


@dataclass(frozen=True)
class RunningCell:
    """A cell that is being computed.

    Attributes
    ----------
    cell
        Its key.
    name
        Which network it is.
    where
        The process or worker that computes it; empty while it waits for one.
    seconds
        For how long.
    """

    cell: str
    name: str
    where: str
    seconds: float


@dataclass(frozen=True)
class ActiveRun:
    """A run of a study, as its last sign of life describes it.

    Attributes
    ----------
    host, process
        Where it runs.
    done, total, failed
        How many cells have a result, how many there are, and how many failed in this run.
    seconds_left
        An estimate; None while there is nothing to go by.
    cells
        What it computes.
    started
        When the process was started, by the clock of its machine.
    beat
        Counts the signs of life.
    silent
        Seconds since the last of them.
    """

    host: str
    process: int
    done: int = 0
    total: int = 0
    failed: int = 0
    seconds_left: float | None = None
    cells: list[RunningCell] = field(default_factory=list)
    started: float = 0.0
    beat: int = 0
    silent: float = 0.0

    @property
    def is_alive(self) -> bool:
        """False where its process is known to have ended; unknown of other machines."""
        if self.host != socket.gethostname():
            return True
        try:
            return abs(psutil.Process(self.process).create_time() - self.started) < 2
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True


def active_runs(folder: Path) -> list[ActiveRun]:
    """The runs that work on a study now.

    Parameters
    ----------
    folder
        The study's folder.

    Returns
    -------
    list
        Of `ActiveRun`, without those whose process has ended.
    """
    runs = (_read(file) for file in sorted((folder / FOLDER).glob("*.run")))
    return [run for run in runs if run is not None and run.is_alive]


def _read(file: Path) -> ActiveRun | None:
    try:
        data = read_json(file)
        data["cells"] = [RunningCell(**cell) for cell in data["cells"]]
        return ActiveRun(**{**data, "silent": max(0.0, time.time() - file.stat().st_mtime)})
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Claims:
    """What this run says of itself in the study's folder, and the cells that it has claimed.

    A claim is a file of the cell's key that only one run can make. It holds as long as the run shows signs of life.

    Parameters
    ----------
    folder
        The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        process = psutil.Process()
        self._self = ActiveRun(socket.gethostname(), os.getpid(), started=process.create_time())
        self.name = f"{self._self.host}.{os.getpid()}.{os.urandom(4).hex()}.run"
        self._held: set[str] = set()
        self._beaten = -BEAT
        self._heard: dict[str, tuple[int, float]] = {}  # of runs on other machines: their last sign, and when
        self._reported(self.folder.mkdir, parents=True, exist_ok=True)
        self.beat([], 0, 0, 0, None)
        self._reported((self.folder / self.name).stat)
        self._clear_away()

    def claim(self, key: str) -> bool:
        """Claim a cell; False while another run has it.

        Parameters
        ----------
        key
            Key of the cell.

        Returns
        -------
        bool
            Whether it is for this run to compute.
        """
        if key in self._held:
            return True
        file = self.folder / f"{key}.cell"
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            owner = _owner(file)
            if owner is None or self._is_alive(owner):
                return False
            self._give_up(file, owner)
            return self.claim(key)
        except OSError as error:
            raise self._refusal(error) from error
        with os.fdopen(handle, "w") as opened:
            self._reported(opened.write, self.name)
        self._held.add(key)
        return True

    def release(self, key: str) -> None:
        """Give up a claim; the cell has its result, or is left to others.

        Parameters
        ----------
        key
            Key of the cell.
        """
        self._held.discard(key)
        with suppress(OSError):
            (self.folder / f"{key}.cell").unlink()

    def beat(
        self, cells: Sequence[RunningCell], done: int, total: int, failed: int, seconds_left: float | None
    ) -> None:
        """Show a sign of life, unless the last is recent.

        Parameters
        ----------
        cells
            What is computed now.
        done, total, failed, seconds_left
            As in `ActiveRun`.
        """
        if time.monotonic() - self._beaten < BEAT:
            return
        self._beaten = time.monotonic()
        now = ActiveRun(
            self._self.host,
            self._self.process,
            done,
            total,
            failed,
            seconds_left,
            list(cells),
            self._self.started,
            int(self._beaten * 1000),
        )
        file = self.folder / self.name
        with suppress(OSError):  # a disk that is full for a moment is no reason to stop
            aside = file.with_suffix(".tmp")
            aside.write_text(json.dumps(asdict(now)), encoding="utf-8")
            aside.replace(file)

    def close(self) -> None:
        """Give up all claims and leave; the last to leave takes the folder away."""
        for key in list(self._held):
            self.release(key)
        with suppress(OSError):
            (self.folder / self.name).unlink(missing_ok=True)
            self._clear_away()
            self.folder.rmdir()

    def _is_alive(self, owner: str) -> bool:
        run = _read(self.folder / owner)
        if run is None:
            return self._was_heard(owner, -1)
        if run.host == self._self.host:
            return run.is_alive
        return self._was_heard(owner, run.beat)

    def _was_heard(self, owner: str, beat: int) -> bool:
        """Whether a run showed a sign of life of late, by the clock of this machine alone."""
        last, when = self._heard.setdefault(owner, (beat, time.monotonic()))
        if last != beat:
            self._heard[owner] = beat, time.monotonic()
            return True
        return time.monotonic() - when < (SILENCE if beat >= 0 else BEAT)

    def _give_up(self, file: Path, owner: str) -> None:
        """Take a dead run's claim away, unless it is another one's by now."""
        aside = file.with_suffix(f".{os.urandom(4).hex()}.stale")
        with suppress(OSError):
            file.rename(aside)
            if _owner(aside) != owner:
                os.link(aside, file)
            aside.unlink()

    def _clear_away(self) -> None:
        """Remove what runs on this machine left that were killed."""
        for file in self.folder.glob("*.run"):
            run = _read(file)
            if run is not None and not run.is_alive:
                with suppress(OSError):
                    file.unlink()
        for file in self.folder.glob("*.cell"):
            owner = _owner(file)
            if owner and owner.startswith(f"{self._self.host}.") and not (self.folder / owner).exists():
                self._give_up(file, owner)
        for file in self.folder.glob(f"{self._self.host}.*.tmp"):
            process = file.name.split(".")[-3]
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                with suppress(OSError):
                    file.unlink()

    def _reported(self, function: Any, *arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> StudyError:
        return StudyError(
            f"cannot write the study in {self.folder.parent} ({error.strerror or error}); finished cells are kept, so "
            "make room or choose a writable folder and run again."
        )


def _owner(file: Path) -> str | None:
    """The run that made a claim; None where the claim is gone, empty where it is not written yet."""
    try:
        return read_text(file)
    except (OSError, ValueError):
        return None
