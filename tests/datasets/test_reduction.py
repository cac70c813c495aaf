from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from topo.datasets.reduction import area_averaged, balanced_part


@given(side=st.integers(1, 6), size=st.integers(1, 6), seed=st.integers(0, 99))
def test_area_averages_are_exact(side, size, seed):
    size = min(side, size)
    image = np.random.default_rng(seed).integers(0, 256, (side, side))
    found = area_averaged(torch.from_numpy(image)[None, None].to(torch.uint8), size)[0, 0]
    step = Fraction(side, size)

    def shared(new: int, old: int) -> Fraction:
        return max(Fraction(0), min((new + 1) * step, Fraction(old + 1)) - max(new * step, Fraction(old)))

    for row in range(size):
        for column in range(size):
            total = sum(shared(row, i) * shared(column, j) * int(image[i, j]) for i in range(side) for j in range(side))
            assert int(found[row, column]) == int(total / step**2 + Fraction(1, 2))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 9), st.data())
def test_balanced_parts(classes, draw, data):
    targets = torch.tensor(classes)
    count = data.draw(st.integers(1, len(classes)))
    for end in (False, True):
        part = balanced_part(targets, count, draw, from_the_end=end)
        assert part.tolist() == sorted(set(part.tolist())) and len(part) == count
        have, got = targets.bincount(minlength=5), targets[part].bincount(minlength=5)
        # A class with fewer than another has no more to give.
        assert all(got[a] >= got[b] - 1 or got[a] == have[a] for a in range(5) for b in range(5))
        smaller = balanced_part(targets, max(count - 1, 1), draw, from_the_end=end)
        assert set(smaller.tolist()) <= set(part.tolist())


def test_every_sample_is_as_likely_as_another_of_its_class():
    targets = torch.arange(12) % 3
    drawn = sum(balanced_part(targets, 6, draw).bincount(minlength=12).double() for draw in range(400))
    # Half of each class: 200 of 400 expected, standard deviation 10; five of those for the largest of 12.
    assert ((drawn - 200).abs() < 50).all()
