"""Cells whose pruner works during training, trains, or adjusts the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

import topo
from topo.errors import InputError
from topo.pruning import PRUNERS, SparseTrainingCallback, Task
from topo.study import StudyConfig
from topo.study.entries import PrunerChoice


@pytest.fixture
def register() -> Iterator[Callable]:
    """Registers pruners that are gone after the test."""
    before = dict(PRUNERS._entries)
    yield PRUNERS.register
    PRUNERS._entries.clear()
    PRUNERS._entries.update(before)


def row_of(study, executor, pruner: str) -> dict:
    table = study.run(executor=executor, progress=False)
    return table[table["pruner"] == pruner].iloc[0].to_dict()


def test_a_pruner_of_stage_training_ends_with_the_masks_of_its_training(tiny, here):
    recipe = {"name": "digits", "epochs": 4}
    study = tiny(pruners=[{"name": "rigl", "interval": 1}], recipe=recipe, sparsities=[0.8], save_weights=True)
    row = row_of(study, here, "rigl")
    masks, state = study.masks(row["cell"]), study.model(row["cell"]).state_dict()
    assert (row["status"], row["family"]) == ("finished", "dynamic")
    assert row["kept_weights"] == masks.counts()["kept"].sum() == round(0.2 * row["total_weights"])
    assert masks.algorithm == "rigl" and masks.settings["interval"] == 1 and masks.asked_sparsity == 0.8
    assert all(bool((state[name][~mask] == 0).all()) for name, mask in masks.items())
    fresh = topo.models.build("digits-mlp", input_shape=(1, 8, 8), widths=[8], seed=0)
    assert topo.pruning.sparse_training_callback(fresh, "rigl", sparsity=0.8, device="cpu").masks != masks
    density = masks.counts()["density"]
    assert (row["layer_density_min"], row["layer_density_max"]) == (density.min(), density.max())
    assert "rolled__sink_nodes_mean" in row and len(study.history(row["cell"])) == 4


def test_weights_that_a_pruner_adjusted_are_where_training_starts(tiny, here, register, monkeypatch):
    @register("sevens", family="initial", stage="initial", needs_data=False)
    def sevens(task: Task) -> dict[str, torch.Tensor]:
        """Every weight is seven."""
        task.keep_state = True
        for weight in task.weights.values():
            weight.data.fill_(7.0)
        return topo.pruning.initial.uniform.uniform(task)

    seen = []
    train = topo.study.computation.train

    def watch(model, *arguments, **options):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters() if p.ndim > 1})
        return train(model, *arguments, **options)

    monkeypatch.setattr(topo.study.computation, "train", watch)
    study = tiny(pruners=["sevens"], sparsities=[0.5])
    masks = study.masks(row_of(study, here, "sevens")["cell"])
    assert all(torch.equal(seen[-1][name], 7.0 * mask) for name, mask in masks.items())


def test_a_pruner_that_trains_has_the_recipe_of_the_cell(tiny, here, register):
    recipes = []

    @register("trainer", family="trained", stage="trained", needs_data=True)
    def trainer(task: Task) -> dict[str, torch.Tensor]:
        """Trains first."""
        recipes.append(task.recipe)
        task.train()
        return topo.pruning.initial.uniform.uniform(task)

    study = tiny(pruners=["trainer"], sparsities=[0.5], recipe={"name": "digits", "epochs": 2})
    assert row_of(study, here, "trainer")["status"] == "finished"
    assert recipes == [study.config.recipe.resolved()] and recipes[0].epochs == 2


def test_a_pruner_whose_training_diverges_is_a_status_and_the_others_go_on(tiny, here, register):
    @register("exploding", family="trained", stage="initial", needs_data=True)
    def exploding(task: Task) -> dict[str, torch.Tensor]:
        """Trains with an impossible rate."""
        task.train(recipe=topo.training.recipe(task.recipe, learning_rate=1e30, epochs=2))
        return topo.pruning.initial.uniform.uniform(task)

    @register("inflating", family="dynamic", stage="training", needs_data=False)
    class Inflating(SparseTrainingCallback):
        """Multiplies the weights."""

        def __init__(self, task: Task) -> None:
            super().__init__(task)
            self.masks = topo.pruning.initial.uniform.uniform(task)

        def on_step_end(self, state) -> None:
            for weight in self.weights(state).values():
                weight.data.mul_(1e30)

    study = tiny(pruners=["exploding", "inflating", "er"], sparsities=[0.5])
    table = study.run(executor=here, progress=False).set_index("pruner")
    assert table["status"].to_dict() == {
        "dense": "finished", "exploding": "diverged", "inflating": "diverged", "er": "finished"
    }  # fmt: skip
    assert "pruner 'exploding' trains the network, and the " in table.loc["exploding", "reason"]
    assert "loss became" in table.loc["inflating", "reason"] and table.loc["inflating", "reached_sparsity"] > 0.4
    assert table.loc[["exploding", "inflating"], "accuracy"].isna().all()
    assert study.store.is_done(table.loc["exploding", "cell"])


def test_a_layer_emptied_during_training_is_a_collapse_or_refused(tiny, here, register):
    @register("emptying", family="dynamic", stage="training", needs_data=False)
    class Emptying(SparseTrainingCallback):
        """Empties the last layer at the end of the first epoch."""

        def __init__(self, task: Task) -> None:
            super().__init__(task)
            self.masks = topo.pruning.initial.uniform.uniform(task)

        def on_epoch_end(self, state) -> None:
            *_, last = self.names
            self.change(state, {n: m & (n != last) for n, m in state.masks.items()})

    strict = {"name": "emptying", "label": "strict", "allow_empty_layers": False}
    study = tiny(pruners=["emptying", strict], sparsities=[0.5], recipe={"name": "digits", "epochs": 2})
    table = study.run(executor=here, progress=False).set_index("pruner")
    assert table.loc["emptying", "status"] == "collapsed" and table.loc["emptying", "accuracy"] > 0
    assert table.loc["strict", "status"] == "failed"
    assert (
        "left no weight in" in table.loc["strict", "reason"] and "lower the sparsity" in table.loc["strict", "reason"]
    )


def test_the_stage_of_what_works_during_training_is_its_own():
    choice = PrunerChoice.model_validate("set")
    assert choice.applied_at == choice.decides()["stage"] == "training" and choice.family == "dynamic"
    for stage in ("initial", "trained"):
        pruner = {"name": "rigl", "stage": stage}
        with pytest.raises(InputError, match=rf"'rigl' works during training; leave out stage: {stage}"):
            StudyConfig.parse({"models": ["digits-mlp"], "pruners": [pruner], "sparsities": [0.9]})
