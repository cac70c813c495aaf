"""Arrays with metadata on disk (safetensors): written whole or not at all, refused when damaged."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import InputError

__all__ = ["read_arrays", "replacing", "write_arrays", "writing"]


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


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Path:
    """Write arrays and string metadata to one safetensors file, atomically.

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
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, name, metadata=dict(metadata))
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
        When the file is missing, truncated or not a safetensors file.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}); it may be cut short or of another kind."
        ) from error
