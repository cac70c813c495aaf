from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from topo.errors import InputError
from topo.publishing import cite, methods
from topo.publishing.methods_text import _Citations, _pruning, _training
from topo.study import Study, StudyConfig
from topo.training import Recipe


def run(study: Study) -> None:
    """Run it in this process, which has imported torch."""
    with ThreadPoolExecutor(1) as executor:
        study.run(executor=executor, progress=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    config = StudyConfig.parse(
        {
            "datasets": [{"name": "digits", "subset": 20}],
            "models": ["digits-mlp"],
            "pruners": [{"name": "er", "label": "er_1"}, "magnitude", "set"],
            "sparsities": [0.5],
            "recipe": {"name": "digits", "epochs": 1, "batch_size": 10},
            "metrics": ["local"],
            "workers": 1,
        }
    )
    study = Study(config, tmp_path_factory.mktemp("study"))
    run(study)
    return study


@pytest.mark.slow
def test_every_sentence_is_about_what_was_run(study: Study):
    text = methods(study)
    for said in (
        "We trained digits-mlp on digits [alpaydin1998] (10 classes, 200 training and 200 test samples),",
        "from one random initialisation each",
        "Fresh networks were pruned by er_1 [mocanu2018] and then trained.",
        "Trained dense networks were pruned by magnitude [han2015] and trained by the same recipe once more.",
        "While they were trained, networks were pruned by set [mocanu2018].",
        "a sparsity of 50%",
        "Training took one epoch of",
        "in batches of 10, with a learning rate of 0.1 that rose linearly over the first 10% of the steps and was",
        "encoded as multipartite [cunegatti2023] graphs, of which 10 topometrics were computed (local).",
        "Of 4 networks, 1 of them dense, 4 finished.",
        "Everything ran on CPU with 1 thread a process, under topo ",
    ):
        assert said in text
    latex = methods(study, latex=True)
    assert r"er\_1~\cite{mocanu2018}" in latex and r"50\%" in latex
    assert methods(study.folder) == text


def test_what_a_recipe_sets_is_said():
    plan = Recipe(
        epochs=2,
        optimizer="sgd",
        nesterov=True,
        schedule="constant",
        label_smoothing=0.1,
        gradient_clip=1.0,
        augment=False,
    )
    assert _training(plan) == (
        "Training took 2 epochs of SGD in batches of 128, with a learning rate of 0.1 that was constant, Nesterov "
        "momentum 0.9 and weight decay 0.0001, with label smoothing of 0.1 and gradients clipped to a norm of 1."
    )
    assert "rose" in _training(Recipe(warmup=0.2)) and "Nesterov" not in _training(Recipe())


def test_pruners_that_train_by_themselves_are_told(tmp_path):
    config = StudyConfig.parse({"models": ["digits-mlp"], "pruners": ["snip", "imp", "l1-filter"], "sparsities": [0.5]})
    text = " ".join(_pruning(Study(config, tmp_path / "study"), _Citations(latex=False)))
    assert "Fresh networks were pruned by snip [lee2019] and then trained." in text
    assert "were pruned by imp [frankle2019, frankle2020], training before the masks were final, and then" in text
    assert "whole units until it is reached" in text


@pytest.mark.slow
def test_dense_networks_of_equal_cost_and_regressions_are_told(tmp_path):
    config = StudyConfig.parse(
        {
            "datasets": ["diabetes"],
            "models": ["mlp"],
            "pruners": ["l2-filter"],
            "sparsities": [0.5],
            "recipe": {"name": "table", "epochs": 1},
            "metrics": ["general"],
            "dense_of_equal_cost": True,
            "workers": 1,
        }
    )
    study = Study(config, tmp_path / "study")
    run(study)
    text = methods(study)
    data = study.dataset(study.results()["cell"].iloc[0])
    assert f"on diabetes [efron2004] ({len(data.train)} training and {len(data.test)} test samples)" in text
    assert "was trained from scratch for as many epochs as that had been in all [liu2019]." in text
    assert "liu2019" in cite(study)


def test_a_study_that_has_not_run_is_refused(study: Study, tmp_path):
    with pytest.raises(InputError, match="no results yet"):
        methods(Study(study.config, tmp_path / "new"))
