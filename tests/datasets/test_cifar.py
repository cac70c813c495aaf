from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from topo.datasets import load
from topo.datasets.decode import decode
from topo.errors import InputError
from topo.torchvision_import import import_torchvision

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10"


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels_of(count: int, seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write(path: Path, pixels, labels, image="img", label="label", as_struct=True) -> None:
    files = [png(p) for p in pixels]
    column = pa.array([{"bytes": f, "path": "x.png"} for f in files]) if as_struct else pa.array(files, pa.binary())
    pq.write_table(pa.table({image: column, label: pa.array(labels, pa.int64())}), path, row_group_size=4)


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", pixels_of(10), range(10))
    write(tmp_path / "train-00001-of-00002.parquet", pixels_of(5, seed=1), [3] * 5)
    write(tmp_path / "test-00000-of-00001.parquet", pixels_of(4, seed=2), [9, 8, 7, 6])
    return tmp_path


def test_parquet_round_trip(root):
    data = load("cifar10", root=root)
    expected = np.concatenate([pixels_of(10), pixels_of(5, seed=1)]).transpose(0, 3, 1, 2)
    assert np.array_equal(data.train.inputs.numpy(), expected)
    assert data.train_targets.tolist() == [*range(10), 3, 3, 3, 3, 3]
    assert data.test_targets.tolist() == [9, 8, 7, 6]
    assert (data.n_classes, data.input_shape, data.train.inputs.dtype) == (10, (3, 32, 32), torch.uint8)


def test_fine_labels_and_plain_bytes(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"{split}-0.parquet", pixels_of(3), [0, 50, 99], "image", "fine_label", as_struct=False)
    data = load("cifar100", root=str(tmp_path))
    assert data.n_classes == 100
    assert data.train_targets.tolist() == [0, 50, 99]


def test_missing_columns(root):
    write(root / "train-00000-of-00002.parquet", pixels_of(2), [0, 1], image="picture")
    with pytest.raises(InputError, match=r"train-00000.*no column 'img' or 'image'; its columns are picture, label"):
        load("cifar10", root=root)
    write(root / "train-00000-of-00002.parquet", pixels_of(2), [0, 1], label="class")
    with pytest.raises(InputError, match="no column 'label'"):
        load("cifar10", root=root)


def test_damaged_parquet(root):
    path = root / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"test-00000-of-00001.parquet is not a whole Parquet file"):
        load("cifar10", root=root)


def test_damaged_image(root):
    files = [png(p) for p in pixels_of(3)]
    files[1] = files[1][:200]
    table = pa.table({"img": pa.array([{"bytes": f} for f in files]), "label": [0, 1, 2]})
    pq.write_table(table, root / "test-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"row 1 of .*test-00000.*not a whole image"):
        load("cifar10", root=root)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"img": ["text"], "label": [1]}, "must hold image files as bytes, not string"),
        ({"img": [b"x"], "label": [1.5]}, "must hold whole numbers, not double"),
        ({"img": [b"x", None], "label": [1, 2]}, "must not have empty rows"),
        ({"img": [b"x", b"y"], "label": [1, None]}, "must not have empty rows"),
        ({"img": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "has no rows"),
        ({"img": [b"no image"], "label": [1]}, "row 0 of .* is not a whole image"),
    ],
)
def test_wrong_contents(root, table, message):
    pq.write_table(pa.table(table), root / "test-00000-of-00001.parquet")
    with pytest.raises(InputError, match=message):
        load("cifar10", root=root)


def test_labels_out_of_range(root):
    write(root / "test-00000-of-00001.parquet", pixels_of(1), [10])
    with pytest.raises(InputError, match="test classes 10 to 10, but they must lie in 0 to 9"):
        load("cifar10", root=root)


def test_images_of_different_sizes(root):
    write(root / "train-00001-of-00002.parquet", pixels_of(2, size=16), [0, 1])
    with pytest.raises(InputError, match="images of different sizes"):
        load("cifar10", root=root)
    with pytest.raises(InputError, match="b is 16x16 pixels but a is 32x32"):
        decode([png(pixels_of(1)[0]), png(pixels_of(1, size=16)[0])], ["a", "b"])


def test_missing_split(root):
    (root / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"none named test-\*.parquet"):
        load("cifar10", root=root)


def test_folder_missing_empty_or_not_given(tmp_path):
    with pytest.raises(InputError, match="'cifar10' needs root"):
        load("cifar10")
    with pytest.raises(InputError, match="nowhere is not a folder"):
        load("cifar10", root=tmp_path / "nowhere")
    with pytest.raises(InputError, match="does not hold dataset 'cifar100'"):
        load("cifar100", root=tmp_path)


def test_fewer_and_smaller_images(root):
    whole = load("cifar10", root=root)
    write(root / "test-00000-of-00001.parquet", pixels_of(20, seed=2), list(range(10)) * 2)
    data = load("cifar10", root=root, size=16, train=12, test=10)
    assert data.input_shape == (3, 16, 16)
    # Three has six images and every other class one: all of the others, and what is missing from three.
    assert torch.bincount(data.train_targets).tolist() == [1, 1, 1, 3, 1, 1, 1, 1, 1, 1]
    assert data.test_targets.bincount().tolist() == [1] * 10
    blocks = whole.train.inputs.double().unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
    means = {tuple(image.flatten().tolist()) for image in (blocks + 0.5).floor().to(torch.uint8)}
    assert {tuple(image.flatten().tolist()) for image in data.train.inputs} <= means
    assert torch.allclose(data.train_inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert data.augmentation is not None and data.augmentation.padding == 2
    again, other = (load("cifar10", root=root, train=12, draw=draw).train.inputs for draw in (0, 1))
    assert torch.equal(again, load("cifar10", root=root, train=12).train.inputs)
    assert not torch.equal(again, other)


def test_validation_images_are_training_images_that_are_not_trained_on(root):
    write(root / "train-00000-of-00002.parquet", pixels_of(50), list(range(10)) * 5)
    (root / "train-00001-of-00002.parquet").unlink()
    read = load("cifar10", root=root).train.inputs
    parts = [load("cifar10", root=root, validation=20, **n) for n in ({}, {"train": 10}, {"train": 30})]
    for data, count in zip(parts, (30, 10, 30)):
        assert torch.equal(data.test.inputs, parts[0].test.inputs)
        assert (len(data.train), data.test_targets.bincount().tolist()) == (count, [2] * 10)
        both = torch.cat([data.train.inputs, data.test.inputs]).flatten(1)
        assert len(both.unique(dim=0)) == count + 20, "no image is in both"
        assert len(torch.cat([both, read.flatten(1)]).unique(dim=0)) == 50, "all are training images"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 33}, "size, the pixels of a side, must be a whole number of at most 32, not 33|from 1 to 32"),
        ({"train": 9}, "train, a number of images, must be a whole number"),
        ({"train": 16}, "train, a number of images, must be a whole number"),
        ({"test": 2}, "test, a number of images, must be a whole number"),
        ({"train": 10, "validation": 10}, "has 15 training images, too few for 10 to train on and 10"),
        ({"test": 4, "validation": 10}, "has test and validation images to evaluate on; give test"),
        ({"sizes": 16}, "did you mean 'size'"),
        ({"draw": -1}, "draw, the seed"),
    ],
)
def test_impossible_reductions(root, settings, message):
    with pytest.raises(InputError, match=message):
        load("cifar10", root=root, **settings)


def test_torchvision_layout(tmp_path, monkeypatch):
    """A tiny archive in the published pickle layout, with its checksums put where torchvision looks."""
    cifar = import_torchvision().datasets.CIFAR10
    folder = tmp_path / cifar.base_folder
    folder.mkdir()
    pixels = pixels_of(4)
    rows = pixels.transpose(0, 3, 1, 2).reshape(4, -1)

    def save(name, record):
        content = pickle.dumps(record)
        (folder / name).write_bytes(content)
        return [name, hashlib.md5(content).hexdigest()]

    train = [save("data_batch_1", {"data": rows[:3], "labels": [1, 2, 3]})]
    monkeypatch.setattr(cifar, "train_list", train)
    monkeypatch.setattr(cifar, "test_list", [save("test_batch", {"data": rows[3:], "labels": [4]})])
    name, checksum = save("batches.meta", {"label_names": [str(i) for i in range(10)]})
    monkeypatch.setattr(cifar, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    data = load("cifar10", root=tmp_path)
    assert np.array_equal(data.train.inputs.numpy(), pixels[:3].transpose(0, 3, 1, 2))
    assert data.test_targets.tolist() == [4]


@pytest.mark.slow
def test_published_cifar10():
    if not SHARED.is_dir():
        pytest.skip("CIFAR-10 as Parquet is not in ../shared/data/cifar10")
    data = load("cifar10", root=SHARED)
    assert torch.bincount(data.train_targets).tolist() == [5000] * 10
    assert torch.bincount(data.test_targets).tolist() == [1000] * 10
    assert torch.allclose(data.mean.flatten() / 255, torch.tensor([0.4914, 0.4822, 0.4465]), atol=1e-3)
