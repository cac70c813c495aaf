"""Studies of own code: kept with the study, loaded by its processes, and not needed to read what came out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.fresh import run_fresh, topo_fresh
from topo import own_code
from topo.errors import InputError
from topo.features import METRICS, metric
from topo.registry import Source
from topo.study import Study, StudyConfig
from topo.study.grid import cells_of

CODE = '''
import numpy as np
from scipy import sparse
from torch import nn

from my_helper import SIGN
from topo.datasets import DATASETS, load
from topo.encoding import BipartiteGraph, LayerGraphs, encoding
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


@encoding("fan", layers=True)
def fan(dag, masks, *, least: int = 1):
    """A graph a layer: its outputs with enough edges."""
    counts = {name: mask.flatten(1).sum(1).numpy() for name, mask in masks.items()}
    return LayerGraphs(
        {n: BipartiteGraph(sparse.csr_array((c >= least).astype(np.float32)[:, None]), n) for n, c in counts.items()}
    )
'''

STUDY = """
imports: [my_helper.py, code/my_code.py]
datasets: own-data
models: [own-net]
pruners: [own-pruner, er]
sparsities: [0.5]
recipe: {name: digits, epochs: 1}
encodings: [multipartite, {name: fan, least: 2}]
metrics: [edges, sink_nodes, own_metric]
workers: 1
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
    done = topo_fresh(*arguments, folder=folder)
    assert done.returncode == code, done.stderr
    return done


# What a process can do with the study's folder before and after it imports the study's own code.
READ = """
import sys
from topo.cli import app
from topo.study import Study
from typer.testing import CliRunner

def told(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout

study, own = Study.load("out"), sys.argv[1]
assert len(study.results()) == 3 and study.status()["status"].tolist() == ["finished"] * 3
assert study.masks(own).sparsity == 0.5 and len(study.history(own)) == 1
try:
    study.model(own)
except ValueError as error:
    assert "unknown" in str(error) and "study.import_code()" in str(error)
else:
    raise AssertionError("a model of unknown code was built")
assert "3 cells: 3 finished" in told("study", "status", "out")
assert not {"my_code", "my_helper"} & set(sys.modules)
study.import_code()
study.graph(own)
told("report", "out", "-o", "report.html", "--no-questions")
"""


# The comparison of masks needs the networks, which are of the study's own code.
COMPARED = """
import sys
from topo.questions.network_distances import _permutable_units
from topo.report.networks import network_to_draw
from topo.results.evidence import Evidence

evidence = Evidence.read("out")
assert _permutable_units(evidence, evidence.sparse.iloc[0]).layers and "my_code" in sys.modules
assert network_to_draw(evidence).graph is not None
"""

WITHOUT_CODE = """
import sys
from topo.cli import app
from topo.report.networks import network_to_draw
from topo.results.evidence import Evidence
from topo.study import Study
from typer.testing import CliRunner

study = Study.load("out")
assert len(study.results()) == 3 and study.status()["status"].tolist() == ["finished"] * 3
assert study.masks(sys.argv[1]).sparsity == 0.5
reason = network_to_draw(Evidence.read("out")).reason
assert "topo report out --import FILE" in reason and "study.import_code" not in reason, reason
told = CliRunner().invoke(app, ["report", "out", "-o", "r.html", "--no-questions"], catch_exceptions=False)
assert told.exit_code == 0, told.output
assert "study.import_code" not in open("r.html").read()
refused = CliRunner().invoke(app, ["study", "run", "out"])
assert refused.exit_code != 0
imports = [part for file in ("my_helper.py", "my_code.py") for part in ("--import", f"elsewhere/{file}")]
told = CliRunner().invoke(app, ["report", "out", "-o", "r.html", "--no-questions", *imports], catch_exceptions=False)
assert told.exit_code == 0 and network_to_draw(Evidence.read("out")).graph is not None
"""


def table_of(study: Path) -> dict[str, dict]:
    """The rows of a study by pruner, read without any code of it."""
    table = pd.read_parquet(study / "results.parquet").astype(object)
    return {row["pruner"]: row for row in table.where(table.notna(), None).to_dict("records")}


# One test, for workers of studies import all of torch.
@pytest.mark.slow
def test_a_study_of_own_code_is_run_changed_read_reported_and_moved(folder: Path):
    out = folder / "out"
    topo_command("study", "run", "study.yaml", "--into", "out", folder=folder)
    assert {p.name for p in (out / "imports").iterdir()} == {"my_helper.py", "my_code.py"}
    assert "- imports/my_helper.py\n- imports/my_code.py" in (out / "study.yaml").read_text()
    before = table_of(out)
    assert [(row["model"], row["pruner"], row["family"], row["status"]) for row in before.values()] == [
        ("own-net", "dense", "dense", "finished"),
        ("own-net", "own-pruner", "own", "finished"),
        ("own-net", "er", "initial", "finished"),
    ]
    assert [row["own_metric"] for row in before.values()] == [None, 3.0, 3.0]
    assert [row["fan__own_metric_mean"] for row in before.values()] == [None, 3.0, 3.0]
    assert 0 < before["er"]["fan__edges_mean"] < before["er"]["edges"]

    # Changed code computes its cells anew.
    (folder / "my_helper.py").write_text("SIGN = 1.0\n")
    again = topo_command("study", "run", "study.yaml", "--into", "out", folder=folder)
    assert "3 cells: 3 finished" in again.stdout
    assert (
        "3 of the cells to compute have results that no longer count, because my_helper.py changed since"
        in again.stderr
    )
    after = table_of(out)
    assert {name for name in after if after[name]["cell"] != before[name]["cell"]} == {"dense", "own-pruner", "er"}
    assert after["dense"]["accuracy"] == before["dense"]["accuracy"]
    assert (out / "imports" / "my_helper.py").read_text() == "SIGN = 1.0\n"

    # The folder has all it needs of the code.
    shutil.rmtree(folder / "code")
    (folder / "my_helper.py").unlink()
    own = after["own-pruner"]["cell"]
    done = run_fresh(READ, own, folder=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").stat().st_size > 10_000

    # Questions about its networks import what it keeps of its code, as a report's own processes do.
    done = run_fresh(COMPARED, folder=folder)
    assert done.returncode == 0, done.stderr

    # Without its code it is still read; what needs the code says how to bring it in.
    kept = (out / "imports").rename(folder / "elsewhere")
    done = run_fresh(WITHOUT_CODE, own, folder=folder)
    assert done.returncode == 0, done.stderr
    kept.rename(out / "imports")

    # It can be moved, and run again.
    out.rename(folder / "moved")

    def records() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in (folder / "moved" / "records").iterdir()}

    before = records()
    topo_command("study", "run", "moved", folder=folder)
    assert records() == before and len(Study.load(folder / "moved").results()) >= 3


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
        (STUDY.replace("my_helper.py, ", ""), r"my_code.py, line 6, cannot be imported: ModuleNotFoundError"),
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
