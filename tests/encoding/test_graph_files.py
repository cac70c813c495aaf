"""What a file of a graph has to hold before any of it is believed: sizes, pointers, indices, weights, names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import sparse
from torch import nn

import topo
from topo.encoding import BipartiteGraph, LayerGraphs, MultipartiteGraph
from topo.errors import InputError
from topo.safe_files import read_arrays

Change = Callable[[dict[str, np.ndarray], dict[str, Any]], None]


def two_layers() -> MultipartiteGraph:
    """Four inputs, three hidden nodes, two outputs."""
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    return topo.encode(net, example=(4,))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_layers().save(tmp_path_factory.mktemp("graphs") / "graph.safetensors")


def changed(whole: Path, path: Path, change: Change) -> Path:
    """A file without a checksum, as somebody else may write it."""
    arrays, metadata = read_arrays(whole)
    arrays, facts = {name: array.copy() for name, array in arrays.items()}, json.loads(metadata["topo.graph"])
    change(arrays, facts)
    save_file(arrays, path, {"topo.graph": json.dumps(facts)})
    return path


def put(name: str, index: Any, value: Any) -> Change:
    def change(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        arrays[name][index] = value

    return change


def fact(*keys: Any) -> Change:
    """Sets ``facts[keys[0]][...][keys[-2]] = keys[-1]``."""

    def change(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        place: Any = facts
        for key in keys[:-2]:
            place = place[key]
        place[keys[-2]] = keys[-1]

    return change


def cast(name: str, kind: str) -> Change:
    return lambda arrays, facts: arrays.__setitem__(name, arrays[name].astype(kind))


WRONG: dict[str, tuple[Change, str]] = {
    "a pointer far outside": (put("0.indptr", 1, 10**9), "pointers that do not rise"),
    "pointers that fall": (put("0.indptr", 1, 7), "pointers that do not rise"),
    "pointers below zero": (put("0.indptr", 0, -1), "pointers that do not rise"),
    "pointers that end early": (put("0.indptr", -1, 11), "pointers that do not rise"),
    "an index too large": (put("0.indices", 0, 3), "an edge to a node that is not there"),
    "an index below zero": (put("0.indices", 0, -1), "an edge to a node that is not there"),
    "an edge twice": (put("0.indices", 0, 1), "an edge that is there twice"),
    "no number": (put("1.data", 0, np.nan), "weights that are no finite sizes"),
    "infinity": (put("1.data", 0, np.inf), "weights that are no finite sizes"),
    "a negative size": (put("1.data", 0, -1), "weights that are no finite sizes"),
    "whole numbers for weights": (cast("0.data", "int32"), "other kinds of numbers"),
    "real numbers for indices": (cast("0.indices", "float32"), "other kinds of numbers"),
    "a missing array": (lambda arrays, facts: arrays.pop("0.data"), "its arrays are not those of its blocks"),
    "one array too many": (lambda arrays, facts: arrays.update({"x": np.zeros(2)}), "its arrays are not those"),
    "another number of columns": (fact("parts", 1, 1, [2]), "starts at node 7; expected 6"),
    "a huge part": (fact("parts", 2, 1, [2**31 - 1]), "more nodes than 32-bit numbers can count"),
    "a part of huge sides": (fact("parts", 2, 1, [2**30] * 60), "more nodes than 32-bit numbers can count"),
    "endless sides": (fact("parts", 2, 1, [2**30] * 65), "has no shape"),
    "a side below zero": (fact("parts", 2, 1, [-2, -1]), "has no shape"),
    "a side that is text": (fact("parts", 2, 1, ["2"]), "has no shape"),
    "a side that is true": (fact("parts", 2, 1, [True]), "has no shape"),
    "a name that is none": (fact("parts", 2, 0, None), "part 2 has no name"),
    "a level beyond bounds": (fact("parts", 2, 2, 10**30), "an impossible level or role"),
    "levels that fall": (fact("parts", 2, 2, 0), "does not rise in level"),
    "no role": (fact("parts", 2, 4, {}), "an impossible level or role"),
    "a part too short": (fact("parts", 0, ["input"]), "part 0 is not described by five values"),
    "parts by name": (fact("parts", {}), "parts and blocks must be lists"),
    "a block of nothing": (fact("blocks", 0, 1, 9), "joins no two parts"),
    "a block backwards": (fact("blocks", 0, 0, -3), "joins no two parts"),
    "a block too long": (fact("blocks", 0, [0, 1, "a", 2]), "not described by three values"),
    "an unknown kind": (fact("type", ["MultipartiteGraph"]), "there is no kind of graph"),
    "a layer of three parts": (fact("type", "BipartiteGraph"), "two parts and one block"),
    "attributes that are a list": (fact("attributes", []), "attributes are not those of a graph"),
    "counts that are text": (fact("attributes", "weights_total", "many"), "no number of weights"),
    "more kept than there are": (fact("attributes", "weights_total", 1), "more weights are kept than"),
    "no parts": (lambda arrays, facts: facts.pop("parts"), "its description is not that of a graph"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_one_sentence(fault: str, whole: Path, tmp_path: Path) -> None:
    change, sentence = WRONG[fault]
    with pytest.raises(InputError, match=sentence):
        MultipartiteGraph.load(changed(whole, tmp_path / "wrong.safetensors", change))


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "[" * 90 + "]" * 90, "3", "null", '"x"', "9" * 5_000])
def test_a_description_that_is_none(text: str, whole: Path, tmp_path: Path) -> None:
    save_file(read_arrays(whole)[0], tmp_path / "wrong.safetensors", {"topo.graph": text})
    with pytest.raises(InputError, match="does not hold a whole graph"):
        MultipartiteGraph.load(tmp_path / "wrong.safetensors")


def test_more_nodes_than_memory(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topo.encoding.graph_files.available_memory", lambda: 100)
    with pytest.raises(InputError, match=r"9 nodes, and 0\.0 MiB of memory is free"):
        MultipartiteGraph.load(whole)


def test_edges_in_any_order_are_read_as_they_are(tmp_path: Path) -> None:
    matrix = sparse.csr_array((np.ones(3, np.float32), [2, 0, 1], [0, 2, 2, 3]), shape=(3, 3))
    loaded = BipartiteGraph.load(BipartiteGraph(matrix).save(tmp_path / "layer.safetensors"))
    assert loaded.blocks[0].matrix.indices.tolist() == [2, 0, 1]
    matrix.indices[:2] = 2
    with pytest.raises(InputError, match="cannot be saved: the block 'fc' has an edge that is there twice"):
        BipartiteGraph(matrix, "fc").save(tmp_path / "layer.safetensors")


def test_any_byte_that_changes_is_noticed(whole: Path, tmp_path: Path) -> None:
    content, path = bytearray(whole.read_bytes()), tmp_path / "flipped.safetensors"
    for place in (len(content) - 1, len(content) - 30, content.index(b"checksum") + 20, content.index(b"output")):
        content[place] ^= 1
        path.write_bytes(content)
        content[place] ^= 1
        with pytest.raises(InputError, match="damaged: its content is not what was written"):
            MultipartiteGraph.load(path)


INDEX: dict[str, tuple[Any, str]] = {
    "outside the folder": ({"fc": "../graph.safetensors"}, "none of this folder"),
    "an absolute path": ({"fc": "/etc/passwd.safetensors"}, "none of this folder"),
    "a folder": ({"fc": "a/b.safetensors"}, "none of this folder"),
    "no file at all": ({"fc": "0009.safetensors"}, "does not exist"),
    "a number": ({"fc": 3}, "none of this folder"),
    "a list": (["0000.safetensors"], "is not the index of layer graphs"),
}


@pytest.mark.parametrize("fault", INDEX)
def test_layers_name_files_of_their_folder(fault: str, tmp_path: Path, whole: Path) -> None:
    layers, sentence = INDEX[fault]
    (tmp_path / "layers.json").write_text(json.dumps({"layers": layers, "attributes": {}}))
    with pytest.raises(InputError, match=sentence):
        LayerGraphs.load(tmp_path)


def test_layers_are_layers(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "0000.safetensors").write_bytes(whole.read_bytes())
    (tmp_path / "layers.json").write_text(json.dumps({"layers": {"fc": "0000.safetensors"}, "attributes": {}}))
    with pytest.raises(InputError, match=r"0000.safetensors is not the graph of a layer"):
        LayerGraphs.load(tmp_path)
    (tmp_path / "layers.json").write_text("[" * 10_000)
    with pytest.raises(InputError, match="nested too deep"):
        LayerGraphs.load(tmp_path)
    with pytest.raises(InputError, match="holds no layer graphs"):
        LayerGraphs.load(tmp_path / "nowhere")
