from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from topo.questions import QUESTIONS, Evidence
from topo.questions.network_distances import network_distances
from topo.results import example_results
from topo.results.evidence import together
from topo.study import Study, StudyConfig

# A study is run, and networks are compared in pairs.
pytestmark = pytest.mark.slow

ask = QUESTIONS["similar_networks"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    config = StudyConfig.parse(
        {
            "name": "tiny",
            "datasets": [{"name": "digits", "subset": 20}],
            "models": ["digits-cnn"],
            "pruners": ["er", "uniform", "synflow"],
            "sparsities": [0.5, 0.8],
            "seeds": [0, 1],
            "recipe": {"name": "digits", "epochs": 1},
            "encodings": ["multipartite"],
            "metrics": ["local"],
        }
    )
    study = Study(config, tmp_path_factory.mktemp("study") / "tiny")
    with ThreadPoolExecutor(1) as pool:
        study.run(executor=pool, progress=False)
    return study


def test_a_study_is_compared_by_its_masks(study):
    evidence = Evidence.open(study=study.folder)
    distances = network_distances(evidence)
    assert distances.source == "masks" and [len(g.networks) for g in distances.groups] == [6, 6]
    assert [g.sparsity for g in distances.groups] == [0.5, 0.8]
    first = distances.groups[0]
    assert first.chance.shape == first.distances.shape == (6, 6)
    assert ((first.distances > 0) == ~np.eye(6, dtype=bool)).all()
    answer = ask(evidence, permutations=99)
    assert "NNSTD" in answer.sentences[0] and "shuffled" in answer.sentences[2]
    assert set(answer.figures) == {"similarity_map", "similarity_of_algorithms", "similarity_of_seeds"}
    tested = answer.tables["algorithms"].set_index("pruner")
    # SynFlow looks at the initial weights only through their sizes and keeps whole paths: its seeds are similar.
    assert tested.loc["synflow", "ratio"] < min(tested.loc["er", "ratio"], tested.loc["uniform", "ratio"])


def test_without_masks_profiles_are_compared_and_the_method_says_so(study):
    moved = [(study.folder / name, study.folder / f"{name}-elsewhere") for name in ("records", "masks")]
    for folder, elsewhere in moved:
        folder.rename(elsewhere)
    try:
        answer = ask(Evidence.open(study=study.folder))
    finally:
        for folder, elsewhere in moved:
            elsewhere.rename(folder)
    assert "profiles" in answer.sentences[0] and "No masks are known" in answer.method


def test_a_network_whose_masks_are_damaged_is_left_out_with_a_note(study):
    rows = study.results()
    file = study.store.masks_file(rows.loc[rows["pruner"] == "er", "cell"].iloc[0])
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    try:
        distances = network_distances(Evidence.open(study=study.folder))
    finally:
        file.write_bytes(whole)
    assert sorted(len(group.networks) for group in distances.groups) == [5, 6]
    assert "1 network of tiny is left out: masks/" in " ".join(distances.notes)


def test_several_studies_stay_in_groups_of_their_own(study):
    table = example_results(models=("digits-cnn", "other"))
    both = together([Evidence.open(study=study.folder), Evidence.of(table, name="mine")])
    assert set(both.networks["model"]) == {"digits-cnn (tiny)", "digits-cnn (mine)", "other"}
    assert len(both.networks) == len(table) + 14
    assert both.studies == {"tiny": study.folder}
    assert both.data_issues["what"].str.contains("another study has too").sum() == 2
    answer = ask(both, permutations=9)
    assert "networks have no masks and are left out" in " ".join(answer.caveats)


def planted(apart=3.0, seeds=3):
    generator = np.random.default_rng(0)
    names = [("er", 0), ("erk", 0.1), ("snip", 1), ("rigl", 2)]
    rows = [
        {"dataset": "d", "model": m, "pruner": n, "sparsity": s, "seed": seed, "accuracy": generator.uniform(),
         "k_core_norm": apart * at + generator.normal(0, 0.3), "motifs_norm": -apart * at + generator.normal(0, 0.3)}
        for m in ("a", "b") for s in (0.8, 0.9) for n, at in names for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_planted_similarity_is_measured():
    answer = ask(Evidence.of(planted()), permutations=199)
    assert "Most similar are er and erk" in answer.sentences[1]
    assert "least er and rigl" in answer.sentences[1] or "least erk and rigl" in answer.sentences[1]
    assert answer.tables["algorithms"].iloc[0]["p"] < 0.05
    assert len(answer.figures["similarity_map"].axes) == 2
    assert answer.tables["map"]["sparsity"].eq(0.9).all()


def test_without_a_planted_similarity_the_test_does_not_reject():
    answer = ask(Evidence.of(planted(apart=0)), permutations=199)
    assert answer.tables["algorithms"].iloc[0]["p"] > 0.05


def test_the_first_sentence_says_that_there_is_one_seed():
    answer = ask(Evidence.of(planted(seeds=1)))
    assert "no group holds two networks" in answer.sentences[0]
    assert set(answer.figures) == {"similarity_of_algorithms"}
    assert "No map is drawn: a map takes 6 networks that differ." in answer.caveats
    assert answer.verdict.said == "open" and "no group holds two networks" in answer.verdict.sentence


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t[t["pruner"] == "dense"], "no sparse network"),
        (lambda t: t[t["pruner"] == "snip"], "of two algorithms"),
        (lambda t: t[["pruner", "sparsity", "accuracy", "seed"]], "no profile differs"),
        (lambda t: t.assign(accuracy=np.nan), "no sparse network"),
    ],
)
def test_evidence_that_cannot_answer(change, words):
    answer = ask(Evidence.of(change(example_results())))
    assert words in answer.reason and not answer.sentences


def test_many_networks_are_sampled_and_a_note_says_so():
    table = pd.concat([planted(seeds=30).assign(model=f"m{i}") for i in range(20)]).drop_duplicates(
        ["model", "pruner", "sparsity", "seed"]
    )
    assert len(table) == 4800
    many = pd.concat([table, table.assign(dataset="e")])
    distances = network_distances(Evidence.of(many))
    assert sum(len(g.networks) for g in distances.groups) <= 5000
    assert "of 9,600 networks were compared" in distances.notes[0]
