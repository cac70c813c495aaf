"""Locks between the processes of one machine."""

from __future__ import annotations

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

__all__ = ["lock"]


def lock(handle: int) -> bool:
    """Wait until no other process of this machine holds the lock of a file or folder, and hold it until it is closed.

    Parameters
    ----------
    handle
        A file descriptor, open.

    Returns
    -------
    bool
        False where the system, or the file system, has no locks.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
