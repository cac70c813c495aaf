"""The files that a cell's record promises: written aside first, then named, later compared with their checksums."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from ..errors import counted

__all__ = ["PartFiles", "clear_leftovers", "flaw"]

PART = ".part"


class PartFiles:
    """Files that are written under names of their own and take their places together; else they vanish at the end.

    Parameters
    ----------
    key
        Key of the cell.
    """

    def __init__(self, key: str) -> None:
        self._name = f".{key}.{os.urandom(4).hex()}.{socket.gethostname()}.{os.getpid()}{PART}"
        self._parts: dict[Path, Path] = {}

    def write(self, place: Path, writer: Callable[[Path], Any]) -> dict[str, Any]:
        """Write a file.

        Parameters
        ----------
        place
            Where it will be.
        writer
            Is given the path to write to.

        Returns
        -------
        dict
            What `flaw` compares the file with: size, time of its last change and hash.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        part = self._parts[place] = place.with_name(self._name + place.suffix)
        writer(part)
        found = part.stat()
        return {"size": found.st_size, "time": found.st_mtime_ns, "sha256": _hash(part)}

    def put(self) -> None:
        """Give the files their names; whatever has them goes."""
        for place, part in self._parts.items():
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            os.replace(part, place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)


def flaw(path: Path, written: Mapping[str, Any], *, thorough: bool = False) -> str:
    """What is wrong with a file; empty where it is as it was written.

    Its content is hashed where its size is right and the time of its last change is not, as in a copy. The file then
    gets its time back where the content is right, so that it need not be hashed again, and loses it where it is not.

    Parameters
    ----------
    path
        The file.
    written
        What `PartFiles.write` returned.
    thorough
        Whether to hash it in any case.

    Returns
    -------
    str
        The end of a sentence that begins with the file's name.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "is no file"
        if found.st_size != written["size"]:
            return f"has {counted(found.st_size, 'byte')} in place of {written['size']}"
        if found.st_mtime_ns == written["time"] and not thorough:
            return ""
        same = _hash(path) == written["sha256"]
        if same != (found.st_mtime_ns == written["time"]):
            with suppress(OSError, OverflowError):
                os.utime(path, ns=(found.st_atime_ns, written["time"] if same else written["time"] + 1))
        return "" if same else "does not hold what was written"
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (KeyError, TypeError):
        return "has no checksum"


def clear_leftovers(folder: Path) -> None:
    """Remove the files that processes of this host began to write and that ended before they were whole.

    Parameters
    ----------
    folder
        A folder of files.
    """
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries]:
            stem = name.partition(PART)[0]
            host, _, process = stem.rpartition(".")
            if PART in name and host.endswith(f".{socket.gethostname()}") and not _alive(process):
                with suppress(OSError):
                    (folder / name).unlink()


def _hash(path: Path) -> str:
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _alive(process: str) -> bool:
    """Whether a process of that number runs; of what is no number, nothing is known."""
    if not process.isdecimal() or len(process) > 9:
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
