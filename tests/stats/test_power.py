"""What a test is said to find with 80% probability it finds in 80% of tables with such an effect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.stats.test_permutation import drawn
from topo import InputError
from topo.stats.label_permutations import p_and_interval
from topo.stats.permutation import permuted_means
from topo.stats.power import Detectable, detectable_correlation, p_to_be_found
from topo.stats.significance import significant, with_q_values


@pytest.mark.slow
@pytest.mark.parametrize("algorithms", [7, 10])
def test_a_correlation_of_this_size_is_found_in_four_of_five_tables(algorithms: int) -> None:
    names = [f"metric{i}" for i in range(10)]
    plain = drawn(0, algorithms=algorithms, models=3, sparsities=1, seeds=1)
    found = detectable_correlation(plain, names, p_below=0.05, permutations=1000)
    sizes, powers = [], []
    for effect in (0.6, 1.0, 1.6, 2.2, 3.0):
        tables = [
            drawn(seed, algorithms=algorithms, models=3, sparsities=1, seeds=1, effect=effect) for seed in range(12)
        ]
        permuted = [permuted_means(t, names, permutations=1000, seed=i).means for i, t in enumerate(tables)]
        sizes.append(np.median([means[0] for means in permuted]))
        powers.append(np.mean([p_and_interval(means, 0.95)[0] < 0.05 for means in permuted]))
    assert found.r == pytest.approx(np.interp(0.8, powers, sizes), abs=0.08)


def test_what_no_effect_can_reach_takes_more_algorithms() -> None:
    table = drawn(1, algorithms=5, models=2, sparsities=1, metrics=2)
    names = ["metric0", "metric1"]
    assert detectable_correlation(table, names, p_below=0.2)
    few = detectable_correlation(table, names, p_below=0.001)
    assert not few and (few.units, few.units_needed) == (5, 7)
    # A perfect correlation is found with so many, and not with one less.
    for algorithms, reached in ((6, False), (7, True)):
        perfect = drawn(2, algorithms=algorithms, models=1, sparsities=1, metrics=1)
        perfect["metric0"] = perfect["accuracy"]
        p = p_and_interval(permuted_means(perfect, ["metric0"]).means, 0.95)[0]
        assert (p[0] < 0.001) == reached


def test_the_p_value_of_one_more_discovery() -> None:
    tests = with_q_values(pd.DataFrame({"p": [0.001, 0.002, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]}))
    needed = p_to_be_found(tests)
    assert needed == pytest.approx(0.05 * 3 / 10)
    for p, clear in ((needed * 0.99, True), (needed * 1.01, False)):
        assert significant(with_q_values(pd.DataFrame({"p": [*tests["p"][:9], p]}))).tolist()[-1] == clear
    with pytest.raises(InputError, match="p_below"):
        detectable_correlation(drawn(0, models=1, sparsities=1), ["metric0"], p_below=0.0)
    assert bool(Detectable(0.5, 7, 7)) and not Detectable(float("nan"), 5, 7)
