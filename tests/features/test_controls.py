"""Z-scores against random masks: none for what is random, large ones for what is not, reasons where there is none."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo
from topo.errors import InputError
from topo.features.controls import compared_columns, compared_metrics, measure_controls, standard_scores
from topo.masks import Masks

SHAPE = (12,)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))


@pytest.fixture(scope="module")
def er(net: nn.Module) -> Masks:
    return topo.prune(net, "er", sparsity=0.7, seed=0)


layer_sizes = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6), st.floats(0, 1)), min_size=1, max_size=3)


@given(layer_sizes, st.integers(0, 99))
def test_random_masks_keep_as_many_weights_of_every_layer_and_know_nothing_else(sizes: list, seed: int) -> None:
    generator = np.random.default_rng(seed)
    masks = Masks({f"l{i}": generator.random((a, b)) < share for i, (a, b, share) in enumerate(sizes)})
    drawn = masks.random_like((seed, 1))
    pd.testing.assert_frame_equal(drawn.counts(), masks.counts())
    assert drawn == drawn.random_like((seed, 1))  # other masks with as many weights: the same random ones


def test_random_masks_reach_every_place_alike() -> None:
    masks = Masks({"w": [[1, 1, 0], [0, 0, 0]]})
    counts = sum(masks.random_like(seed)["w"].int() for seed in range(3000)).numpy()
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(3000 * (1 / 3) * (2 / 3))


def test_scores_are_those_of_numpy_and_of_the_networks_own_metrics(net: nn.Module, er: Masks) -> None:
    table = topo.z_scores(net, er, example=SHAPE, metrics=["local", "global"], n=7, seed=3)
    dag = topo.trace(net, torch.zeros(1, *SHAPE))
    rows = [topo.measure(topo.encode(dag, er.random_like((3, i))), metrics=["local", "global"]) for i in range(7)]
    own = topo.measure(topo.encode(dag, er), metrics=["local", "global"])
    for metric, row in table.iterrows():
        values = np.array([each[metric] for each in rows])
        assert (row["value"], row["n"], row["mean"]) == (own[metric], 7, pytest.approx(values.mean()))
        assert row["sd"] == pytest.approx(values.std(ddof=1))
        if values.std() > 0:
            assert row["z"] == pytest.approx((own[metric] - values.mean()) / values.std(ddof=1)) and row["reason"] == ""
    assert (table["sd"] > 0).any()


def test_networks_that_are_random_themselves_score_about_zero_with_spread_one(net: nn.Module, er: Masks) -> None:
    dag = topo.trace(net, torch.zeros(1, *SHAPE))
    controls = measure_controls(dag, er, n=60, seed=1)
    names = compared_metrics(None, layers=False)
    drawn = [topo.prune(net, "er", sparsity=0.7, seed=seed) for seed in range(60)]
    rows = [topo.measure(topo.encode(dag, masks), metrics=names) for masks in drawn]
    z = pd.DataFrame([standard_scores(row, controls)["z"] for row in rows]).dropna(axis=1, how="all")
    assert z.shape[1] >= 10
    # Both means have a standard error of 1 / sqrt(60): their difference is within 4 of its own.
    assert z.mean().abs().max() < 4 * np.sqrt(2 / 60)
    assert z.std().between(0.5, 1.8).all() and abs(z.std().mean() - 1) < 0.2


def concentrated(er: Masks) -> Masks:
    """As many weights in every layer, all at the first units."""
    return Masks({n: (torch.arange(m.numel()) < int(m.sum())).view(m.shape) for n, m in er.items()})


@pytest.mark.parametrize("encoding", ["multipartite", "rolled"])
def test_a_structured_mask_of_the_same_densities_stands_out(net: nn.Module, er: Masks, encoding: str) -> None:
    options = {"example": SHAPE, "encoding": encoding, "metrics": ["two_hop", "motifs", "std_degree"], "n": 10}
    plain, structured = (topo.z_scores(net, masks, **options)["z"] for masks in (er, concentrated(er)))
    for metric in ("motifs", "std_degree", "two_hop")[: 3 if encoding == "multipartite" else 2]:
        column = metric if encoding == "multipartite" else f"{metric}_mean"
        assert abs(plain[column]) < 3.5 and abs(structured[column]) > 5, (column, plain, structured)


@pytest.mark.slow
def test_the_table_of_the_page_on_controls_is_what_its_code_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "controls.md").read_text()
    blocks = (re.search(rf"^```{kind}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) for kind in ("python", "text"))
    code, shown = (block[1] for block in blocks)
    exec(code, {})
    printed, expected = (pd.read_csv(io.StringIO(text), sep=r"\s+") for text in (capsys.readouterr().out, shown))
    pd.testing.assert_frame_equal(printed, expected, atol=0.3, rtol=0.02)


def test_what_layer_densities_fix_has_no_score_but_a_reason(net: nn.Module, er: Masks) -> None:
    table = topo.z_scores(net, er, example=SHAPE, encoding="rolled", metrics=["edges", "density", "k_core"], n=4)
    assert table.loc[["edges_mean", "density_mean"], "z"].isna().all()
    assert set(table.loc[["edges_mean", "density_mean"], "reason"]) == {"the numbers of weights in the layers fix it"}
    dense = topo.z_scores(net, Masks.dense(net), example=SHAPE, n=3)
    assert dense["z"].isna().all() and (dense["sd"].fillna(0) == 0).all() and (dense["reason"] != "").all()


def test_reasons() -> None:
    nan = float("nan")
    row = pd.Series({"a": nan, "b": 1.0, "c": 3.0, "d": 2.0})
    row.attrs["undefined"] = {"a": "no edge"}
    controls = pd.DataFrame({"a": [1.0, 2.0], "b": [nan, 2.0], "c": [0.0, 0.0], "d": [1.0, 3.0]})
    table = standard_scores(row, controls)
    assert table["reason"].tolist() == [
        "no edge",
        "undefined in 1 of 2 random masks",
        "all random masks have 0, so there is no spread to compare with",
        "",
    ]
    assert table["z"].isna().tolist() == [True, True, True, False] and table["z"]["d"] == 0
    assert table["n"].tolist() == [2, 1, 2, 2]


def test_metrics_that_read_weights_are_left_out(net: nn.Module, er: Masks) -> None:
    columns = compared_columns(None, layers=True)
    assert "k_core_mean" in columns and "delta_r_mean" in columns
    assert not {"strength_mean", "iwsg_mean", "spectral_gap_mean"} & set(columns)
    assert not any("_norm" in column for column in columns)
    with pytest.raises(InputError, match="all of these metrics read the sizes of weights"):
        topo.z_scores(net, er, example=SHAPE, metrics=["spectral_gap"])
    # The weights do not matter, though the places of the random masks hold none of the network's own.
    other = nn.Sequential(*(nn.Linear(m.in_features, m.out_features) if isinstance(m, nn.Linear) else m for m in net))
    options = {"example": SHAPE, "metrics": ["local", "neighbourhood"], "n": 3}
    again = topo.z_scores(er.apply(other), dict(er), **options)
    pd.testing.assert_frame_equal(topo.z_scores(net, er, **options), again)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": 1}, "n must be a whole number of at least 2"),
        ({"masks": None}, "z-scores need masks"),
        ({"example": None}, "needs example"),
        ({"encoding": "roled"}, "did you mean 'rolled'"),
        ({"metrics": ["locl"]}, "did you mean 'local'"),
        ({"metrics": []}, "metrics is empty"),
    ],
    ids=str,
)
def test_refusals(net: nn.Module, er: Masks, changes: dict, words: str) -> None:
    options = {"masks": er, "example": SHAPE, "n": 2} | changes
    with pytest.raises(InputError, match=words):
        topo.z_scores(net, options.pop("masks"), **options)


def test_a_negative_seed_is_refused():
    net = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(InputError, match="seed must be"):
        topo.z_scores(net, topo.prune(net, "er", sparsity=0.5), example=torch.zeros(1, 4), seed=-1)
