from __future__ import annotations

import numpy as np
import pytest
import torch

from topo.datasets import load
from topo.datasets.waves import SHAPES
from topo.errors import InputError


def test_waves_have_mean_zero_and_mean_square_one_under_noise():
    data = load("waves", train=400, test=8, steps=480, noise=0)
    assert data.input_shape == (480, 1) and data.train.class_counts.tolist() == [100] * 4
    series = data.train.inputs[..., 0]
    # Whole periods are needed for exact means; one and a half to three come near.
    for shape in range(len(SHAPES)):
        of_shape = series[data.train.targets == shape]
        assert abs(float(of_shape.mean())) < 0.05 and float(of_shape.square().mean()) == pytest.approx(1, abs=0.05)
    assert set(series[data.train.targets == 1].unique().tolist()) == {-1.0, 1.0}


def test_other_numbers_leave_the_test_series_as_they_are_and_noise_is_added():
    first, second = load("waves", train=8, test=20), load("waves", train=12, test=20)
    assert torch.equal(first.test.inputs, second.test.inputs)
    noisy, clean = (load("waves", train=200, test=4, noise=noise).train.inputs for noise in (0.3, 0))
    assert float((noisy - clean).std()) == pytest.approx(0.3, abs=0.02)
    before = np.random.get_state()[1].copy()  # noqa: NPY002  (the state that must not be used)
    load("waves", train=4, test=4)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    with pytest.raises(InputError, match="train, a number of series, must be a whole number of at least 4"):
        load("waves", train=3)
