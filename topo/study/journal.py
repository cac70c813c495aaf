"""Append-only records in a folder: one line each with its checksum, a file for every host that writes."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from ..errors import InputError
from .locks import lock

__all__ = ["Journal", "Record", "StudyError"]

SUFFIX = ".journal"
HEADER = b"topo study records, version 1\n"
FACTS = "facts"
"""What stands in the place of the status in a line that holds facts which many records share, under their hash."""


class StudyError(InputError):
    """The study cannot go on; what is finished is kept."""


class Record(NamedTuple):
    """Where a record is, and how it ended.

    Attributes
    ----------
    status
        How it ended.
    time
        When it was written, in seconds since 1970.
    file
        Name of its file.
    offset, length
        Where its line begins in the file, in bytes, and how long it is.
    """

    status: str
    time: float
    file: str
    offset: int
    length: int


class Journal:
    """Records by key, read as far as they were written since the last look.

    A line that is cut short or garbled does not have its checksum and counts as not there; all others do. A writer
    holds a lock on its file, so that lines never mix, and takes back what a full disk cut short.

    Parameters
    ----------
    folder
        Folder of the files; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged = 0
        """How many lines were found that are not whole."""
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._records: dict[str, tuple[Record, ...]] = {}
        self._facts: dict[str, Record] = {}
        self._read: dict[str, tuple[int, int]] = {}
        self.damaged = 0

    def refresh(self) -> None:
        """Read what has been written since the last look.

        Raises
        ------
        StudyError
            When a file is there but cannot be read, or is of another version.
        """
        with self._lock, _readable(self.folder):
            try:
                with os.scandir(self.folder) as entries:
                    found = {e.name: e.stat() for e in entries if e.name.endswith(SUFFIX) and e.is_file()}
            except (FileNotFoundError, NotADirectoryError):
                if os.path.lexists(self.folder):  # a file, or a link that leads nowhere
                    raise
                found = {}
            for name, (inode, offset) in self._read.items():
                if name not in found or found[name].st_ino != inode or found[name].st_size < offset:
                    self._forget()  # a file was taken away, cut or put in the place of another
                    break
            for name, stat in sorted(found.items()):
                offset = self._read.get(name, (0, 0))[1]
                if stat.st_size > offset:
                    self._read[name] = (stat.st_ino, self._scan(name, offset))

    def _scan(self, name: str, offset: int) -> int:
        """Take up the lines of a file from `offset` on; where the next one begins."""
        with open(self.folder / name, "rb") as file:
            if offset == 0:
                header = file.readline()
                if not header.endswith(b"\n"):
                    return 0
                if header != HEADER:
                    if header.startswith(HEADER.partition(b",")[0]):
                        raise StudyError(
                            f"{self.folder / name} was written by another version of topo, whose rows cannot be "
                            "compared with those of this one; read it with that version, or run the study in a new "
                            "folder."
                        )
                    self.damaged += 1
                offset = len(header)
            else:
                file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):  # being written, or cut short
                    break
                self._take(name, offset, line)
                offset += len(line)
        return offset

    def _take(self, name: str, offset: int, line: bytes) -> None:
        fields = line[:-1].split(b"\t", 4)
        if len(fields) < 5 or fields[0] != _sum(line[9:-1]):
            self.damaged += line != b"\n"
            return
        try:
            key, status = fields[1].decode(), fields[2].decode()
            record = Record(status, float(fields[3]), name, offset, len(line))
        except ValueError:
            self.damaged += 1
            return
        if status == FACTS:
            self._facts[key] = record
        else:
            self._records[key] = (*self._records.get(key, ()), record)

    def records(self, key: str) -> tuple[Record, ...]:
        """All records of a key as of the last `refresh`.

        Parameters
        ----------
        key
            The key.

        Returns
        -------
        tuple
            Of `Record`; empty where there is none.
        """
        return self._records.get(key, ())

    def __iter__(self) -> Iterator[str]:
        """All keys that have a record, as of the last `refresh`."""
        return iter(list(self._records))

    def __len__(self) -> int:
        return len(self._records)

    @contextmanager
    def reading(self) -> Iterator[Callable[[Record, int], Any]]:
        """Yield a function that gives a part of a record, and None where the line is not whole any more.

        Yields
        ------
        callable
            Of a `Record` and the place of a part, from 0.
        """
        files: dict[str, BinaryIO] = {}

        def part(record: Record, place: int) -> Any:
            if record.file not in files:
                files[record.file] = open(self.folder / record.file, "rb")  # noqa: SIM115  (closed below)
            file = files[record.file]
            file.seek(record.offset)
            line = file.read(record.length)
            if line[:8] != _sum(line[9:-1]):
                return None
            try:
                return _values(line[:-1].split(b"\t")[4 + place])
            except (ValueError, IndexError, RecursionError):
                return None

        with _readable(self.folder):
            try:
                yield part
            finally:
                for file in files.values():
                    file.close()

    def facts(self, digest: str) -> dict[str, Any] | None:
        """Facts by their hash, as of the last `refresh`.

        Parameters
        ----------
        digest
            What `add_facts` returned.

        Returns
        -------
        dict or None
            None where there are none of that hash.
        """
        record = self._facts.get(digest)
        if record is None:
            return None
        with self.reading() as part:
            return part(record, 0)

    def add_facts(self, digest: str, facts: dict[str, Any]) -> None:
        """Write facts that many records share, unless they are there.

        Parameters
        ----------
        digest
            Their hash, which records name.
        facts
            Plain values.
        """
        if digest not in self._facts:
            self.append(digest, FACTS, 0.0, [facts])
            self.refresh()

    def append(
        self, key: str, status: str, time: float, parts: list[Any], *, unless: Callable[[], bool] | None = None
    ) -> bool:
        """Write a record.

        Parameters
        ----------
        key, status, time
            What the record says first.
        parts
            Plain values, each of which can be read by itself.
        unless
            Asked while nobody else on this host writes; nothing is written where it says True.

        Returns
        -------
        bool
            Whether it was written.

        Raises
        ------
        OSError
            When there is no room, or no permission.
        """
        texts = [key, status, repr(time), *(json.dumps(part, separators=(",", ":")) for part in parts)]
        content = "\t".join(texts).encode()
        line = _sum(content) + b"\t" + content + b"\n"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked() as handle:
            if unless is not None and unless():
                return False
            size = os.fstat(handle).st_size
            if size == 0:
                line = HEADER + line
            elif os.pread(handle, 1, size - 1) != b"\n":  # what a killed process left
                line = b"\n" + line
            try:
                while line:  # what is cut short by a full disk says why at the next try
                    line = line[os.write(handle, line) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(handle, size)
                raise
        return True

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file of this host, which nobody else on it writes meanwhile; without locks, that of this process."""
        host = re.sub(r"[^\w-]", "_", socket.gethostname())
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        usual, own = self.folder / f"{host}{SUFFIX}", self.folder / f"{host}.{os.getpid()}{SUFFIX}"
        odd = os.path.lexists(usual) and not (usual.is_file() and not usual.is_symlink())
        handle = os.open(own if odd else usual, flags, 0o666)
        if not lock(handle):  # no sharing: every process then writes a file of its own
            os.close(handle)
            handle = os.open(own, flags, 0o666)
        try:
            yield handle
        finally:
            os.close(handle)


def _values(text: bytes) -> Any:
    """What a part of a line says; halves of surrogate pairs, which no text file can hold, become question marks."""
    if rb"\ud" in text or rb"\uD" in text:
        text = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(text)


def _sum(content: bytes) -> bytes:
    return b"%08x" % crc32(content)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{error.filename or folder} cannot be read ({error.strerror or error}); the results of the study are kept "
            "in it, so make it readable, or move it away to compute them anew."
        ) from error
