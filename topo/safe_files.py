"""Arrays with metadata, and JSON, on disk: written whole or not at all, refused when damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import InputError, described

__all__ = [
    "check_sealed",
    "parsed_json",
    "read_arrays",
    "read_json",
    "read_text",
    "replacing",
    "require_file",
    "seal",
    "unsealed",
    "write_arrays",
    "writing",
]

CHECKSUM = "checksum"
_UNKNOWN = "0" * 64
_KINDS = {"BOOL", "F16", "F32", "F64", "C64", *(f"{sign}{bits}" for sign in "UI" for bits in (8, 16, 32, 64))}
MOST_TEXT = 1 << 28
DEEPEST_JSON = 50


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an operating-system refusal to write at `path` into one clear `InputError`.

    Parameters
    ----------
    path
        What is written in the ``with`` block, for the message.

    Yields
    ------
    None

    Raises
    ------
    InputError
        When the block raises `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that is writable and has room."
        ) from error


@contextmanager
def replacing(path: str | Path) -> Iterator[str]:
    """Yield the name of an empty file that takes the place of `path` when the block ends well, else vanishes.

    Folders that are missing on the way to `path` are made, and the file has the permissions of any new file. What is no
    file, such as a pipe or ``/dev/null``, stays and is written into.

    Parameters
    ----------
    path
        The file to write or replace.

    Yields
    ------
    str
        Name of the empty file, in the folder of `path`.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with writing(path), tempfile.TemporaryDirectory() as folder:
            name = str(Path(folder) / "written")
            Path(name).touch()
            yield name
            with open(name, "rb") as written, open(path, "wb") as target:
                shutil.copyfileobj(written, target)
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = str(path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp"))
        handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
        try:
            try:
                yield name
            except SafetensorError as error:
                raise OSError(str(error)) from error
            os.chmod(name, mode)  # some writers put a file of their own, for the owner only, in its place
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def require_file(path: str | Path) -> Path:
    """Refuse what is missing, or is no file, such as a folder, or a pipe that would be waited for without end.

    Parameters
    ----------
    path
        What is about to be read.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    InputError
        It is no file.

    Examples
    --------
    >>> require_file("/dev/null")
    Traceback (most recent call last):
    topo.errors.InputError: /dev/null is no file but a device.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            raise InputError(f"{path} does not exist.") from error
        raise InputError(f"{path} cannot be read: {_why_not(path, error)}.") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder.")
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise InputError(f"{path} is no file but {kinds.get(stat.S_IFMT(mode), 'a device')}.")
    return path


def _why_not(path: Path, error: Exception) -> str:
    if getattr(error, "errno", None) == errno.ELOOP:
        return "it is a link that leads back to itself"
    if isinstance(error, FileNotFoundError):
        return f"it is a link to {os.readlink(path)}, which does not exist"
    return getattr(error, "strerror", None) or str(error)


def unsealed(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata of a safetensors file that is to be written and then sealed.

    Parameters
    ----------
    metadata
        Key -> text.

    Returns
    -------
    dict
        With room for a checksum.
    """
    return {**metadata, CHECKSUM: _UNKNOWN}


def seal(path: str | Path) -> None:
    """Write the SHA-256 of a safetensors file, whose metadata are of `unsealed`, into it.

    The sum is that of the whole file, in which zeros stand in place of the sum itself.

    Parameters
    ----------
    path
        The file.
    """
    with open(path, "r+b") as file:
        place = _place_of_checksum(file, _UNKNOWN)
        digest = _digest(file, place)
        file.seek(place)
        file.write(digest.encode())


def check_sealed(path: str | Path, metadata: Mapping[str, str]) -> None:
    """Refuse a safetensors file that is not as it was sealed; one that never was is as good as it reads.

    Parameters
    ----------
    path
        The file.
    metadata
        Its metadata.

    Raises
    ------
    InputError
        Something in it has changed.
    """
    expected = metadata.get(CHECKSUM)
    if expected is None:
        return
    with open(path, "rb") as file:
        place = _place_of_checksum(file, expected)
        if len(expected) != len(_UNKNOWN) or place < 0 or _digest(file, place) != expected:
            raise InputError(f"{path} is damaged: its content is not what was written; make or fetch it again.")


def _place_of_checksum(file: BinaryIO, value: str) -> int:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    key = f'"{CHECKSUM}":"'.encode()  # quotes within other texts are escaped, so that it is found nowhere else
    place = file.read(length).find(key + value.encode() + b'"')
    return 8 + place + len(key) if place >= 0 else -1


def _digest(file: BinaryIO, place: int) -> str:
    file.seek(0)
    digest = sha256(file.read(place))
    digest.update(_UNKNOWN.encode())
    file.seek(place + len(_UNKNOWN))
    while piece := file.read(1 << 22):
        digest.update(piece)
    return digest.hexdigest()


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Path:
    """Write arrays, string metadata and a checksum to one safetensors file, atomically.

    Parameters
    ----------
    path
        The file to write or replace.
    arrays
        Name -> array of any shape.
    metadata
        Key -> text.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        When the file cannot be written (folder read-only, disk full).
    """
    with replacing(path) as name:
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, name, unsealed(metadata))
        seal(name)
    return Path(path)


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file.

    Parameters
    ----------
    path
        A safetensors file.

    Returns
    -------
    tuple
        Arrays by name, and metadata by key.

    Raises
    ------
    InputError
        When the file is missing, truncated, not a safetensors file, not as `write_arrays` wrote it, or holds numbers
        of a kind that numpy has not.
    """
    require_file(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            check_sealed(path, metadata)
            names = list(file.keys())
            odd = {file.get_slice(name).get_dtype() for name in names} - _KINDS
            if odd:
                raise InputError(f"{path} holds numbers of kind {min(odd)}, which only torch can read.")
            arrays = {name: file.get_tensor(name) for name in names}
    except InputError:
        raise
    except Exception as error:  # whatever a reader trips over in bytes that anybody may have written
        raise InputError(
            f"{path} is not a whole safetensors file of arrays ({described(error).rstrip('.')}); it may be cut short "
            "or of another kind."
        ) from error
    metadata.pop(CHECKSUM, None)
    return arrays, metadata


def read_text(path: str | Path) -> str:
    """The text of a small file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    str
        Read as UTF-8.

    Raises
    ------
    InputError
        When it is no file, cannot be read, is no text, or is larger than any text that is read here.
    """
    try:
        if require_file(path).stat().st_size > MOST_TEXT:
            raise InputError(f"{path} is larger than any file of its kind.")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def parsed_json(text: str, what: str) -> Any:
    """The value of a JSON text.

    Parameters
    ----------
    text
        The text.
    what
        What messages call it.

    Returns
    -------
    object
        What it stands for.

    Raises
    ------
    InputError
        When it is not JSON, or is nested too deep for anything that is written here.

    Examples
    --------
    >>> parsed_json("[1, 2", "the list")
    Traceback (most recent call last):
    topo.errors.InputError: the list is not JSON (Expecting ',' delimiter: line 1 column 6 (char 5)).
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{what} is not JSON ({error}).") from error
    except RecursionError as error:
        raise InputError(f"{what} is nested too deep.") from error
    level, depth = [value], 0
    while level:
        depth += 1
        level = [x for v in level if isinstance(v, dict | list) for x in (v.values() if isinstance(v, dict) else v)]
        if depth > DEEPEST_JSON:
            raise InputError(f"{what} is nested too deep.")
    return value


def read_json(path: str | Path) -> Any:
    """The value in a JSON file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    object
        What it stands for.

    Raises
    ------
    InputError
        When it is no file, cannot be read, is larger than anything that is written here, or is not JSON.
    """
    return parsed_json(read_text(path), str(path))
