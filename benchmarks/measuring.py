"""What the benchmarks share: the times of a call, the peak memory of a process, records as JSON files."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def times(
    function: Callable[[], Any],
    repeats: int = 1,
    device: str | torch.device = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds of each of `repeats` calls, on a GPU with all that they started there."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    seconds = []
    for _ in range(repeats):
        wait()
        start = clock()
        function()
        wait()
        seconds.append(clock() - start)
    return seconds


def peak_memory() -> int:
    """Largest resident size of this process so far, MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size // (1024 if sys.platform == "linux" else 1024**2)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
