from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from topo.datasets import Augmentation
from topo.datasets.augment import crop


def one_by_one(images, padding, rows, columns, mirrored):
    out = []
    for image, row, column, mirror in zip(images.numpy(), rows, columns, mirrored):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        window = padded[:, row : row + image.shape[1], column : column + image.shape[2]]
        out.append(window[:, :, ::-1] if mirror else window)
    return torch.from_numpy(np.stack(out))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    padding=st.integers(0, 4),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.uint8, torch.float32]),
)
def test_crop_equals_cutting_one_by_one(shape, padding, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, shape, generator=generator).to(dtype)
    rows, columns = torch.randint(0, 2 * padding + 1, (2, shape[0]), generator=generator)
    mirrored = torch.rand(shape[0], generator=generator) < 0.5
    out = crop(images, padding, rows, columns, mirrored)
    assert out.dtype == dtype
    assert torch.equal(out, one_by_one(images, padding, rows.tolist(), columns.tolist(), mirrored.tolist()))


def test_every_offset_and_mirror_is_equally_likely():
    images = torch.zeros(20_000, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 4, 3] = 1
    out = Augmentation(padding=1, flip=True)(images, torch.Generator().manual_seed(0))
    counts = out.sum(0)[0]
    # row 4 shifts by -1, 0, 1; column 3 (mirrored 5) likewise: column 4 is reached both ways
    expected = np.zeros((9, 9))
    expected[3:6, 2:7] = 20_000 / 3 * np.array([1, 1, 2, 1, 1]) / 6
    assert np.abs(counts.numpy() - expected).max() < 5 * np.sqrt(20_000 / 9)
    assert int(counts.sum()) == 20_000


def test_without_flip_nothing_is_mirrored():
    images = torch.arange(4, dtype=torch.uint8).expand(500, 1, 4, 4)
    out = Augmentation(padding=0, flip=False)(images, torch.Generator().manual_seed(0))
    assert torch.equal(out, images)


def test_same_generator_state_same_images():
    images = torch.randint(0, 256, (50, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    first, again, other = (Augmentation()(images, torch.Generator().manual_seed(seed)) for seed in (2, 2, 3))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
