"""How the code hangs together, read off its own imports: no circles, no import upwards, every verb a plain function."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import networkx as nx
import pytest

import topo

ROOT = Path(__file__).resolve().parents[1]

# Each room imports only from those before it; rooms in one line do not import each other.
ROOMS = (
    ("errors", "plain_text"),
    (
        "device",
        "memory",
        "module_modes",
        "parameter_names",
        "progress",
        "randomness",
        "registry",
        "safe_files",
        "validation",
        "weight_norms",
    ),
    ("tables", "torch_files", "wrapped_names"),
    ("checkpoint", "held_masks", "mask_provenance", "own_code", "torchvision_import"),
    ("dag",),
    ("masks",),
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
    ("report", "publishing"),
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


@cache
def code_of(module: str) -> ast.Module:
    """The code of a module, read once for all tests."""
    return ast.parse(modules()[module].read_text())


@cache
def imported_modules(module: str) -> tuple[tuple[str, int], ...]:
    """The modules of the package that a module imports anywhere in its code, with the line."""
    return tuple(_imported_modules(module))


def _imported_modules(module: str) -> Iterator[tuple[str, int]]:
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(code_of(module)):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name in modules():
                    yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            if base not in modules():
                continue
            for name in node.names:
                if (base, name.name) == ("topo", "__version__"):
                    continue
                submodule = f"{base}.{name.name}"
                yield submodule if submodule in modules() else base, node.lineno


def import_graph() -> nx.DiGraph:
    """Modules, an arc from each to those it imports; the package's own front door, which loads lazily, left out."""
    graph = nx.DiGraph()
    graph.add_nodes_from(name for name in modules() if name != "topo")
    for module in graph.nodes:
        graph.add_edges_from((module, other) for other, _ in imported_modules(module) if other not in ("topo", module))
    return graph


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.slow
def test_imports_have_no_circles():
    circles = [sorted(part) for part in nx.strongly_connected_components(import_graph()) if len(part) > 1]
    assert circles == []


def test_every_room_has_its_floor():
    assert {room(name) for name in modules() if name != "topo"} - FLOORS.keys() - {"__main__"} == set()


def test_a_room_imports_only_from_rooms_above_it():
    climbing = [
        f"{module} imports {other} (line {line})"
        for module in modules()
        if module not in ("topo", "topo.__main__")
        for other, line in imported_modules(module)
        if other == "topo" or (room(other) != room(module) and FLOORS[room(other)] >= FLOORS[room(module)])
    ]
    assert climbing == []


@pytest.mark.parametrize("package", [name for name, path in modules().items() if path.name == "__init__.py"])
def test_a_package_hides_none_of_its_modules(package: str):
    submodules = {name.rpartition(".")[2] for name in modules() if name.rpartition(".")[0] == package}
    loaded = import_module(package)
    for name in submodules & {*vars(loaded), *getattr(loaded, "__all__", ())}:
        assert isinstance(getattr(loaded, name), ModuleType), f"{package}.{name} is no module"


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


def test_one_name_for_the_input_of_a_model():
    for name in ("trace", "prune", "encode", "compact", "lift", "cost", "Topometrics"):
        assert "example" in inspect.signature(getattr(topo, name)).parameters, f"topo.{name}"


@pytest.mark.slow
def test_rooms_are_reached_by_their_names_in_a_fresh_process():
    rooms = [name for name in FLOORS if (ROOT / "topo" / name / "__init__.py").exists() and name != "cli"]
    code = f"import topo\nfor name in {[*rooms, 'masks']}: assert getattr(topo, name).__name__ == 'topo.' + name, name"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_files_are_short_and_say_what_they_are():
    long = [name for name, path in modules().items() if len(path.read_text().splitlines()) > MOST_LINES]
    silent = [name for name in modules() if not ast.get_docstring(code_of(name))]
    assert (long, silent) == ([], [])


def test_no_room_is_imported_by_a_string():
    hidden = [name for name, path in modules().items() if 'import_module("topo' in path.read_text()]
    assert hidden == []


def test_warnings_are_given_at_the_line_of_the_caller():
    elsewhere = [name for name, path in modules().items() if "warnings.warn(" in path.read_text()]
    assert elsewhere == [], "topo.errors.warn finds that line"


def test_what_holds_tables_and_tensors_says_what_it_is_in_one_line():
    """A dataclass that a package exports does not spill its tables and arrays where it is looked at."""
    packages = [module for module, path in modules().items() if path.name == "__init__.py"]
    exported = {name for package in packages for name in getattr(import_module(package), "__all__", ())}
    spilling = []
    for module in modules():
        for node in ast.walk(code_of(module)):
            if not isinstance(node, ast.ClassDef) or node.name not in exported:
                continue
            held = [ast.unparse(item.annotation) for item in node.body if isinstance(item, ast.AnnAssign)]
            is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
            own = any(isinstance(item, ast.FunctionDef) and item.name == "__repr__" for item in node.body)
            if is_dataclass and not own and any(kind.startswith(("Tensor", "np.", "pd.", "Gates")) for kind in held):
                spilling.append(f"{module}.{node.name}")
    assert spilling == []
