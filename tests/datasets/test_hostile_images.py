"""Image files of others: only pictures are opened, none waits, none unfolds to more than memory, none is misread."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from topo.datasets import load
from topo.datasets.decode import decode
from topo.datasets.parquet import read_split
from topo.errors import InputError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"


def picture(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


GREY = picture(np.full((4, 4), 7, np.uint8))


def png(width: int, height: int) -> bytes:
    """A small file that says it is a picture of that size."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(999)))]
    body = [
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in [*chunks, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


NO_PICTURES = {
    "PostScript": (EPS, "none of PNG, JPEG"),
    "a program": (b"\x7fELF" + bytes(60), "none of PNG, JPEG"),
    "an icon": (picture(np.zeros((16, 16), np.uint8), "ICO"), "none of PNG, JPEG"),
    "nothing": (b"", "none of PNG, JPEG"),
    "half a picture": (GREY[:50], "not a whole image"),
    "a huge picture": (png(2**31 - 1, 2**31 - 1), "not a whole image"),
    "a large picture": (png(9_000, 9_000), "9000x9000 pixels are more than any picture has"),
    "real numbers": (picture(np.zeros((2, 2), np.float32), "TIFF"), "do not say what is white"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place in ("train/a/0.png", "train/b/0.png", "val/a/0.png", "val/b/0.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(GREY)
    return tmp_path


@pytest.mark.parametrize("what", NO_PICTURES)
def test_only_pictures_are_opened_in_folders_and_in_parquet(what: str, root: Path):
    content, sentence = NO_PICTURES[what]
    (root / "val/a/0.png").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as error:
        load("folder", root=root)
    assert "val/a/0.png is not a whole image" in str(error.value)
    pq.write_table(pa.table({"img": [GREY, content], "label": [0, 1]}), root / "train-0.parquet")
    with pytest.raises(InputError, match=sentence) as error:
        read_split(root, "train", ("label",))
    assert f"row 1 of {root / 'train-0.parquet'} is not a whole image" in str(error.value)


def test_sixteen_bits_a_channel_keep_their_greys():
    greys = np.array([[0, 257, 0x8000, 0xFFFF]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode([picture(greys, kind)], ["grey"])[0, 0].tolist() == [[0, 1, 128, 255]]


def test_what_is_no_file_does_not_wait(root: Path):
    for odd, make in {
        "pipe": os.mkfifo,
        "device": lambda path: os.symlink("/dev/zero", path),
        "dangling": lambda path: os.symlink("nowhere", path),
        "loop": lambda path: os.symlink(path, path),
    }.items():
        path = root / "train" / "a" / f"{odd}.png"
        make(path)
        with pytest.raises(InputError, match=f"{odd}.png (is no file|cannot be read)"):
            load("folder", root=root)
        path.unlink()
        os.symlink(path, path.with_suffix(""))  # no picture by its name
    (root / "train/a/up").symlink_to(root / "train")
    assert load("folder", root=root).n_classes == 2
    os.mkfifo(root / "test-0.parquet")
    with pytest.raises(InputError, match=r"test-0\.parquet is no file"):
        read_split(root, "test", ("label",))


@pytest.mark.parametrize("name", ["../a/0.png", "/etc/passwd", "x/../../a/0.png", "..", ".", "", "\0", "x" * 5_000])
def test_annotations_name_files_of_their_folder(name: str, root: Path):
    (root / "val" / "images").mkdir()
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text(f"{name}\ta\n")
    with pytest.raises(InputError, match=r"line 1 of .*val_annotations.txt must name a file of"):
        load("folder", root=root)
    annotations.write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match=r"val_annotations.txt cannot be read"):
        load("folder", root=root)
    annotations.unlink()
    annotations.touch()
    os.truncate(annotations, 2**40)  # a hole, which takes no room
    with pytest.raises(InputError, match="larger than any file of its kind"):
        load("folder", root=root)


def test_a_small_file_of_very_many_images_is_not_unfolded(root: Path, monkeypatch: pytest.MonkeyPatch):
    large = picture(np.zeros((1_000, 1_000), np.uint8))
    pq.write_table(pa.table({"img": [large] * 5_000, "label": [0] * 5_000}), root / "train-0.parquet")
    assert (root / "train-0.parquet").stat().st_size < 50_000
    monkeypatch.setattr("topo.datasets.decode.available_memory", lambda: 10**9)
    with pytest.raises(InputError, match=r"images as large as row 0 of .*train-0.parquet take .* of memory is free"):
        read_split(root, "train", ("label",))


def test_two_columns_of_one_name(root: Path):
    table = pa.table([pa.array([GREY]), pa.array([GREY]), pa.array([0])], names=["img", "img", "label"])
    pq.write_table(table, root / "train-0.parquet")
    with pytest.raises(InputError, match="has several columns 'img'"):
        read_split(root, "train", ("label",))
