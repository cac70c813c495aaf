"""How a run is told to stop: Ctrl-C, and the signals of a batch system or a terminal that closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["ToldToStop", "stopping_at_signals"]

NAMES = ("SIGTERM", "SIGHUP")


class ToldToStop(SystemExit):
    """The process was sent SIGTERM or SIGHUP.

    Parameters
    ----------
    number
        The signal.

    Attributes
    ----------
    name
        Its name.
    code
        128 and its number: what a shell says of a process that a signal ended.
    """

    code: int

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@contextmanager
def stopping_at_signals() -> Iterator[None]:
    """Raise `ToldToStop` in the block at the first SIGTERM or SIGHUP; a second one ends the process at once.

    Signals that somebody handles or ignores already, as under nohup, are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    free = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, frame: FrameType | None) -> None:
        for other in free:
            signal.signal(other, signal.SIG_DFL)
        raise ToldToStop(number)

    for number in free:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)
