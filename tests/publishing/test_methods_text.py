from __future__ import annotations

import pytest

from topo.errors import InputError
from topo.publishing import methods
from topo.study import Study, StudyConfig


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
    study.run(progress=False)
    return study


@pytest.mark.slow
def test_every_sentence_is_about_what_was_run(study: Study):
    text = methods(study)
    for said in (
        "We trained digits-mlp on digits [alpaydin1998] (10 classes,",
        "from one random initialisation each",
        "Fresh networks were pruned by er_1 [mocanu2018] and then trained.",
        "Trained dense networks were pruned by magnitude [han2015] and trained on.",
        "While they were trained, networks were pruned by set [mocanu2018].",
        "a sparsity of 50%",
        "Training took one epoch of",
        "in batches of 10",
        "encoded as multipartite [cunegatti2023] graphs, of which 10 topometrics were computed (local).",
        "Of 4 networks, 1 of them dense, 4 finished.",
        "Everything ran on CPU with 1 thread a process, under topo ",
    ):
        assert said in text
    latex = methods(study, latex=True)
    assert r"er\_1~\cite{mocanu2018}" in latex and r"50\%" in latex
    assert methods(study.folder) == text


def test_a_study_that_has_not_run_is_refused(study: Study, tmp_path):
    with pytest.raises(InputError, match="no results yet"):
        methods(Study(study.config, tmp_path / "new"))
