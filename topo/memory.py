"""How much memory there is: of the machine, and of the container that the process runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, get_ident

import psutil

__all__ = ["available_memory", "in_words", "memory_kept_free"]

_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file "),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file ",
    ),
)


def available_memory() -> int:
    """Bytes that can still be taken without swapping, by the machine and by the limit of a container.

    Returns
    -------
    int
        Bytes.

    Examples
    --------
    >>> available_memory() > 0
    True
    """
    free = int(psutil.virtual_memory().available)
    for limit, used, statistics, reclaimable in _GROUPS:
        try:
            most, now = int(Path(limit).read_text()), int(Path(used).read_text())
            lines = Path(statistics).read_text().splitlines()
        except (OSError, ValueError):  # no container, or one without a limit
            continue
        cached = sum(int(line.split()[1]) for line in lines if line.startswith(reclaimable))
        free = min(free, max(0, most - now + cached))
    return free


_taken: list[tuple[int, int]] = []  # thread, bytes
_given_back = Condition()


@contextmanager
def memory_kept_free(size: int) -> Iterator[int]:
    """Keep memory free for what is done in the block: other threads that ask wait until theirs fits beside it.

    Within such a block nothing waits.

    Parameters
    ----------
    size
        Bytes that the block may take.

    Yields
    ------
    int
        Bytes that are left. They may be fewer than `size` when nobody else has any: then it is for the caller to do
        without.

    Examples
    --------
    >>> with memory_kept_free(1000) as left:
    ...     left > 1000
    True
    """
    with _given_back:
        while True:
            left = available_memory() - sum(taken for _, taken in _taken)
            if size <= left or not _taken or get_ident() in dict(_taken):
                break
            _given_back.wait()
        _taken.append((get_ident(), size))
    try:
        yield left
    finally:
        with _given_back:
            _taken.remove((get_ident(), size))
            _given_back.notify_all()


def in_words(count: float) -> str:
    """A number of bytes, such as ``"12.3 GiB"``.

    Parameters
    ----------
    count
        Bytes.

    Returns
    -------
    str
        With its unit.

    Examples
    --------
    >>> in_words(3 * 2**30), in_words(2_000_000)
    ('3.0 GiB', '1.9 MiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
