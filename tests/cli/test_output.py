"""Labels and files of others on the terminal: shown as they are, obeyed never."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from topo.cli.output import LogFormatter, say, say_table
from topo.study import Study, StudyConfig

LABELS = ["[/b]", "mag [global]", ":smile:", "a\x1b[2Jb", "evil\u202e\x1b]0;title\x07name\nnext line"]


def test_tables_and_lines(capsys: pytest.CaptureFixture[str]):
    say_table(["[bold]name", "count"], [[label, 3] for label in LABELS])
    shown = capsys.readouterr().out
    for text in ("[bold]name", "[/b]", "mag [global]", ":smile:", " ab ", "evilname next line"):
        assert text in shown
    assert "\x1b" not in shown and "\u202e" not in shown
    say("a\x1b[31mb\nc", err=True)
    assert capsys.readouterr().err == "ab c\n"


def test_the_log():
    record = logging.LogRecord("topo", logging.INFO, "", 1, "%s finished", ("a\x1b[2J\n9/9 b",), None)
    assert LogFormatter("%(message)s").format(record) == "a 9/9 b finished"


def test_labels_of_a_study(topo_command, tmp_path: Path):
    pruners = [{"name": "er", "label": label} for label in [*LABELS[:3], "first", "second"]]
    config = StudyConfig.parse({"models": "digits-mlp", "pruners": pruners, "sparsities": 0.5, "metrics": "local"})
    study = Study(config, tmp_path / "s")
    study.prepare()
    # No study file may hold these, but records may come from anybody: they are shown plain, or made anew.
    plan = study.store.plan_file.read_text()
    for label, other in zip(("first", "second"), LABELS[3:], strict=True):
        plan = plan.replace(json.dumps(label), json.dumps(other))
    study.store.plan_file.write_text(plan)
    for options in ((), ("--cells",)):
        result = topo_command("study", "status", tmp_path / "s", *options)
        assert result.exit_code == 0, result.output
        for text in ("[/b]", "mag [global]", ":smile:"):
            assert text in result.stdout
        assert "\x1b" not in result.stdout and "\u202e" not in result.stdout


def test_names_of_files_in_errors(refused, in_folder: Path):
    (in_folder / "a\x1b[31m.csv").touch()
    said = refused("report", "a\x1b[31m.csv")
    assert said.startswith("a.csv cannot be read as a table")
