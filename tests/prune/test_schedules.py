from __future__ import annotations

import pytest

from topo.prune.schedules import exponential


def test_the_density_falls_by_one_factor_and_ends_exactly():
    densities = exponential(0.02, 100)
    assert len(densities) == 100
    assert densities[-1] == 0.02
    ratios = [b / a for a, b in zip([1.0, *densities], densities)]
    assert ratios == pytest.approx([0.02**0.01] * 100)


def test_one_round_is_one_shot():
    assert exponential(0.3, 1) == [0.3]
