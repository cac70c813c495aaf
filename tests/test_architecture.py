"""How the code hangs together, read off its own imports: no circles, no import upwards, every verb a plain function."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import topo

ROOT = Path(__file__).resolve().parents[1]

# Each room imports only from those before it; rooms in one line do not import each other.
ROOMS = (
    ("errors",),
    ("device", "registry", "safe_files", "validation"),
    ("checkpoint", "own_code", "torchvision_import"),
    ("masks", "dag"),
    ("decomposition", "encoding"),
    ("features",),
    ("datasets", "models"),
    ("training",),
    ("pruning",),
    ("study",),
    ("results",),
    ("stats",),
    ("similarity",),
    ("plots",),
    ("questions",),
    ("report",),
    ("cli",),
)
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}

MOST_LINES = 450


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    names = {}
    for path in sorted((ROOT / "topo").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_its_floor():
    assert {room(name) for name in modules() if name != "topo"} - FLOORS.keys() - {"__main__"} == set()


def test_verbs_have_real_signatures():
    verbs = [name for name in topo.__all__ if callable(getattr(topo, name))]
    assert {"trace", "prune", "encode", "measure", "compact", "lift", "cost"} <= {*verbs}
    for name in verbs:
        verb = getattr(topo, name)
        assert not isinstance(verb, ModuleType)
        if inspect.isclass(verb):
            continue
        kinds = {parameter.kind for parameter in inspect.signature(verb).parameters.values()}
        assert inspect.Parameter.VAR_POSITIONAL not in kinds, f"topo.{name} takes *args"
        assert inspect.get_annotations(verb).get("return"), f"topo.{name} has no return type"


def test_rooms_are_reached_by_their_names_in_a_fresh_process():
    rooms = [name for name in FLOORS if (ROOT / "topo" / name / "__init__.py").exists() and name != "cli"]
    code = f"import topo\nfor name in {[*rooms, 'masks']}: assert getattr(topo, name).__name__ == 'topo.' + name, name"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_files_are_short_and_say_what_they_are():
    long = [name for name, path in modules().items() if len(path.read_text().splitlines()) > MOST_LINES]
    silent = [name for name, path in modules().items() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert (long, silent) == ([], [])
