from __future__ import annotations

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

import topo
from topo.errors import InputError
from topo.publishing import methods
from topo.study import rerun as rerun_module
from topo.study.provenance import fingerprint
from topo.study.rerun import rerun


@pytest.fixture
def study(tiny, here):
    made = tiny(save_weights=True, pruners=["snip", "magnitude"], sparsities=[0.5])
    made.run(executor=here, progress=False)
    return made


def test_every_row_names_what_its_numbers_come_from(study):
    table = study.results()
    assert table["date"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00").all()
    key = table.set_index("pruner").loc["snip", "cell"]
    facts = study.provenance(key)
    environment, settings = facts["environment"], facts["settings"]
    assert environment["torch"] == torch.__version__ and environment["topo"] == topo.__version__
    assert {"python", "numpy", "igraph", "device", "threads", "processor", "system"} <= set(environment)
    assert settings["pruner"]["batch_size"] > 0 and settings["pruner"]["stage"] == "initial"  # not given in the study
    assert settings["recipe"]["epochs"] == 1 and settings["recipe"]["momentum"] == 0.9
    assert settings["model"]["widths"] == [8] and settings["dataset"]["subset"] == 3
    assert len(facts["data"]) == 16 and facts["data"] == fingerprint(study.dataset(key))
    recorded = json.loads(pq.read_schema(study.store.table_file).metadata[b"provenance"])
    assert set(recorded) == set(table["provenance"]) and len(recorded) == 3
    assert recorded[table.set_index("cell").loc[key, "provenance"]] == facts


def test_the_fingerprint_is_of_every_sample():
    data = topo.datasets.load("digits", subset=3)
    again = topo.datasets.load("digits", subset=3)
    changed = again.train.inputs.clone()
    changed[-1, 0, 0, 0] += 1
    assert fingerprint(data) == fingerprint(again)
    assert fingerprint(data) != fingerprint(replace(again, train=replace(again.train, inputs=changed)))


def test_computed_again_the_numbers_are_the_same(study, monkeypatch: pytest.MonkeyPatch):
    before = {file: file.read_bytes() for file in study.folder.rglob("*") if file.is_file()}
    for key in study.results()["cell"]:
        found = rerun(study, key)
        assert (found.changed, found.circumstances) == ({}, []) and found.compared > 10
    assert {file: file.read_bytes() for file in study.folder.rglob("*") if file.is_file()} == before

    compute = rerun_module.compute

    def otherwise(*args, **options):
        result = compute(*args, **options)
        result.row["accuracy"] += 0.25
        result.masks = topo.Masks({name: ~mask for name, mask in result.masks.items()})
        result.provenance["environment"]["torch"] = "9"
        return result

    monkeypatch.setattr(rerun_module, "compute", otherwise)
    found = rerun(study, key)
    assert set(found.changed) == {"accuracy", "masks"}
    assert found.circumstances == [f"environment.torch was {torch.__version__} and is 9"]


def test_what_has_no_result_cannot_be_compared(study):
    key = study.plan[-1].key
    study.store.masks_file(key).unlink()
    with pytest.raises(InputError, match=f"cell {key} is damaged, so that there is nothing to compare with"):
        rerun(study, key)


@pytest.mark.parametrize(
    "facts",
    [["environment"], "text", {}, {"environment": 5}, {"environment": {"topo": [1]}},
     {"environment": {"topo": "1", "python": "3", "device": "cpu", "threads": "x"}},
     {"environment": {"topo": "1", "python": "3", "device": "cpu", "threads": -5}}],
)  # fmt: skip
def test_facts_of_another_form_are_no_provenance(tiny, facts):
    """A line with the right checksum may hold anything."""
    study = tiny()
    study.prepare()
    key, store = study.plan[0].key, study.store
    store.journal.append("abc", "facts", 0.0, [facts])
    store.journal.append(key, "finished", 1.0, [{"provenance": "abc"}, {"status": "finished"}, {}])
    with pytest.raises(InputError, match=r"no provenance.*damaged"):
        study.provenance(key)
    with pytest.raises(InputError, match="no provenance"):
        rerun(study, key)
    assert "Everything ran on" not in methods(study)


def test_a_damaged_row_is_not_compared(tiny):
    study = tiny()
    study.prepare()
    study.store.journal.append(study.plan[0].key, "finished", 1.0, [{}, ["row"], {}])
    with pytest.raises(InputError, match=r"row of cell .* is damaged"):
        rerun(study, study.plan[0].key)
