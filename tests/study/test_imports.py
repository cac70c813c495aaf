"""Studies of own code: kept with the study, loaded by its processes, and not needed to read what came out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from topo import own_code
from topo.errors import InputError
from topo.features import METRICS, metric
from topo.registry import Source
from topo.study import Study, StudyConfig
from topo.study.grid import cells_of

CODE = '''
from torch import nn

from my_helper import SIGN
from topo.datasets import DATASETS, load
from topo.features import metric
from topo.models import MODELS
from topo.pruning import PRUNERS, by_score


@PRUNERS.register("own-pruner", family="own", stage="initial", needs_data=False)
@by_score()
def own_pruner(task):
    """Keeps the smallest weights."""
    return {name: SIGN * weight.detach().abs() for name, weight in task.weights.items()}


@metric("own_metric", category="general")
def own_metric(view):
    """Three, whatever the graph."""
    return 3.0


@MODELS.register("own-net", family="own")
def own_net(input_shape, n_classes, *, width=4):
    """Two linear layers."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, n_classes))


@DATASETS.register("own-data", family="own")
def own_data(root, download):
    """Some digits."""
    return load("digits", subset=3)
'''

STUDY = """
imports: [my_helper.py, code/my_code.py]
datasets: own-data
models: [own-net]
pruners: [own-pruner, er]
sparsities: [0.5]
recipe: {name: digits, epochs: 1}
metrics: [sink_nodes, own_metric]
workers: 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "my_code.py").write_text(CODE)
    (tmp_path / "my_helper.py").write_text("SIGN = -1.0\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What a test imports in this process is gone after it."""
    yield
    for name in ("my_code", "my_helper"):
        sys.modules.pop(name, None)
        own_code._imported.pop(name, None)


def topo_command(*arguments: str, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "topo", *arguments], capture_output=True, text=True, cwd=folder)
    assert done.returncode == code, done.stderr
    return done


def read(code: str, folder: Path) -> list:
    """What a process prints that has not imported the study's own code."""
    code = f"import json, sys\nfrom topo.study import Study\nstudy = Study.load('out')\n{code}"
    code += "\nassert not {'my_code', 'my_helper'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_study_of_own_code_from_run_to_report(folder: Path):
    topo_command("study", "run", "study.yaml", "--into", "out", folder=folder)
    assert {p.name for p in (folder / "out" / "imports").iterdir()} == {"my_helper.py", "my_code.py"}
    assert "- imports/my_helper.py\n- imports/my_code.py" in (folder / "out" / "study.yaml").read_text()
    shutil.rmtree(folder / "code")
    (folder / "my_helper.py").unlink()

    table = read("print(study.results().to_json(orient='records'))", folder)
    assert [(row["model"], row["pruner"], row["family"], row["status"]) for row in table] == [
        ("own-net", "dense", "dense", "finished"),
        ("own-net", "own-pruner", "own", "finished"),
        ("own-net", "er", "initial", "finished"),
    ]
    assert [row["own_metric"] for row in table] == [None, 3.0, 3.0]
    own = table[1]["cell"]
    assert read(f"print(json.dumps([study.masks({own!r}).sparsity, len(study.history({own!r}))]))", folder) == [0.5, 1]
    assert read("print(json.dumps(study.status()['status'].tolist()))", folder) == ["finished"] * 3
    refusal = f"try: study.model({own!r})\nexcept ValueError as error: print(json.dumps(str(error)))"
    assert "unknown" in read(refusal, folder) and "study.import_code()" in read(refusal, folder)
    again = f"study.import_code(); study.graph({own!r})"
    subprocess.run(
        [sys.executable, "-c", f"from topo.study import Study; study = Study.load('out'); {again}"],
        check=True,
        cwd=folder,
    )

    assert "3 cells: 3 finished" in topo_command("study", "status", "out", folder=folder).stdout
    topo_command("report", "out", "-o", "report.html", "--no-questions", folder=folder)
    assert (folder / "report.html").stat().st_size > 10_000

    # The folder can be moved, and run again where nothing else of the code is left.
    (folder / "out").rename(folder / "moved")
    rows = {p: p.stat().st_mtime_ns for p in (folder / "moved").glob("cells/*/row.json")}
    topo_command("study", "run", "moved", folder=folder)
    assert {p: p.stat().st_mtime_ns for p in (folder / "moved").glob("cells/*/row.json")} == rows and len(rows) == 3


@pytest.mark.slow
def test_changed_code_computes_its_cells_anew(folder: Path):
    topo_command("study", "run", "study.yaml", "--into", "out", folder=folder)
    before = {row["pruner"]: row for row in read("print(study.results().to_json(orient='records'))", folder)}
    (folder / "my_helper.py").write_text("SIGN = 1.0\n")
    again = topo_command("study", "run", "study.yaml", "--into", "out", folder=folder)
    assert "3 cells: 3 finished" in again.stdout
    assert (
        "3 of the cells to compute have results that no longer count, because my_helper.py changed since"
        in again.stderr
    )
    after = {row["pruner"]: row for row in read("print(study.results().to_json(orient='records'))", folder)}
    assert {name for name in after if after[name]["cell"] != before[name]["cell"]} == {"dense", "own-pruner", "er"}
    assert after["dense"]["accuracy"] == before["dense"]["accuracy"]
    assert (folder / "out" / "imports" / "my_helper.py").read_text() == "SIGN = 1.0\n"


def test_code_decides_only_the_cells_that_use_it(monkeypatch: pytest.MonkeyPatch):
    base = {"models": ["digits-mlp"], "pruners": ["er", "snip"], "sparsities": [0.5], "metrics": ["local"]}
    before = {str(cell): cell.key for cell in cells_of(StudyConfig.parse(base))}
    from topo.pruning import PRUNERS

    entry = PRUNERS.entry("snip")
    for digest in ("a", "b"):
        source = Source("my_code", "snip", Path("my_code.py"), digest)
        monkeypatch.setitem(PRUNERS._entries, "snip", type(entry)(**{**vars(entry), "source": source}))
        after = {str(cell): cell.key for cell in cells_of(StudyConfig.parse(base))}
        assert {name.split()[2] for name in after if after[name] != before[name]} == {"snip"}
        before |= {name: key for name, key in after.items() if "snip" in name}


def test_code_of_a_notebook_is_refused_where_processes_compute(tiny, monkeypatch: pytest.MonkeyPatch):
    from topo.pruning import PRUNERS

    entry = PRUNERS.entry("er")
    source = Source("__main__", "er", None, "")
    monkeypatch.setitem(PRUNERS._entries, "er", type(entry)(**{**vars(entry), "source": source}))
    with pytest.raises(InputError, match=r"er is defined in a notebook or at a prompt.* name that under imports"):
        tiny().run()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            STUDY.replace("my_helper.py", "my_helpr.py"),
            r"study.yaml, line 2: imports\[0\]: .*/my_helpr.py cannot be read",
        ),
        (STUDY.replace("my_helper.py", "no.such"), r"study.yaml, line 2: imports\[0\]: there is no module 'no.such'"),
        (
            STUDY.replace("my_helper.py", "my_code.py"),
            r"line 2: imports.*my_code.py is loaded as",
        ),
        (STUDY.replace("[my_helper.py, code/my_code.py]", "3"), "line 2: imports: .*"),
        (STUDY.replace("my_helper.py, ", ""), r"my_code.py, line 4, cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_with_imports_is_said_with_its_line(folder: Path, text: str, message: str):
    (folder / "my_code.py").write_text("x = 1\n")
    (folder / "study.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Study.read(folder / "study.yaml")
    assert "\n" not in str(caught.value)


def test_a_study_of_unknown_names_is_read_but_not_run(tiny):
    study = tiny()
    study.prepare()
    file = study.store.config_file
    file.write_text(file.read_text().replace("- magnitude", "- not-here"))
    loaded = Study.load(study.folder)
    assert [pruner.name for pruner in loaded.config.pruners] == ["er", "not-here"]
    with pytest.raises(InputError, match=r"study.yaml: pruners\[1\]: unknown pruner 'not-here'"):
        loaded.run()


def test_a_metric_with_the_name_of_another_column_is_refused(tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("accuracy", category="general")(own_metric_of_accuracy)
    with pytest.raises(InputError, match="a metric fills the column 'accuracy'"):
        tiny(metrics=["accuracy"], encodings=["multipartite"]).run(workers=1, progress=False)


def own_metric_of_accuracy(view):
    """The same for all."""
    return 7.0
