"""Every reader of files from others under damage of every kind: one sentence, or what is really in the file.

``FUZZ=100 pytest tests/test_hostile_files.py`` tries a hundred times as many files, other ones at every call.
"""

from __future__ import annotations

import io
import json
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file
from torch import nn

import topo
from tests import published_tables
from topo.checkpoint import load_checkpoint, save_checkpoint
from topo.datasets.decode import decode
from topo.datasets.parquet import read_split
from topo.encoding import LayerGraphs, MultipartiteGraph
from topo.errors import InputError
from topo.features.kept_rows import KeptRows
from topo.masks import Masks
from topo.results.evidence import Evidence
from topo.results.published import load_published
from topo.safe_files import read_arrays, write_arrays
from topo.study import MaskTrajectory, StudyConfig
from topo.tables import read_table, write_table

FUZZ = int(os.environ.get("FUZZ", "1"))
MOST_SECONDS, MOST_BYTES = 30, 1 << 30


def tried(examples: int) -> Callable:
    return settings(
        max_examples=examples * FUZZ,
        derandomize=FUZZ == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def bounds() -> Iterator[None]:
    """Whatever a file says, reading it takes neither long nor much memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_BYTES
    assert time.process_time() - start < MOST_SECONDS * FUZZ


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def read(reader: Callable[..., Any], *arguments: Any) -> Any:
    """What a reader gives; None where it refuses, which takes one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reader(*arguments)
    except InputError as error:
        said = str(error)
        assert said and "\n" not in said and len(said) < 2_000
        return None


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A way to damage a file: at its head, its end or anywhere."""
    where = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.just(1.0))
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "cut", "write", "insert", "repeat"]), where, st.binary(min_size=1, max_size=9)
            ),
            min_size=1,
            max_size=3,
        )
    )

    def damaged(content: bytes) -> bytes:
        for kind, share, new in steps:
            at = min(int(share * len(content)), len(content) - 1)
            if kind == "cut":
                content = content[:at]
            elif kind == "flip":
                content = content[:at] + bytes([content[at] ^ (new[0] or 1)]) + content[at + 1 :] if content else b""
            elif kind == "repeat":
                content += content[at : at + 1_000]
            else:
                content = content[:at] + new + content[at + (len(new) if kind == "write" else 0) :]
            if not content:
                break
        return content

    return damaged


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.fixture(scope="module")
def files(place: Path) -> dict[str, tuple[bytes, Callable[[Path], Any], Callable[[Any], Any]]]:
    """What topo writes, with its reader, and what of the content has to be as it was where it is read at all."""
    torch.manual_seed(0)
    model = net()
    masks = topo.prune(model, "er", sparsity=0.5)
    trajectory = {"bits": np.full((3, 2), 255, np.uint8), "steps": np.arange(3), "epochs": np.arange(3)}
    facts = {"content": "topo mask trajectory", "every": "change", "shapes": '{"w": [16]}'}
    torch.save(model.state_dict(), place / "net.pt")
    paths = {
        "masks": masks.save(place / "masks.safetensors"),
        "graph": topo.encode(model, masks, example=(5,)).save(place / "graph.safetensors"),
        "trajectory": write_arrays(place / "trajectory.safetensors", trajectory, facts),
        "weights": save_checkpoint(model, place / "net.safetensors"),
    }
    readers = {
        "masks": (Masks.load, lambda masks: (list(masks), masks.counts().to_numpy().tolist(), masks.seed)),
        "graph": (
            MultipartiteGraph.load,
            lambda graph: [array.tolist() for array in (*graph.edges(), graph.adjacency().data)],
        ),
        "trajectory": (MaskTrajectory.load, lambda found: found.table().to_numpy().tolist()),
        "weights": (lambda path: load_checkpoint(net(), path), lambda found: [p.tolist() for p in found.parameters()]),
    }
    return {name: (path.read_bytes(), *readers[name]) for name, path in paths.items()}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["masks", "graph", "trajectory", "weights"])
def test_files_with_checksums_are_as_they_were_written_or_refused(what: str, files: dict, place: Path):
    content, reader, facts = files[what]
    path = place / "damaged.safetensors"
    path.write_bytes(content)
    whole = facts(reader(path))

    @tried(60)
    @given(damage())
    def check(damaged: Callable[[bytes], bytes]) -> None:
        path.write_bytes(damaged(content))
        found = read(reader, path)
        assert found is None or facts(found) == whole

    check()


@pytest.mark.slow
def test_files_of_torch(place: Path, files: dict):
    content, path = (place / "net.pt").read_bytes(), place / "damaged.pt"

    @tried(60)
    @given(damage())
    def check(damaged: Callable[[bytes], bytes]) -> None:
        path.write_bytes(damaged(content))
        read(load_checkpoint, net(), path)

    check()


# Structures that are whole files, but say anything.

ANY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 12),
        st.sampled_from(
            [2**31, 2**63, -(10**30), 1e300, float("nan"), "", "input", "hidden", "output", "fc", "0", "../x"]
        ),
    ),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["a", "weights_total", "1"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value in which something is replaced."""
    if draw(st.integers(0, 3)) == 0:
        return draw(ANY)
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if draw(st.integers(0, 9)) == 0 else {**value, key: draw(changed(value[key]))}
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        new = draw(st.sampled_from(["drop", "twice", "change", "change", "change"]))
        middle = {"drop": [], "twice": value[place : place + 1] * 2}.get(new)
        return value[:place] + ([draw(changed(value[place]))] if middle is None else middle) + value[place + 1 :]
    return draw(ANY)


ODD_ARRAYS = st.sampled_from(
    [
        np.zeros(0),
        np.arange(3),
        np.full(4, -1),
        np.zeros((2, 2), bool),
        np.array(7),
        np.full(3, 2**62),
        np.full(9, np.nan),
    ]
)


@st.composite
def changed_arrays(draw: st.DrawFn, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of which one is lost, another, of another kind, or has another number in it."""
    arrays = {name: array.copy() for name, array in arrays.items()}
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    match draw(st.sampled_from(["keep", "lose", "replace", "kind", "number", "number", "cut"])):
        case "lose":
            del arrays[name]
        case "replace":
            arrays[name] = draw(ODD_ARRAYS)
        case "kind":
            arrays[name] = array.astype(
                draw(st.sampled_from(["int8", "uint64", "float16", "float64", "complex64", "bool"]))
            )
        case "cut":
            arrays[name] = array[: draw(st.integers(0, len(array)))]
        case "number" if array.size:
            value = draw(st.sampled_from([-1, 0, 1, 2, 3, 5, 100, 2**30]))
            # Of the bits of small kinds only the last is changed, so that it fits.
            array.reshape(-1)[draw(st.integers(0, array.size - 1))] = value if array.dtype.itemsize > 2 else value & 1
    return arrays


def described(arrays: dict[str, np.ndarray], metadata: dict[str, str], keys: tuple[str, ...]) -> st.SearchStrategy:
    """Arrays and metadata, one of the two changed."""
    facts = {key: json.loads(metadata[key]) if key != "every" else metadata[key] for key in keys}
    same = st.just(metadata)
    other = changed(facts).map(
        lambda new: {
            **metadata,
            **({k: json.dumps(v) for k, v in new.items()} if isinstance(new, dict) else {keys[0]: json.dumps(new)}),
        }
    )
    return st.one_of(
        st.tuples(changed_arrays(arrays), same),
        st.tuples(st.just(arrays), other),
        st.tuples(changed_arrays(arrays), other),
    )


def measured(graph: MultipartiteGraph) -> None:
    """What is read can be used, and counts what it says."""
    source, target, weight = graph.edges()
    assert len(source) == graph.n_edges == int(topo.measure(graph, metrics=["edges"])["edges"])
    if graph.n_edges:
        assert source.min() >= 0 and target.max() < graph.n_nodes and np.isfinite(weight).all()
    topo.measure(graph, metrics=["local", "k_core", "sparsity", "cut_edges"], on_failure="undefined")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "keys", "use"),
    [
        ("masks", ("order", "provenance"), lambda masks: masks.counts()),
        ("graph", ("topo.graph",), measured),
        ("trajectory", ("shapes",), lambda found: (found.table(), list(found))),
    ],
)
def test_structures_that_say_anything(what: str, keys: tuple[str, ...], use: Callable, files: dict, place: Path):
    content, reader, _ = files[what]
    path = place / "odd.safetensors"
    path.write_bytes(content)
    arrays, metadata = read_arrays(path)

    @tried(100)
    @given(described(arrays, metadata, keys))
    def check(odd: tuple[dict[str, np.ndarray], dict[str, str]]) -> None:
        save_file({name: np.ascontiguousarray(array) for name, array in odd[0].items()}, path, odd[1])
        found = read(reader, path)
        if found is not None:
            use(found)

    check()


def test_layer_graphs(place: Path):
    folder = topo.encode(net(), example=(5,), encoding="rolled").save(place / "layers")
    index = json.loads((folder / "layers.json").read_text())

    @tried(60)
    @given(
        st.one_of(changed(index).map(json.dumps).map(str.encode), damage().map(lambda d: d(json.dumps(index).encode())))
    )
    def check(content: bytes) -> None:
        (folder / "layers.json").write_bytes(content)
        found = read(LayerGraphs.load, folder)
        assert found is None or all(graph.n_edges in (20, 8) for graph in found.values())

    check()


STUDY = """models: [digits-mlp, {name: digits-cnn, width: 4}]
pruners:
  - snip
  - {name: magnitude, label: m, allocation: global}
sparsities: [0.5, 0.9]
seeds: &s [0, 1]
recipe: {name: digits, epochs: 2}
metrics: local
encodings: [rolled]
"""
TOKENS = [
    "&a ",
    "*a",
    "*s",
    "<<: ",
    "? ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "!!set ",
    "!!int ",
    "1e999",
    "2:4",
    "~",
    "'",
    '"',
    "\n",
    "  ",
]
TOKENS += [
    "9" * 30,
    "true",
    "2001-99-99",
    "\t",
    "#",
    "|",
    ">",
    "%YAML 9",
    "---\n",
    "...",
    "\x85",
    "\x00",
    "é",
    "@",
    "`",
    "0x",
    ".inf",
]


@pytest.mark.slow
def test_study_files(place: Path):
    path = place / "study.yaml"
    insert = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(TOKENS), st.integers(0, 4)), min_size=1, max_size=4)

    @tried(100)
    @given(insert)
    def check(steps: list[tuple[float, str, int]]) -> None:
        text = STUDY
        for share, token, gone in steps:
            at = int(share * len(text))
            text = text[:at] + token + text[at + gone :]
        path.write_text(text, encoding="utf-8")
        config = read(StudyConfig.read, path)
        if config is not None:
            path.write_text(config.to_yaml(), encoding="utf-8")
            assert StudyConfig.read(path) == config

    check()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_of_results(suffix: str, place: Path):
    path = place / f"table.{suffix}"
    table = topo.results.example_results(sparsities=(0.9,)).head(9)
    table["undefined"] = '{"edges": "no"}'
    content = write_table(path, table).read_bytes()
    odd = st.tuples(
        st.sampled_from(list(table.columns)),
        st.sampled_from([None, "", "x", "=1", np.inf, -1, 1e300, 2**70, "{", "[]"]),
    )

    @tried(40)
    @given(st.one_of(damage(), odd))
    def check(change: Any) -> None:
        if callable(change):
            path.write_bytes(change(content))
        else:
            name, value = change
            write_table(
                path, table.assign(**{name: [value] * len(table)}).astype({name: object if suffix == "csv" else "str"})
            )
        found = read(Evidence.read, path)
        if found is not None:
            assert found.sparse["accuracy"].between(0, 1).all() and found.networks["sparsity"].between(0, 1).all()

    check()


@pytest.mark.slow
def test_published_tables(place: Path):
    folder = published_tables.write(place / "published")
    files = sorted(folder.rglob("*.csv"))
    contents = [file.read_bytes() for file in files]

    @tried(6)
    @given(st.integers(0, len(files) - 1), damage())
    def check(which: int, damaged: Callable[[bytes], bytes]) -> None:
        try:
            files[which].write_bytes(damaged(contents[which]))
            read(load_published, folder)
        finally:
            files[which].write_bytes(contents[which])

    check()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    array = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP"])
def test_pictures(kind: str, place: Path):
    content, path = picture(kind), place / "picture.img"

    @tried(25)
    @given(damage(), st.sampled_from([None, 8]))
    def check(damaged: Callable[[bytes], bytes], size: int | None) -> None:
        path.write_bytes(damaged(content))
        found = read(decode, [path], ["picture"], size)
        assert found is None or (found.dtype == torch.uint8 and found.ndim == 4)

    check()


@pytest.mark.slow
def test_parquet_of_pictures(place: Path):
    folder = place / "parquet"
    folder.mkdir()
    table = pa.table({"img": [{"bytes": picture("PNG"), "path": "/etc/passwd"}] * 3, "label": [0, 1, 2]})
    path = folder / "train-0.parquet"
    pq.write_table(table, path)
    content = path.read_bytes()

    @tried(40)
    @given(damage())
    def check(damaged: Callable[[bytes], bytes]) -> None:
        path.write_bytes(damaged(content))
        found = read(read_split, folder, "train", ("label",))
        assert found is None or found.inputs.shape[1] == 3

    check()


@pytest.mark.slow
def test_measurements_that_go_on(place: Path):
    table = place / "kept.csv"
    rows = KeptRows(table, "a", ["nodes"])
    for number in range(3):
        rows.add({"key": f"a-{number}", "status": "finished", "nodes": number + 0.5, "file": f"{number}"})
    unfinished = next(place.glob("kept.csv.*"))
    lines = unfinished.read_bytes()
    content = write_table(table, rows.finish({str(number): f"a-{number}" for number in range(3)})).read_bytes()

    @tried(40)
    @given(damage(), st.booleans())
    def check(damaged: Callable[[bytes], bytes], of_lines: bool) -> None:
        unfinished.write_bytes(damaged(lines) if of_lines else b"")
        table.unlink(missing_ok=True)
        if not of_lines:
            table.write_bytes(damaged(content))
        found = read(KeptRows, table, "a", ["nodes"])
        if found is not None and of_lines:
            assert all(row["nodes"] == int(key[2:]) + 0.5 for key, row in found.rows.items())
            found.finish({row["file"]: key for key, row in found.rows.items()})

    check()


def test_damage_damages():
    """The fuzz itself: nearly all of what it makes is not what was there."""
    content, same = bytes(range(200)), []

    @tried(30)
    @given(damage())
    def check(damaged: Callable[[bytes], bytes]) -> None:
        same.append(damaged(content) == content)

    check()
    assert len(same) >= 30 and sum(same) < len(same) / 3


def test_tables_are_read_by_no_other_name(place: Path):
    with pytest.raises(InputError):
        read_table(place)
    assert isinstance(read_table(write_table(place / "t.csv", pd.DataFrame({"a": [1]}))), pd.DataFrame)
