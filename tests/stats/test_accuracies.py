from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from topo.errors import InputError
from topo.stats import accuracy_error


def test_it_is_the_spread_of_a_binomial_share():
    accuracy, samples = np.array([[0.1, 0.5], [0.93, 1.0]]), np.array([10, 899])
    assert accuracy_error(accuracy, samples) == pytest.approx(binom(samples, accuracy).std() / samples, abs=1e-12)


def test_no_accuracy_has_no_error():
    assert np.isnan(accuracy_error(np.nan, 10))


@pytest.mark.parametrize(
    ("accuracy", "samples", "words"),
    [(93.0, 10, "divide percentages"), (-0.1, 10, "from 0 to 1"), (0.5, 0, "one test sample"), (0.5, np.nan, "sample")],
)
def test_what_is_no_accuracy_is_refused(accuracy, samples, words):
    with pytest.raises(InputError, match=words):
        accuracy_error(accuracy, samples)
