from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from topo.datasets import load
from topo.errors import InputError


def save(path, colour, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def root(tmp_path):
    for name, colour in {"apple": (255, 0, 0), "sky": (0, 0, 255)}.items():
        for index in range(3):
            save(tmp_path / "train" / name / f"{index}.png", colour)
        save(tmp_path / "val" / name / "x.PNG", colour)
    (tmp_path / "train" / "apple" / "notes.txt").write_text("not an image")
    return tmp_path


def test_classes_are_folders_in_alphabetical_order(root):
    data = load("folder", root=root)
    assert (data.n_classes, data.input_shape) == (2, (3, 4, 4))
    assert data.train_targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_targets.tolist() == [0, 1]
    assert data.test.inputs[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_a_folder_of_datasets_holds_each_in_a_folder_of_its_name(root):
    everything = root.parent / "everything"
    everything.mkdir()
    root.rename(everything / "folder")
    assert load("folder", root=everything).test_targets.tolist() == [0, 1]


def test_test_folder_serves_where_val_is_missing(root):
    (root / "val").rename(root / "test")
    assert load("folder", root=root).test_targets.tolist() == [0, 1]


def test_tinyimagenet_layout(tmp_path):
    for name, colour in {"n01": (10, 0, 0), "n02": (0, 20, 0)}.items():
        save(tmp_path / "train" / name / "images" / f"{name}_0.JPEG", colour)
        (tmp_path / "train" / name / f"{name}_boxes.txt").write_text("")
    save(tmp_path / "val" / "images" / "val_0.JPEG", (0, 20, 0))
    save(tmp_path / "val" / "images" / "val_1.JPEG", (10, 0, 0))
    save(tmp_path / "test" / "images" / "test_0.JPEG", (0, 0, 0))
    annotations = tmp_path / "val" / "val_annotations.txt"
    annotations.write_text("val_0.JPEG\tn02\t0\t0\t3\t3\nval_1.JPEG\tn01\t0\t0\t3\t3\n")
    data = load("folder", root=tmp_path)
    assert data.train_targets.tolist() == [0, 1]
    assert data.test_targets.tolist() == [0, 1]
    assert np.array_equal(data.test.inputs.numpy(), data.train.inputs.numpy())
    annotations.write_text("val_9.JPEG\tn02\n")
    with pytest.raises(InputError, match=r"line 1 of .*val_annotations.txt must name a file"):
        load("folder", root=tmp_path)
    annotations.write_text("")
    with pytest.raises(InputError, match=r"val_annotations.txt is empty"):
        load("folder", root=tmp_path)


def test_size_scales_and_crops(root):
    save(root / "train" / "apple" / "wide.png", (255, 0, 0), size=(12, 5))
    with pytest.raises(InputError, match=r"wide.png is 5x12 pixels but .*0.png is 4x4.*give size="):
        load("folder", root=root)
    data = load("folder", root=root, size=8)
    assert data.input_shape == (3, 8, 8)
    assert data.train.inputs[3].flatten(1).unique(dim=1).flatten().tolist() == [255, 0, 0]


def test_missing_and_empty_folders(root, tmp_path):
    with pytest.raises(InputError, match="root is not a folder"):
        load("folder")
    with pytest.raises(InputError, match="train has no class folders"):
        load("folder", root=root / "val")
    (root / "train" / "empty").mkdir()
    with pytest.raises(InputError, match="empty has no image files"):
        load("folder", root=root)
    (root / "train" / "empty").rmdir()
    (root / "val").rename(root / "holdout")
    with pytest.raises(InputError, match="has no test images"):
        load("folder", root=root)


def test_unknown_class_damaged_image_and_bad_size(root):
    save(root / "val" / "moon" / "0.png", (0, 0, 0))
    with pytest.raises(InputError, match="class 'moon'"):
        load("folder", root=root)
    (root / "val" / "moon" / "0.png").unlink()
    (root / "val" / "moon").rmdir()
    (root / "val" / "sky" / "x.PNG").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"x.PNG is not a whole image"):
        load("folder", root=root)
    with pytest.raises(InputError, match="size, in pixels, must be a whole number of at least 1"):
        load("folder", root=root, size=0)
