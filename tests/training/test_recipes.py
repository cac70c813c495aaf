from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from topo.errors import InputError
from topo.training import RECIPES, Recipe, recipe


def test_reference_recipe_is_the_published_one():
    reference = recipe("reference")
    assert (reference.optimizer, reference.learning_rate, reference.momentum) == ("sgd", 0.1, 0.9)
    assert (reference.weight_decay, reference.batch_size, reference.epochs) == (1e-4, 128, 160)
    assert [m * reference.epochs for m in reference.milestones] == [80, 120]
    assert reference.decay == 0.1
    assert reference.freeze_biases
    assert recipe("reference-wide").weight_decay == 5e-4


def test_every_setting_has_help():
    assert all(option.metadata["help"] for option in fields(Recipe))
    assert all(entry.summary for entry in RECIPES.entries())


def test_overrides_make_a_new_recipe():
    changed = recipe("reference", epochs=3, milestones=[0.9])
    assert (changed.epochs, changed.milestones) == (3, (0.9,))
    assert recipe("reference").epochs == 160
    assert recipe(changed, batch_size=7).epochs == 3
    with pytest.raises(FrozenInstanceError):
        changed.epochs = 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learningrate": 1}, "unknown recipe setting 'learningrate'; did you mean 'learning_rate'"),
        ({"epochs": -3}, "epochs must be a whole number of at least 1, not -3"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"evaluate_every": 0}, "evaluate_every must be a whole number"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"optimizer": "sdg"}, "unknown value of optimizer 'sdg'; did you mean 'sgd'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0, not 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"learning_rate": "0.1"}, "learning_rate must be a number above 0, not '0.1'"),
        ({"momentum": 1.0}, "momentum must be a number of at least 0 and below 1"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number of at least 0"),
        ({"label_smoothing": 1}, "label_smoothing must be"),
        ({"warmup": 1}, "warmup must be a number of at least 0 and below 1"),
        ({"gradient_clip": 0}, "gradient_clip must be a number above 0"),
        ({"milestones": (80, 120)}, "give epoch 80 of 160 as 0.5"),
        ({"milestones": 0.5}, "must be a list of fractions"),
        ({"nesterov": True, "momentum": 0}, "nesterov needs momentum"),
        ({"freeze_biases": "yes"}, "freeze_biases must be true or false, not 'yes'"),
    ],
)
def test_bad_settings(overrides, message):
    with pytest.raises(InputError, match=message):
        recipe("reference", **overrides)


def test_settings_that_came_later_leave_what_decides_a_run_as_it_was():
    names = {option.name for option in fields(Recipe)}
    assert names - recipe("digits").decides().keys() == {"fused", "evaluate_every", "loss"}
    assert recipe("digits", evaluate_every=2).decides()["evaluate_every"] == 2


def test_unknown_recipe():
    with pytest.raises(InputError, match="unknown recipe 'refrence'; did you mean 'reference'"):
        recipe("refrence")
