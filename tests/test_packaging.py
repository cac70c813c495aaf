"""The files that install, check and describe the project say the same thing and hold no private address."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import topo

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]

# What a CUDA build of torch brings along; torch itself fixes the versions, and CPU builds have none of it.
CUDA = re.compile(r"nvidia-|cuda-|triton")


def pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    versions = {}
    for line in lines:
        name, separator, version = line.partition("==")
        assert separator and re.fullmatch(r"[\w.-]+", name), f"constraints.txt: {line!r} is not name==version"
        assert canonicalize_name(name) not in versions, f"constraints.txt pins {name} twice"
        versions[canonicalize_name(name)] = Version(version)
    return versions


def declared() -> list[Requirement]:
    return [Requirement(r) for group in (PROJECT["project"]["dependencies"], *EXTRAS.values()) for r in group]


def needed_packages(requirements: Iterable[Requirement], extras: tuple[str, ...] = (), seen: set | None = None) -> set:
    """Names of everything that these requirements need in this environment, at any depth."""
    seen = set() if seen is None else seen
    names = set()
    for requirement in requirements:
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            continue
        name, of_its_own = canonicalize_name(requirement.name), tuple(sorted(requirement.extras))
        names.add(name)
        if (name, of_its_own) not in seen:
            seen.add((name, of_its_own))
            names |= needed_packages(map(Requirement, metadata.requires(name) or []), of_its_own, seen)
    return names


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_every_declared_dependency_is_pinned_to_a_version_it_admits(requirement: Requirement):
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_dependencies_of_dependencies_are_pinned_too():
    needed = needed_packages(map(Requirement, (*PROJECT["project"]["dependencies"], *EXTRAS["dev"])))
    assert {name for name in needed - pins().keys() if not CUDA.match(name)} == set()


def test_the_installed_name_differs_from_the_imported_one_and_is_told():
    name = PROJECT["project"]["name"]
    for file in ("README.md", "CONTRIBUTING.md"):
        assert f"`{name}`" in (ROOT / file).read_text()


def test_pins_hold_for_every_build_of_a_package():
    assert [name for name, version in pins().items() if version.local] == []
    assert [name for name in pins() if CUDA.match(name)] == []


def test_conda_environment_is_in_step_with_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "topo"
    assert environment["channels"] == ["conda-forge"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    [python] = [Requirement(entry) for entry in conda if entry.startswith("python")]
    assert python.specifier == SpecifierSet(PROJECT["project"]["requires-python"])
    assert "pip" in conda
    constraint, project = pip
    assert constraint == "-c constraints.txt"
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", project)
    assert extras, f"environment.yml installs {project!r} and not the project"
    assert set(extras[1].split(",")) <= EXTRAS.keys()


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run"])
def test_no_package_source_is_named(name: str):
    text = (ROOT / name).read_text()
    assert re.findall(r"\w+://\S+|--?(?:extra-)?index-url|--find-links|--trusted-host|--hash|@ *file:", text) == []


@pytest.mark.parametrize("name", ["topo", "analyses", "data", "tests", "notebooks", "environment.yml"])
def test_top_level_is_as_designed(name: str):
    assert (ROOT / name).exists()


@pytest.mark.parametrize("command", ["make study", "make test"])
def test_readme_names_the_two_commands(command: str):
    assert re.search(rf"^{command}\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_the_citation_says_what_the_project_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["project"]["license"]
    assert str(citation["version"]) == topo.__version__
    assert [author["name"] for author in citation["authors"]] == [a["name"] for a in PROJECT["project"]["authors"]]


def test_the_hooks_run_what_make_lint_runs():
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"  # nothing is downloaded
    hooks = [hook["entry"] for hook in repository["hooks"]]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.strip().replace("$(VENV)", ".venv") for line in lint[1].splitlines()]
    assert [hook.split()[0] for hook in hooks] == [command.split()[0] for command in commands]


def test_the_changelog_has_a_place_for_what_comes_next():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_files_that_are_not_python_are_packaged():
    packaged = {
        path
        for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = {path for path in (ROOT / "topo").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} <= packaged


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def call(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, cwd=folder, env=inherited | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="GNU make is not installed")


@needs_make
def test_set_up_runs_once_and_again_when_a_pin_changes(tmp_path: Path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    installed = tmp_path / ".venv" / "installed"

    def installs() -> bool:
        return "pip install" in call(tmp_path, "make", "--dry-run", "lint").stdout

    assert installs()
    script(installed, "")
    assert not installs()
    later = installed.stat().st_mtime + 10
    os.utime(tmp_path / "constraints.txt", (later, later))
    assert installs()


@needs_make
@pytest.mark.parametrize("python", ["exit 1", "exit 127"], ids=["too old", "not there"])
def test_a_python_that_is_too_old_is_refused_in_one_sentence(tmp_path: Path, python: str):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    script(tmp_path / "python", python)
    done = call(tmp_path, "make", "study", "PYTHON=./python")
    assert done.returncode != 0
    assert done.stderr.startswith("topo needs Python 3.11 or newer with the venv module")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("lint", "test", "passes"), [(0, 0, True), (0, 2, False), (2, 0, False)], ids=["both pass", "test", "lint"]
)
def test_ci_reports_any_failure_and_ends_with_the_closing_line_of_pytest(
    tmp_path: Path, lint: int, test: int, passes: bool
):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    script(
        tmp_path / "bin" / "make",
        f'[ "$1" = lint ] && exit {lint}\necho "3 passed in 1s"\n[ {test} = 0 ] || echo "make: *** [test] Error 1" >&2'
        f"\nexit {test}",
    )
    done = call(tmp_path, str(tmp_path / ".ci" / "run"), PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (done.returncode == 0) == passes
    assert done.stdout.splitlines()[-1] == "3 passed in 1s"
