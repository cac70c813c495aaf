"""What the README shows can be done: its Python runs, its commands and files exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from topo.cli import app
from topo.study import StudyConfig

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path: Path):
    # In a process of its own: the examples register things, which other tests must not find.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(blocks("python"))],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["resnet20-synflow.safetensors"]


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if line.startswith(("topo ", "make "))]
)
def test_a_command_of_the_readme_exists(line: str):
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE)
        return
    command = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    assert not rest or rest[0].startswith("-") or not hasattr(command, "commands"), f"there is no command {rest[0]!r}"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize("name", sorted(set(re.findall(r"examples/\w+\.\w+", README))))
def test_an_example_of_the_readme_exists(name: str):
    assert (ROOT / name).is_file()


def test_the_study_file_of_the_readme_is_a_study(tmp_path: Path):
    [text] = blocks("yaml")
    (tmp_path / "study.yaml").write_text(text)
    assert len(StudyConfig.read(tmp_path / "study.yaml").pruners) == 6


@pytest.mark.parametrize("target", [t for t in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in t])
def test_what_the_readme_links_to_is_there(target: str):
    assert (ROOT / target).exists()


def test_the_picture_is_what_the_example_draws(tmp_path: Path):
    from PIL import Image

    path = tmp_path / "picture.png"
    subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "examples" / "readme_picture.py"), str(path)],
        check=True,
        capture_output=True,
    )
    with Image.open(path) as drawn, Image.open(ROOT / "docs" / "multipartite.png") as kept:
        assert drawn.size == kept.size
