"""Z-scores of a study: what its table holds, and that what cells share is measured once and changes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

import topo
from topo.results import control_columns, metric_columns
from topo.results.evidence import Evidence
from topo.results.feature_sets import encodings_of, feature_sets, set_label
from topo.study import StudyConfig, controls
from topo.study.computation import compute
from topo.study.grid import cells_of

CHANGES = {
    "pruners": ["er", "erk", "snip"],
    "sparsities": [0.8],
    "seeds": [0, 1],
    "encodings": ["multipartite", "rolled"],
    "metrics": ["k_core", "spectral_gap", "edges", "motifs"],
    "controls": 4,
}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The encoding and numbers of weights of every set of random masks that is measured and not read."""
    calls = []
    real = controls.measure_controls

    def counting(dag, masks, encoding, *rest, **options):
        calls.append((encoding, tuple(masks.counts()["kept"])))
        return real(dag, masks, encoding, *rest, **options)

    monkeypatch.setattr(controls, "measure_controls", counting)
    return calls


def test_z_scores_of_a_study_and_what_cells_share(tiny, here, measured):
    study = tiny(**CHANGES)
    table = study.run(executor=here, progress=False)
    # er and erk leave as many weights in each layer of a perceptron, whatever the seed: measured once an encoding.
    assert len(measured) == len(set(measured)) == len(list(study.store.controls.iterdir()))
    assert len(measured) == 2 * (1 + len({tuple(study.masks(k).counts()["kept"]) for k in _cells(table, "snip")}))

    sparse = table[table["pruner"] != "dense"]
    expected = ["edges_z", "motifs_z", "k_core_z", *(f"rolled__{c}_mean_z" for c in ("edges", "motifs", "k_core"))]
    assert control_columns(table) == expected
    assert not set(expected) & set(metric_columns(table))
    assert table.loc[table["pruner"] == "dense", expected].isna().all(axis=None)
    for row in sparse.to_dict("records"):
        dag = topo.trace(study.model(row["cell"]), (1, 8, 8))
        scores = topo.z_scores(dag, study.masks(row["cell"]), encoding="rolled", metrics=CHANGES["metrics"], n=4)
        for metric, score in scores["z"].items():
            assert row[f"rolled__{metric}_z"] == pytest.approx(score, nan_ok=True)
    assert sparse["motifs_z"].notna().all() and sparse["rolled__edges_mean_z"].isna().all()
    assert Evidence.read(study).undefined["rolled__edges_mean_z"] == "the numbers of weights in the layers fix it"

    sets = feature_sets(sparse)
    assert sets["multipartite_z"] == ["motifs_z", "k_core_z"] and "motifs_z" not in sets["multipartite"]
    assert sets["rolled_z"] == ["rolled__motifs_mean_z", "rolled__k_core_mean_z"]
    assert set_label("multipartite_z") == "multipartite, z-scores"
    assert encodings_of(["multipartite_z", "rolled_z"]) == ["rolled"]


def _cells(table, pruner):
    return table.loc[table["pruner"] == pruner, "cell"]


def test_results_do_not_depend_on_what_is_kept(tiny, tmp_path, measured):
    cells = [cell for cell in cells_of(tiny(**CHANGES, save_weights=True).config) if cell.pruner is not None]
    er = [cell for cell in cells if cell.pruner.name == "er"]
    names = ("motifs_z", "k_core_z", "rolled__motifs_mean_z")

    def scores(cell, folder):
        row = compute(cell, "cpu", None, folder).row
        return [row[name] for name in names]

    alone = [scores(cell, None) for cell in er]
    assert len(measured) == 4
    first = [scores(cell, tmp_path / "kept") for cell in er]
    assert len(measured) == 6
    other_order = [scores(cell, tmp_path / "other") for cell in reversed(er)][::-1]
    assert len(measured) == 8
    assert alone == first == other_order and np.isfinite(alone).all()
    for file in (tmp_path / "kept").iterdir():  # as after a crash of the machine, or of an older version
        file.write_text(json.dumps({"k_core": [1.0]}) if "k_core" in file.read_text() else "")
    assert scores(er[0], tmp_path / "kept") == alone[0] and len(measured) == 10


def other_encoding(number, **more):
    config = {"datasets": ["digits"], "models": ["digits-cnn"], "pruners": ["magnitude"], "sparsities": [0.8]}
    return StudyConfig.parse(config | {"encodings": [{"name": "multipartite", "controls": number}]} | more)


def test_encodings_may_have_numbers_of_their_own(tiny, here):
    encodings = ["multipartite", {"name": "rolled", "controls": 0}, {"name": "unrolled", "controls": 3}]
    study = tiny(**CHANGES | {"pruners": ["er"], "seeds": [0], "encodings": encodings, "metrics": ["motifs"]})
    table = study.run(executor=here, progress=False)
    assert control_columns(table) == ["motifs_z", "unrolled__motifs_mean_z"]
    assert (
        "rolled__motifs_mean" in table and StudyConfig.read(study.store.config_file).digest() == study.config.digest()
    )
    counts = {len(json.loads(file.read_text()).popitem()[1]) for file in study.store.controls.iterdir()}
    assert counts == {4, 3}


def test_studies_without_controls_are_what_they_were():
    config = {"datasets": ["digits"], "models": ["digits-cnn"], "pruners": ["magnitude"], "sparsities": [0.8]}
    plain, zero, some = (StudyConfig.parse(config | more) for more in ({}, {"controls": 0}, {"controls": 5}))
    assert other_encoding(0).digest() == plain.digest() != other_encoding(5).digest()
    keys, same, other = ([cell.key for cell in cells_of(each)] for each in (plain, zero, some))
    assert keys == same and keys[0] == other[0] and keys[1] != other[1]  # the dense baseline has no random masks
    assert plain.digest() == zero.digest() != some.digest()
    of_encoding = [cell.key for cell in cells_of(other_encoding(5))]
    assert of_encoding == other and [cell.key for cell in cells_of(other_encoding(0, controls=5))] == keys
    # The hash that the folder of such a study holds.
    assert plain.digest() == "5ae6a9f5084ecdab9aa19dcc595ea5759a833185fdb3391b7959e3011861cecb"


@pytest.mark.parametrize(
    ("value", "words"), [(1, "one random mask has no spread"), (-1, "at least 0, not -1|greater than or equal to 0")]
)
def test_refusals(value, words):
    with pytest.raises(topo.InputError, match=words):
        other_encoding(value)
    with pytest.raises(topo.InputError, match=words):
        StudyConfig.parse({"models": ["digits-mlp"], "pruners": ["er"], "sparsities": [0.5], "controls": value})
