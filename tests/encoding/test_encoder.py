"""An encoding of one's own is one registration, with its options, in encode and in batches."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

import topo
from topo.encoding import ENCODINGS, BipartiteGraph, LayerGraphs, encoding, encoding_options


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ENCODINGS, "_entries", dict(ENCODINGS._entries))

    @encoding("fan", layers=True)
    def fan(dag, masks, *, side: Literal["in", "out"] = "in", least: int = 1):
        """A graph a layer: one node on one side.

        Parameters
        ----------
        side
            Which side keeps its channels.
        least
            Edges that a channel must have.
        """
        graphs = {}
        for name, mask in masks.items():
            counts = mask.flatten(1).sum(1 if side == "in" else 0).numpy()
            kept = (counts >= least).astype(np.float32)
            graphs[name] = BipartiteGraph(sparse.csr_array(kept[:, None] if side == "in" else kept[None]), name)
        return LayerGraphs(graphs)


NET = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
MASKS = {"0.weight": torch.eye(3, 4, dtype=torch.bool), "2.weight": torch.zeros(2, 3, dtype=torch.bool)}


@pytest.mark.usefixtures("own")
def test_its_options_are_its_own():
    graphs = topo.encode(NET, MASKS, example=(4,), encoding="fan", side="out")
    assert graphs.attributes == {"encoding": "fan", "options": {"side": "out", "least": 1}}
    assert (graphs["0.weight"].n_edges, graphs["2.weight"].n_edges) == (3, 0)
    table = topo.Topometrics("fan", metrics="edges", example=(4,), errors="raise").transform([(NET, MASKS)])
    assert table["edges_max"].tolist() == [3.0]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sides": "in"}, "unknown setting of encoding 'fan' 'sides'; did you mean 'side'"),
        ({"side": "inn"}, "did you mean 'in'"),
        ({"least": 1.5}, "least must be a whole number, not 1.5"),
        ({"least": True}, "least must be a whole number, not True"),
    ],
)
def test_its_options_are_checked(options: dict[str, object], sentence: str):
    with pytest.raises(topo.InputError, match=sentence):
        encoding_options("fan", options)


def test_an_encoding_that_fails_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ENCODINGS, "_entries", dict(ENCODINGS._entries))
    encoding("own", layers=True)(lambda dag, masks: {}[next(iter(masks))])
    with pytest.raises(topo.InputError, match=r"encoding 'own' failed with KeyError: '0\.weight'"):
        topo.encode(NET, MASKS, example=(4,), encoding="own")
    with pytest.raises(topo.InputError, match="layer 'a' is a dict; every layer must be a BipartiteGraph"):
        LayerGraphs({"a": {}})


def test_what_an_encoding_returns_is_checked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ENCODINGS, "_entries", dict(ENCODINGS._entries))
    encoding("nothing")(lambda dag, masks: None)
    with pytest.raises(topo.InputError, match="encoding 'nothing' returned a NoneType; it must return a Multipart"):
        topo.encode(NET, example=(4,), encoding="nothing")
