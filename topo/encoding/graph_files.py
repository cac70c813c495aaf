"""Graphs on disk: what is written, and what has to hold of a file before any of it is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from ..errors import InputError
from ..memory import available_memory, in_words
from ..safe_files import parsed_json, read_arrays, read_json, replacing, write_arrays, writing
from .parts import Block, Part

__all__ = ["read_graph", "read_layers", "write_graph", "write_layers"]

KEY = "topo.graph"
KINDS = ("BipartiteGraph", "MultipartiteGraph")
ROLES = ("input", "hidden", "output")
INDEX = "layers.json"
LARGEST = np.iinfo(np.int32).max
BYTES_PER_NODE = 16  # a measurement holds at least two arrays of eight bytes a node
COUNTS = ("weights_total", "weights_kept", "weights_effective")
MOST_AXES = 64
PIECES = ("indptr", "indices", "data")


def write_graph(
    path: str | Path, kind: str, parts: Sequence[Part], blocks: Sequence[Block], attributes: Mapping[str, Any]
) -> Path:
    """Write a graph as one safetensors file: arrays, with parts and attributes as JSON metadata.

    Parameters
    ----------
    path
        The file to write or replace.
    kind
        Name of its class.
    parts, blocks, attributes
        As of the graph.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        When the file cannot be written, or the graph is none that `read_graph` would read.
    """
    arrays: dict[str, np.ndarray] = {}
    for i, block in enumerate(blocks):
        wrong = _wrong_matrix(block.matrix)
        if wrong:
            raise InputError(f"the graph cannot be saved: the block {block.name!r} has {wrong}.")
        arrays |= {f"{i}.{piece}": getattr(block.matrix, piece) for piece in PIECES}
    try:
        facts = json.dumps(
            {
                "type": kind,
                "parts": [[p.name, list(p.shape), p.level, p.offset, p.role] for p in parts],
                "blocks": [[b.source, b.target, b.name] for b in blocks],
                "attributes": dict(attributes),
            }
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"the attributes of a graph must be writable as JSON: {error}.") from error
    return write_arrays(path, arrays, {KEY: facts})


def read_graph(path: str | Path) -> tuple[str, list[Part], list[Block], dict[str, Any]]:
    """What `write_graph` wrote, every size, index and weight checked.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    tuple
        Name of the class, parts, blocks and attributes.

    Raises
    ------
    InputError
        When the file is none of a graph, or is damaged.
    """
    arrays, metadata = read_arrays(path)
    if KEY not in metadata:
        raise InputError(f"{path} is a safetensors file but holds no graph; write one with graph.save(path).")
    try:
        facts = parsed_json(metadata[KEY], "its description")
        _require(
            isinstance(facts, dict) and {"type", "parts", "blocks", "attributes"} <= facts.keys(),
            "its description is not that of a graph",
        )
        _require(facts["type"] in KINDS, f"there is no kind of graph {facts['type']!r:.60}")
        _require(all(isinstance(facts[k], list) for k in ("parts", "blocks")), "parts and blocks must be lists")
        parts = list(_parts(facts["parts"]))
        expected = {f"{i}.{piece}" for i in range(len(facts["blocks"])) for piece in PIECES}
        _require(arrays.keys() == expected, "its arrays are not those of its blocks")
        blocks = [_block(i, entry, parts, arrays) for i, entry in enumerate(facts["blocks"])]
        if facts["type"] == "BipartiteGraph":
            _require((len(parts), len(blocks)) == (2, 1), "the graph of a layer has two parts and one block")
        _check_attributes(facts["attributes"])
    except _Wrong as error:
        raise InputError(f"{path} does not hold a whole graph: {error}; encode it again.") from None
    except InputError as error:
        raise InputError(f"{path} does not hold a whole graph: {str(error).rstrip('.')}; encode it again.") from None
    return facts["type"], parts, blocks, facts["attributes"]


class _Wrong(Exception):
    pass


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise _Wrong(what)


def _is_count(value: Any, most: int = LARGEST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _parts(entries: Sequence[Any]) -> Iterator[Part]:
    offset = 0
    for number, entry in enumerate(entries):
        _require(isinstance(entry, list) and len(entry) == 5, f"part {number} is not described by five values")
        name, shape, level, start, role = entry
        _require(isinstance(name, str), f"part {number} has no name")
        _require(isinstance(shape, list) and len(shape) <= MOST_AXES, f"part {name!r:.60} has no shape")
        _require(all(map(_is_count, shape)), f"part {name!r:.60} has no shape")
        _require(_is_count(level) and role in ROLES, f"part {name!r:.60} has an impossible level or role")
        _require(start == offset, f"part {name!r:.60} starts at node {start!r:.60}; expected {offset}")
        part = Part(name, tuple(shape), level, offset, role)
        offset += part.size
        _require(offset <= LARGEST, "it has more nodes than 32-bit numbers can count")
        yield part
    if offset * BYTES_PER_NODE > available_memory():
        raise _Wrong(f"it has {offset:,} nodes, and {in_words(available_memory())} of memory is free")


def _block(number: int, entry: Any, parts: Sequence[Part], arrays: Mapping[str, np.ndarray]) -> Block:
    _require(isinstance(entry, list) and len(entry) == 3, f"block {number} is not described by three values")
    source, target, name = entry
    _require(isinstance(name, str), f"block {number} has no name")
    _require(
        all(_is_count(i, len(parts) - 1) for i in (source, target)),
        f"block {name!r:.60} joins no two parts",
    )
    _require(parts[source].level < parts[target].level, f"block {name!r:.60} does not rise in level")
    shape = (parts[source].size, parts[target].size)
    indptr, indices, data = (arrays[f"{number}.{piece}"] for piece in PIECES)
    wrong = _wrong_arrays(indptr, indices, data, shape)
    _require(not wrong, f"block {name!r:.60} has {wrong}")
    return Block(source, target, sparse.csr_array((data, indices, indptr), shape=shape), name)


def _wrong_matrix(matrix: sparse.csr_array) -> str:
    return _wrong_arrays(matrix.indptr, matrix.indices, matrix.data, matrix.shape)


def _wrong_arrays(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, shape: tuple[int, int]) -> str:
    """What is wrong with the arrays of a matrix, before any of them is used; empty when nothing is."""
    rows, columns = shape
    if indptr.shape != (rows + 1,) or indices.ndim != 1 or data.shape != indices.shape:
        return "arrays of other sizes than its parts have nodes"
    if any(array.dtype not in (np.int32, np.int64) for array in (indptr, indices)) or data.dtype.kind != "f":
        return "arrays of other kinds of numbers than those of a graph"
    if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr[1:] < indptr[:-1]).any():
        return "pointers that do not rise from zero to the number of its edges"
    if len(indices) and (indices.min() < 0 or indices.max() >= columns):
        return "an edge to a node that is not there"
    if not _are_distinct(indptr, indices, columns):
        return "an edge that is there twice"
    if not np.isfinite(data).all() or (data < 0).any():
        return "weights that are no finite sizes"
    return ""


def _are_distinct(indptr: np.ndarray, indices: np.ndarray, columns: int) -> bool:
    """Whether no row has a column twice."""
    falls = np.flatnonzero(indices[1:] <= indices[:-1]) + 1
    # Sorted rows, as nearly always: indices fall at most where a row begins.
    if np.isin(falls, indptr, assume_unique=False).all():
        return True
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    keys = rows * columns + indices
    keys.sort()
    return bool((keys[1:] != keys[:-1]).all())


def _check_attributes(attributes: Any) -> None:
    _require(isinstance(attributes, dict), "its attributes are not those of a graph")
    counts = {name: attributes[name] for name in COUNTS if attributes.get(name) is not None}
    wrong = next((name for name, value in counts.items() if not _is_count(value, 1 << 62)), None)
    _require(wrong is None, f"its attribute {wrong!r:.60} is no number of weights")
    _require(
        all(value <= counts.get("weights_total", value) for value in counts.values()),
        "more weights are kept than there are",
    )


def write_layers(folder: str | Path, graphs: Mapping[str, Any], attributes: Mapping[str, Any]) -> Path:
    """Write one file a layer and an index into a folder, which is made if need be.

    Parameters
    ----------
    folder
        Where to write.
    graphs
        Layer -> `BipartiteGraph`.
    attributes
        Facts about the network.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: f"{i:04d}.safetensors" for i, name in enumerate(graphs)}
        for name, file in files.items():
            graphs[name].save(folder / file)
        with replacing(folder / INDEX) as written:
            index = {"layers": files, "attributes": dict(attributes)}
            Path(written).write_text(json.dumps(index, indent=1), encoding="utf-8")
    return folder


def read_layers(folder: str | Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """The index that `write_layers` wrote.

    Parameters
    ----------
    folder
        The folder.

    Returns
    -------
    tuple
        Layer -> its file, in the folder; attributes of the network.

    Raises
    ------
    InputError
        When there is no index, or it names anything but files in the folder.
    """
    folder = Path(folder)
    if not (folder / INDEX).is_file():
        raise InputError(f"{folder} holds no layer graphs ({INDEX} is missing); write them with graphs.save(folder).")
    index = read_json(folder / INDEX)
    layers, attributes = (index.get("layers"), index.get("attributes")) if isinstance(index, dict) else (None, None)
    if not isinstance(layers, dict) or not isinstance(attributes, dict):
        raise InputError(f"{folder / INDEX} is not the index of layer graphs; write them again.")
    for name, file in layers.items():
        if not isinstance(file, str) or not file.endswith(".safetensors") or Path(file).name != file or "\\" in file:
            raise InputError(f"{folder / INDEX} gives layer {name!r:.60} the file {file!r:.60}, none of this folder.")
    return {name: folder / file for name, file in layers.items()}, attributes
