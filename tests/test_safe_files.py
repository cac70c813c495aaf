from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from topo.safe_files import read_arrays, replacing, write_arrays


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_permissions_of_any_new_file(tmp_path: Path, mask: int, mode: int):
    before = os.umask(mask)
    try:
        arrays = write_arrays(tmp_path / "a.safetensors", {"a": np.zeros(2)}, {})
        with replacing(tmp_path / "b.txt") as name:
            Path(name).write_text("b")
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (arrays, tmp_path / "b.txt")] == [mode, mode]


def test_folders_on_the_way_are_made(tmp_path: Path):
    path = write_arrays(tmp_path / "new" / "folder" / "a.safetensors", {"a": np.arange(3)}, {"of": "it"})
    assert read_arrays(path)[0]["a"].tolist() == [0, 1, 2]
    assert os.listdir(path.parent) == ["a.safetensors"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as name:
        Path(name).write_text("new")
        1 / 0  # noqa: B018
    assert (tmp_path / "a.txt").read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_pipe_or_device_is_written_into_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        with replacing(pipe) as name:
            Path(name).write_bytes(b"through")
        assert read.result(10) == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
