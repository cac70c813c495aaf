from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from topo.training import Recipe, learning_rate


def rates(recipe: Recipe, steps_per_epoch: int) -> list[float]:
    return [learning_rate(recipe, step, steps_per_epoch) for step in range(recipe.epochs * steps_per_epoch)]


def torch_rates(scheduler, steps: int) -> list[float]:
    values = []
    for _ in range(steps):
        values.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return values


def sgd(rate: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], rate)


def test_reference_schedule():
    values = rates(Recipe(), 1)
    assert values == pytest.approx([0.1] * 80 + [0.01] * 40 + [0.001] * 40)


def test_milestones_equal_torch():
    recipe = Recipe(epochs=20, learning_rate=0.3, milestones=(0.25, 0.6), decay=0.5)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(sgd(0.3), [5 * 4, 12 * 4], gamma=0.5)
    assert rates(recipe, 4) == pytest.approx(torch_rates(scheduler, 80))


@given(epochs=st.integers(1, 20), steps=st.integers(1, 7))
def test_cosine_equals_torch(epochs, steps):
    recipe = Recipe(epochs=epochs, learning_rate=0.2, schedule="cosine")
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(sgd(0.2), T_max=epochs * steps)
    assert rates(recipe, steps) == pytest.approx(torch_rates(scheduler, epochs * steps), abs=1e-12)


def test_warmup_by_hand():
    recipe = Recipe(epochs=10, learning_rate=1.0, schedule="cosine", warmup=0.4)
    half_cosine = [1.0, 0.9330127, 0.75, 0.5, 0.25, 0.0669873]
    assert rates(recipe, 1) == pytest.approx([0.25, 0.5, 0.75, 1.0, *half_cosine])
    constant = Recipe(epochs=4, learning_rate=1.0, schedule="constant", warmup=0.5)
    assert rates(constant, 1) == pytest.approx([0.5, 1, 1, 1])


def test_warmup_leaves_milestones_where_they_are():
    recipe = Recipe(epochs=10, learning_rate=1.0, warmup=0.2, milestones=(0.5,))
    assert rates(recipe, 1) == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1])


@given(st.integers(1, 7))
def test_one_epoch_drops_at_its_own_fractions(quarter):
    values = rates(Recipe(epochs=1, learning_rate=1.0), 4 * quarter)
    assert values == pytest.approx([1.0] * 2 * quarter + [0.1] * quarter + [0.01] * quarter)
