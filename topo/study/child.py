"""What runs in a process that computes cells: calls come in, what they return goes out, until its parent is gone."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pickle
import queue
import signal
import struct
import sys
import threading
from multiprocessing import spawn
from typing import Any, BinaryIO

__all__ = ["COMMAND", "FRAME", "is_preparing", "main"]

FRAME = struct.Struct("<Q")
"""What a message starts with: its length."""

# The first line says where to import from; everything after it is read by `main`.
COMMAND = (
    "import sys, json; sys.path[:] = json.loads(sys.stdin.buffer.readline()); from topo.study.child import main; main()"
)

_state = {"preparing": False}


def is_preparing() -> bool:
    """Whether this process is importing the script that started the study, which must not start it again."""
    return _state["preparing"]


def main() -> None:
    """Answer calls, one after the other.

    Whatever a call prints goes to the log that its parent names. A terminal's or a batch system's signals are for the
    parent to answer; the end of the parent, which closes the pipe, is the end of this process.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    setup = json.loads(sys.stdin.buffer.readline())
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    log = os.open(setup["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin = open(os.devnull)  # noqa: SIM115  (stays open as long as the process)
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1)
    _be_the_first_to_go()
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(calls, received), daemon=True).start()
    _answer(answers, _prepared, setup["preparation"], setup["threads"])
    while True:
        message = received.get()
        _answer(answers, _called, message)


def _receive(calls: BinaryIO, received: queue.SimpleQueue[bytes]) -> None:
    with contextlib.suppress(OSError, struct.error):
        while True:
            (length,) = FRAME.unpack(calls.read(FRAME.size))
            received.put(calls.read(length))
    os._exit(1)


def _answer(answers: BinaryIO, function: Any, *arguments: Any) -> None:
    try:
        value, ok = function(*arguments), True
    except BaseException as error:
        value, ok = error, False
    sys.stdout.flush()
    try:
        message = pickle.dumps((ok, value))
    except Exception:
        message = pickle.dumps((False, RuntimeError(f"{type(value).__name__}: {value}")))
    answers.write(FRAME.pack(len(message)) + message)
    answers.flush()


def _called(message: bytes) -> Any:
    function, arguments = pickle.loads(message)
    return function(*arguments)


def _prepared(preparation: dict[str, Any] | None, threads: int) -> None:
    import torch

    torch.set_num_threads(max(1, threads))
    if preparation is not None:
        _state["preparing"] = True
        try:
            spawn.prepare(preparation)
        finally:
            _state["preparing"] = False
    from . import attempt  # noqa: F401  (imported now, and not in the time of the first cell)


def _be_the_first_to_go() -> None:
    """Where memory runs out on Linux, let it be this process that is killed, not the one that runs the study."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
