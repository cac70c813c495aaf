"""Real damage to the folder of a study: the next run repairs it, and computes nothing else again."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.study.fakes import fake_compute
from topo.errors import InputError
from topo.report.networks import layer_densities, network_to_draw
from topo.results import layer_table
from topo.results.evidence import Evidence
from topo.study import Study, StudyError, attempt
from topo.study import journal as journal_module
from topo.study import store as store_module
from topo.study.store import Store


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cells that were computed, in their order."""
    names: list[str] = []

    def compute(cell, *args, **options):
        names.append(f"{cell.pruner.label if cell.pruner else 'dense'} {cell.sparsity:g}")
        return fake_compute(cell, *args, **options)

    monkeypatch.setattr(attempt, "compute", compute)
    return names


@pytest.fixture
def whole(tiny, here, computed: list[str]) -> Study:
    """A study of five cells that has run."""
    study = tiny()
    study.run(executor=here, progress=False)
    assert sorted(computed) == ["dense 0", "er 0.5", "er 0.8", "magnitude 0.5", "magnitude 0.8"]
    computed.clear()
    return study


def file_of(study: Study, kind: str, name: str) -> Path:
    (key,) = [cell.key for cell in study.cells if f"{cell.pruner and cell.pruner.label} {cell.sparsity:g}" == name]
    return getattr(study.store, f"{kind}_file")(key)


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    return table[[c for c in table.columns if not c.startswith("seconds") and c != "date"]]


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 9)


def garble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    (file / "inside").mkdir(parents=True)


def replace_by_dangling_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere/at/all")


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGES = {
    "is missing": Path.unlink,
    "in place of": cut,
    "does not hold what was written": garble,
    "is no file": replace_by_folder,
    "is missing ": replace_by_dangling_link,
    "is no file ": replace_by_pipe,
}


@pytest.mark.parametrize("said", DAMAGES)
@pytest.mark.parametrize(("kind", "name"), [("masks", "er 0.5"), ("weights", "None 0")])
def test_a_damaged_file_of_a_finished_cell_is_found_and_computed_again(whole, here, computed, said, kind, name):
    before = whole.results()
    DAMAGES[said](file_of(whole, kind, name))
    again = Study.load(whole.folder)
    status = again.status()
    (reason,) = status.loc[status["status"] == "damaged", "reason"]
    assert reason.startswith(f"{kind}/") and said.strip() in reason
    pd.testing.assert_frame_equal(again.results(), before)  # its numbers are known all the same
    table = again.run(executor=here, progress=False)
    assert computed == [name.replace("None", "dense")] and (again.status()["status"] == "finished").all()
    pd.testing.assert_frame_equal(numbers(table), numbers(before))


def test_cells_that_build_on_lost_weights_wait_for_them(whole, here, computed):
    for kind, name in (("weights", "None 0"), ("masks", "magnitude 0.5"), ("masks", "magnitude 0.8")):
        cut(file_of(whole, kind, name))
    assert (whole.run(executor=here, progress=False)["status"] == "finished").all()
    assert computed == ["dense 0", "magnitude 0.5", "magnitude 0.8"]


def test_what_changed_under_the_old_size_and_time_is_found_when_it_is_read(whole, here, computed):
    file = file_of(whole, "masks", "er 0.5")
    times = file.stat()
    garble(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (whole.status()["status"] == "finished").all()  # a look does not read it
    with pytest.raises(
        StudyError, match=r"does not hold what was written; topo study run .* computes the cell .* again"
    ):
        whole.masks(file.stem)
    whole.run(executor=here, progress=False)
    assert computed == ["er 0.5"] and whole.masks(file.stem).sparsity > 0


def test_baselines_are_read_before_others_build_on_them(whole, here, computed):
    file = file_of(whole, "weights", "None 0")
    times = file.stat()
    garble(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    file_of(whole, "masks", "magnitude 0.5").unlink()
    assert (whole.run(executor=here, progress=False)["status"] == "finished").all()
    assert computed == ["dense 0", "magnitude 0.5"]


def test_a_copy_is_whole_and_hashed_once(whole, here, computed, tmp_path, monkeypatch):
    copy = Study.load(shutil.copytree(whole.folder, tmp_path / "copy", copy_function=shutil.copyfile))
    hashed = []
    from topo.study import artefacts

    take = artefacts._hash
    monkeypatch.setattr(artefacts, "_hash", lambda file: hashed.append(file) or take(file))
    for _ in range(2):
        assert (copy.status()["status"] == "finished").all()
    assert len(hashed) == 5
    copy.run(executor=here, progress=False)
    assert computed == []


def journal_of(study: Study) -> Path:
    (file,) = study.store.records.iterdir()
    return file


def add(study: Study, content: bytes) -> None:
    with journal_of(study).open("ab") as file:
        file.write(content)


def garble_a_record(study: Study) -> None:
    lines = journal_of(study).read_bytes().split(b"\n")
    lines[-2] = lines[-2].replace(b'"accuracy":', b'"accurXcy":')
    journal_of(study).write_bytes(b"\n".join(lines))


RECORDS: dict[str, tuple[Callable[[Study], object], int]] = {
    "cut": (lambda study: cut(journal_of(study)), 1),
    "torn by a killed process": (lambda study: add(study, b"12345678\tabc\tfini"), 0),
    "garbled": (garble_a_record, 1),
    "of zeros": (lambda study: add(study, bytes(5000)), 0),
    "emptied": (lambda study: os.truncate(journal_of(study), 0), 5),
    "without its first line": (lambda study: journal_of(study).write_bytes(journal_of(study).read_bytes()[9:]), 0),
    "lost": (lambda study: shutil.rmtree(study.store.records), 5),
    "replaced by a folder": (lambda study: replace_by_folder(journal_of(study)), 5),
    "a dangling link": (lambda study: replace_by_dangling_link(journal_of(study)), 5),
    "a pipe": (lambda study: replace_by_pipe(journal_of(study)), 5),
    "beside odd files": (lambda study: [(study.store.records / n).mkdir() for n in (".abc", "a.journal", "b")], 0),
    "with an own plan garbled": (lambda study: garble(study.store.plan_file), 0),
    "without a plan": (lambda study: study.store.plan_file.unlink(), 0),
    "with an empty plan": (lambda study: study.store.plan_file.write_text("[]"), 0),
    "with a table cut short": (lambda study: cut(study.store.table_file), 0),
    "with the study file garbled": (lambda study: study.store.config_file.write_bytes(b"\xff: ["), 0),
    "with masks in another place": (lambda study: (study.folder / "masks").rename(study.folder / "m"), 4),
}


@pytest.mark.parametrize("damage", RECORDS)
def test_a_folder_in_any_state_is_repaired(whole, here, computed, damage: str):
    before = whole.results()
    RECORDS[damage][0](whole)
    again = Study(whole.config, whole.folder)
    table = again.run(executor=here, progress=False)
    assert len(computed) == RECORDS[damage][1]
    pd.testing.assert_frame_equal(numbers(table), numbers(before))
    assert (again.status()["status"] == "finished").all()
    pd.testing.assert_frame_equal(numbers(pd.read_parquet(again.store.table_file)), numbers(before))
    computed.clear()
    again.run(executor=here, progress=False)
    assert computed == []


def link_in_place_of_masks(study: Study) -> None:
    shutil.rmtree(study.folder / "masks")
    (study.folder / "masks").symlink_to("/nowhere")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda study: replace_by_folder(study.store.layers_file), "Is a directory: .*layers.parquet"),
        (link_in_place_of_masks, "File exists: .*masks"),
    ],
    ids=["a folder for a table", "a link that leads nowhere for a folder"],
)
def test_what_cannot_be_repaired_is_one_sentence(whole, here, damage, said: str):
    damage(whole)
    with pytest.raises(
        StudyError, match=rf"cannot write the study in .* \({said}\); finished cells are kept"
    ) as caught:
        whole.run(executor=here, progress=False)
    assert "\n" not in str(caught.value)


def test_a_table_cut_short_whose_records_are_gone_is_one_sentence(whole):
    shutil.rmtree(whole.store.records)
    cut(whole.store.table_file)
    with pytest.raises(
        InputError, match=r"results.parquet cannot be read \(it is not a whole Parquet file\)"
    ) as caught:
        Study.load(whole.folder).results()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["records", "plan.json"])
def test_what_cannot_be_read_is_not_called_missing(whole, monkeypatch: pytest.MonkeyPatch, name: str):
    def refuse(path, *args, **kwargs):
        if name in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    if name == "records":
        real = os.scandir
        monkeypatch.setattr(journal_module.os, "scandir", refuse)
    else:
        real = Path.read_text
        monkeypatch.setattr(Path, "read_text", refuse)
    for look in (lambda study: study.status(), lambda study: study.results(), layer_table):
        with pytest.raises(InputError, match=rf"{name} cannot be read \(Permission denied\)"):
            look(Study.load(whole.folder))


def test_masks_that_cannot_be_read_are_said_so(whole, monkeypatch: pytest.MonkeyPatch):
    stat = Path.stat

    def refuse(path, **kwargs):
        if path.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied")
        return stat(path, **kwargs)

    monkeypatch.setattr(Path, "stat", refuse)
    status = whole.status()
    assert status["reason"].str.endswith("cannot be read (Permission denied)").all() and len(status) == 5


def test_a_limit_on_the_size_of_files_stops_the_study_and_loses_nothing(whole, here, computed):
    file_of(whole, "masks", "er 0.5").unlink()
    before, size = journal_of(whole).read_bytes(), journal_of(whole).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        with pytest.raises(StudyError, match=r"cannot write the study in .* \(File too large"):
            whole.run(executor=here, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert journal_of(whole).read_bytes() == before
    whole.run(executor=here, progress=False)
    assert (whole.status()["status"] == "finished").all()


def test_written_files_follow_the_umask(tiny, here, computed):
    before = os.umask(0o027)
    try:
        study = tiny()
        study.run(executor=here, progress=False)
    finally:
        os.umask(before)
    files = [file for file in study.folder.rglob("*") if file.is_file()]
    assert len(files) == 1 + 5 + 4 and {oct(file.stat().st_mode & 0o777) for file in files} == {"0o640"}


def test_a_study_of_another_layout_or_version_is_refused(whole, here):
    text = whole.store.plan_file.read_text()
    whole.store.plan_file.write_text(text.replace('"layout": 2', '"layout": 3'))
    with pytest.raises(InputError, match="made by another version of topo"):
        Study.load(whole.folder).run(executor=here)
    whole.store.plan_file.write_text(text)
    journal = journal_of(whole)
    journal.write_bytes(journal.read_bytes().replace(b"version 1", b"version 9", 1))
    store_module._journal.cache_clear()
    with pytest.raises(InputError, match="written by another version of topo, whose rows cannot be compared"):
        Study.load(whole.folder).status()
    old = whole.folder.parent / "old"
    (old / "cells" / "abc").mkdir(parents=True)
    (old / "cells" / "abc" / "row.json").write_text("{}")
    with pytest.raises(InputError, match="made by another version of topo"):
        Study(whole.config, old).run(executor=here)


def test_another_study_in_the_same_folder_is_refused(whole, tiny, here, computed):
    with pytest.raises(InputError, match="holds the study 'tiny', not 'other'; choose another folder"):
        tiny(name="other").run(executor=here)
    with pytest.raises(InputError, match="has no network in common"):
        tiny(seeds=[7]).run(executor=here)
    assert len(tiny(seeds=[0, 7]).run(executor=here, progress=False)) == 10 and len(computed) == 5


def test_records_grow_while_others_look(whole, tmp_path):
    one, other = Store(whole.folder), journal_module.Journal(whole.store.records)
    other.refresh()
    assert len(other) == 5
    one.save("0" * 16, fake_compute(whole.cells[0]))
    assert len(other) == 5
    other.refresh()
    assert len(other) == 6 and other.damaged == 0
    os.truncate(journal_of(whole), 3000)
    other.refresh()
    assert 0 < len(other) < 5


def test_a_report_goes_on_without_a_network_whose_masks_are_damaged(whole):
    evidence = Evidence.read(Study.load(whole.folder))
    for file in (whole.folder / "masks").iterdir():
        cut(file)
    drawn = network_to_draw(evidence)
    assert drawn.graph is None and "masks" in drawn.reason and "in place of" in drawn.reason
    assert len(layer_densities(evidence)) == 4  # what is known of layers is in the records


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["status", "reason", "accuracy", "seconds", "files", "date", "provenance", "masks", "sink_nodes"]
)
MORE = st.sampled_from(["history", "layers", "metrics"])
TABLES = st.dictionaries(st.sampled_from(["layer", "kept", "weights", "edges"]), VALUES | st.tuples(st.text(), VALUES))
PART = st.dictionaries(NAMES, VALUES) | VALUES


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.tuples(PART, PART, st.dictionaries(MORE, TABLES | st.dictionaries(NAMES, TABLES)) | VALUES))
def test_whatever_a_record_holds_it_is_read_or_one_sentence(tiny, parts):
    """Lines whose checksum is right and whose content is of somebody else."""
    study = tiny()
    shutil.rmtree(study.folder, ignore_errors=True)
    store_module._journal.cache_clear()
    for planned in study.plan[:2]:
        study.store.journal.append(planned.key, "finished", 1.0, list(parts))
    looks: list[Callable[[], object]] = [
        study.status, study.results, lambda: layer_table(study), lambda: study.history(study.plan[0].key),
        lambda: study.masks(study.plan[0].key), lambda: study.provenance(study.plan[0].key),
        lambda: study.store.write_table(study.results()),
    ]  # fmt: skip
    for look in looks:
        try:
            look()
        except InputError as error:
            assert "\n" not in str(error)


def test_halves_of_pairs_in_a_record_are_question_marks(tiny):
    """As in the message of an error that names a file whose name is no UTF-8."""
    study = tiny()
    study.prepare()
    row = {"reason": "no \udce4.txt", "pruner": "\U0001f600"}
    study.store.journal.append(study.plan[0].key, "failed", 1.0, [{"reason": row["reason"]}, row, {}])
    assert study.status()["reason"][0] == study.results()["reason"][0] == "no ?.txt"
    assert study.results()["pruner"][0] == "\U0001f600"
    study.store.write_table(study.results())


@pytest.mark.parametrize("text", ['{"a": ' * 5000, '{"a'])
def test_recorded_reasons_that_are_no_json_are_one_sentence(text: str):
    networks = pd.DataFrame({"pruner": ["er"], "sparsity": [0.5], "accuracy": [0.5], "undefined": [text]})
    with pytest.raises(InputError, match="'undefined' of the results table holds broken JSON"):
        Evidence.of(networks)


def test_recorded_reasons_are_texts():
    networks = pd.DataFrame({"pruner": ["er"], "sparsity": [0.5], "accuracy": [0.5], "undefined": ['{"a": 5}']})
    assert Evidence.of(networks).undefined == {"a": "5"}


@pytest.mark.parametrize("cells", ["none", "twice", "half a character", "elsewhere"])
def test_plans_that_no_run_writes_are_made_anew(whole, cells: str):
    status, plan = whole.status(), json.loads(whole.store.plan_file.read_text())
    planned = plan["cells"]
    first = [planned[0][0], "\ud800", *planned[0][2:]]
    elsewhere = [["../../x", *planned[0][1:]], *planned[1:]]
    made = {"none": [], "twice": planned * 2, "half a character": [first, *planned[1:]], "elsewhere": elsewhere}
    plan["cells"] = made[cells]
    whole.store.plan_file.write_text(json.dumps(plan))
    pd.testing.assert_frame_equal(Study.load(whole.folder).status(), status)
