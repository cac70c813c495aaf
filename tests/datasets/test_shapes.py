from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from topo.datasets import load
from topo.datasets.shapes import LEVELS, SHAPES
from topo.errors import InputError
from topo.models import build
from topo.training import evaluate, recipe, train


def grey(images: torch.Tensor) -> np.ndarray:
    """The whole numbers that the images were made of."""
    levels = images.numpy() * LEVELS
    assert np.array_equal(levels, levels.round())
    return levels.astype(np.uint8)


def test_sizes_classes_and_levels():
    data = load("shapes")
    assert (data.input_shape, data.n_classes) == ((1, 8, 8), 10)
    assert (len(data.train), len(data.test)) == (900, 900)
    for split in (data.train, data.test):
        assert torch.bincount(split.targets).tolist() == [90] * 10
        assert grey(split.inputs).min() == 0 and grey(split.inputs).max() == LEVELS
    assert not data.augmentation.flip


def test_the_images_are_the_same_everywhere():
    data = load("shapes", train=50, test=50)
    digests = [hashlib.sha256(grey(split.inputs).tobytes()).hexdigest()[:16] for split in (data.train, data.test)]
    assert digests == ["a880ca32da0891eb", "941ec8c0befb1d65"]


def test_no_test_image_is_a_training_image():
    data = load("shapes")
    train_images, test_images = ({image.tobytes() for image in grey(s.inputs)} for s in (data.train, data.test))
    assert len(train_images) == len(test_images) == 900 and not train_images & test_images


def test_mean_images_are_the_shapes_blurred_over_their_places():
    """The mean image of a class is nearest to the shape itself, put at the four places and averaged."""
    data = load("shapes", train=4000)
    means = np.stack([data.train.inputs[data.train.targets == k, 0].numpy().mean(0) for k in range(10)])
    templates = np.zeros((10, 8, 8))
    for template, shape in zip(templates, SHAPES, strict=True):
        mask = np.array([[pixel == "#" for pixel in row] for row in shape.split()])
        for row, column in ((1, 1), (1, 2), (2, 1), (2, 2)):
            template[row : row + 5, column : column + 5] += mask / 4
    for one, other in zip(means, templates, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


def test_the_random_state_of_numpy_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  (the state that must not be used)
    load("shapes", train=20, test=20)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_a_dense_perceptron_learns_them_well_but_not_perfectly():
    data = load("shapes")
    net = build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    run = train(net, data, recipe("digits", epochs=8), device="cpu", progress=False)
    assert run.status == "finished"
    assert 0.88 < evaluate(net, data, device="cpu")["accuracy"] < 0.99


@pytest.mark.parametrize("name", ["train", "test"])
def test_too_few_images_are_refused(name):
    with pytest.raises(InputError, match=f"{name}, a number of images, must be a whole number of at least 10"):
        load("shapes", **{name: 9})
