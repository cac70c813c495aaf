"""How much memory there is: of the machine, and of the container that the process runs in."""

from __future__ import annotations

from pathlib import Path

import psutil

__all__ = ["available_memory", "in_words"]

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
