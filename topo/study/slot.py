"""A place for one cell at a time: a process that computes, and that is replaced when a cell brings it down."""

from __future__ import annotations

import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import psutil

from .child import COMMAND, FRAME
from .limits import Limits, too_large, too_long

__all__ = ["Died", "Slot", "Stopped", "how_it_ended"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TICK = 0.1  # seconds between two looks at a process that computes
MEMORY_TICK = 0.03  # where its memory is limited
FAMILY_TICK = 1.0  # between two looks at the processes that it started
MOST_LOG = 1 << 16


class Died(Exception):
    """The process of a slot ended, or was ended, before it answered; the message says how."""


class Stopped(Exception):
    """A call was given up because whoever asked for it no longer wants the answer."""


class Slot:
    """One process that computes calls one after the other and keeps what they keep, such as datasets.

    Parameters
    ----------
    threads
        Threads of the process.
    with_script
        Whether the process imports the script that was started, for what it registers.
    variables
        Further environment variables of the process.
    """

    def __init__(self, threads: int, *, with_script: bool = False, variables: dict[str, str] | None = None) -> None:
        self.threads, self.with_script, self.variables = threads, with_script, variables or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="topo-")
        self._log = Path(self._folder.name) / "log.txt"
        self._received = b""

    @property
    def name(self) -> str:
        """What people find it by."""
        return "" if self._process is None else f"process {self._process.pid}"

    def call(
        self, function: Callable[..., Any], *arguments: Any, limits: Limits, stopped: Callable[[], bool]
    ) -> tuple[Any, str]:
        """What a function returns in the process, and all that it printed.

        Parameters
        ----------
        function, arguments
            What to call; pickled.
        limits
            What the call may take.
        stopped
            Asked now and then whether to give up.

        Returns
        -------
        tuple
            Value and text.

        Raises
        ------
        Died
            When the process ends, or is ended at a limit; `log` then has what was printed.
        Stopped
            When `stopped` says so.
        Exception
            What the function raises.
        """
        process = self._process
        if process is None or process.poll() is not None:
            process = self.start(stopped)
        os.truncate(self._log, 0)
        message = pickle.dumps((function, arguments))
        try:
            assert process.stdin is not None
            process.stdin.write(FRAME.pack(len(message)) + message)
            process.stdin.flush()
        except OSError:  # it died since the last call
            process = self.start(stopped)
            return self.call(function, *arguments, limits=limits, stopped=stopped)
        return self._answer(process, limits, stopped), self.log()

    def log(self) -> str:
        """The end of what the last call printed, with the place in the code where Python crashed in it."""
        try:
            with open(self._log, "rb") as file:
                file.seek(max(0, self._log.stat().st_size - MOST_LOG))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def close(self) -> None:
        """End the process, whatever it does."""
        self._kill()
        self._folder.cleanup()

    def start(self, stopped: Callable[[], bool]) -> subprocess.Popen[bytes]:
        """Start a process in place of the one that there may be, and wait until it is ready.

        Parameters
        ----------
        stopped
            Asked now and then whether to give up.

        Returns
        -------
        Popen
            The process.
        """
        self._kill()
        variables = {name: str(self.threads) for name in THREAD_VARIABLES if name not in os.environ}
        self._log.touch()
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | variables | self.variables,
            process_group=0,
        )
        self._process, self._received = process, b""
        preparation = _preparation() if self.with_script else None
        setup = {"log": str(self._log), "threads": self.threads, "preparation": preparation}
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(b"".join(json.dumps(part).encode() + b"\n" for part in (sys.path, setup)))
            process.stdin.flush()
        self._answer(process, Limits(), stopped)
        return process

    def _answer(self, process: subprocess.Popen[bytes], limits: Limits, stopped: Callable[[], bool]) -> Any:
        assert process.stdout is not None
        started = time.monotonic()
        watch = None if limits.memory is None else _Memory(process.pid)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if selector.select(TICK if watch is None else MEMORY_TICK):
                    data = os.read(process.stdout.fileno(), 1 << 20)
                    if not data:
                        raise Died(self._end())
                    self._received += data
                    message = self._whole_message()
                    if message is not None:
                        ok, value = pickle.loads(message)
                        if ok:
                            return value
                        raise value
                elif process.poll() is not None:  # what it started may hold its end of the pipe
                    raise Died(self._end())
                if stopped():
                    self._kill()
                    raise Stopped
                if limits.seconds is not None and time.monotonic() - started > limits.seconds:
                    self._show_where(process)
                    self._kill()
                    raise Died(too_long(limits.seconds))
                if watch is not None and limits.memory is not None and (used := watch.used()) > limits.memory:
                    self._show_where(process)
                    self._kill()
                    raise Died(too_large(limits.memory, used))

    def _whole_message(self) -> bytes | None:
        if len(self._received) < FRAME.size:
            return None
        (length,) = FRAME.unpack(self._received[: FRAME.size])
        if len(self._received) < FRAME.size + length:
            return None
        message, self._received = self._received[FRAME.size :][:length], self._received[FRAME.size + length :]
        return message

    def _show_where(self, process: subprocess.Popen[bytes]) -> None:
        """Have the process write into its log where in the code it is."""
        if hasattr(signal, "SIGUSR1"):
            with suppress(OSError):
                size = self._log.stat().st_size
                process.send_signal(signal.SIGUSR1)
                for _ in range(20):
                    time.sleep(0.01)
                    if self._log.stat().st_size > size:
                        break

    def _end(self) -> str:
        """How the process ended."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        code = self._process.poll()
        self._kill()
        return "its process closed the connection" if code is None else how_it_ended(code)

    def _kill(self) -> None:
        """End the process and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def how_it_ended(code: int) -> str:
    """Why a process ended, in words.

    Parameters
    ----------
    code
        Its exit code, or minus the signal that ended it.

    Returns
    -------
    str
        A sentence without its stop.
    """
    if code >= 0:
        return f"its process ended with exit code {code} before the cell was finished"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    hint = ", perhaps for want of memory" if -code == getattr(signal, "SIGKILL", None) else ""
    return f"its process was killed by signal {-code}{name}{hint}"


def _preparation() -> dict[str, Any]:
    """What multiprocessing tells a new process, so that it finds the script that was started."""
    data = spawn.get_preparation_data("cell")
    return {name: value for name, value in data.items() if name != "authkey" and isinstance(value, str | list)}


class _Memory:
    """The resident memory of a process and, looked at less often, of those that it started."""

    def __init__(self, process: int) -> None:
        self.process = psutil.Process(process)
        self.family: list[psutil.Process] = []
        self.looked = time.monotonic()

    def used(self) -> int:
        if time.monotonic() - self.looked > FAMILY_TICK:
            self.looked = time.monotonic()
            with suppress(psutil.Error):
                self.family = self.process.children(recursive=True)
        total = 0
        for process in (self.process, *self.family):
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total
