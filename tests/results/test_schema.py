from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.fresh import run_fresh
from topo.errors import InputError
from topo.features import CATEGORIES, METRICS, column_names
from topo.pruning import PRUNERS
from topo.results import (
    category_of,
    example_results,
    metric_columns,
    metric_label,
    ordered_metrics,
    tidy_results,
)
from topo.results.evidence import Evidence

RAW = {"accuracy": [0.9, 0.8], "pruner": ["SNIP", "rigl"], "sparsity": [0.6, 0.6]}


def test_fills_in_what_is_missing_and_leaves_the_input_alone():
    raw = pd.DataFrame(RAW)
    before = raw.copy()
    table = tidy_results(raw)
    assert table["family"].tolist() == ["initial", "dynamic"]
    assert table["pruner"].tolist() == ["snip", "rigl"]
    assert set(table["status"]) == {"finished"}
    pd.testing.assert_frame_equal(raw, before)


def test_every_registered_pruner_has_its_family():
    names = list(PRUNERS)
    table = tidy_results(pd.DataFrame({"accuracy": 0.5, "pruner": names, "sparsity": 0.5}))
    assert table["family"].tolist() == [PRUNERS.entry(n).family for n in names]


def test_a_family_that_is_given_stays():
    assert tidy_results(pd.DataFrame(RAW | {"family": ["x", None]}))["family"].tolist() == ["x", "dynamic"]


@pytest.mark.parametrize("name", ["accuracy", "pruner", "sparsity"])
def test_needed_columns(name):
    with pytest.raises(InputError, match=f"no column '{name}'"):
        tidy_results(pd.DataFrame(RAW).drop(columns=name))


def test_misspelt_column_gets_the_nearest_name():
    with pytest.raises(InputError, match="nearest: acuracy"):
        tidy_results(pd.DataFrame(RAW).rename(columns={"accuracy": "acuracy"}))


def test_accuracy_that_is_no_number():
    with pytest.raises(InputError, match="not numbers"):
        tidy_results(pd.DataFrame(RAW | {"accuracy": ["high", "0.8"]}))


def test_no_table():
    with pytest.raises(InputError, match="DataFrame"):
        tidy_results([1, 2])


def test_every_measured_column_is_a_metric_with_its_category():
    columns = [*column_names(), *(f"rolled__{c}" for c in column_names(layers=True))]
    table = pd.DataFrame(np.ones((1, len(columns))), columns=columns)
    assert metric_columns(table) == columns
    assert "other" not in {category_of(c) for c in columns}


def test_order_follows_categories_and_normalised_replaces_raw():
    ordered = ordered_metrics(reversed(column_names("all")))
    places = [list(CATEGORIES).index(category_of(c)) for c in ordered]
    assert places == sorted(places)
    per = [e.name for e in METRICS.entries() if e.info["per"] and e.info["encodings"] != "layers"]
    assert all(f"{name}_norm" in ordered and name not in ordered for name in per)
    assert sorted(ordered_metrics(column_names(), published=False)) == sorted(column_names())


def test_raw_aggregates_give_way_to_normalised_ones():
    assert ordered_metrics(["rolled__motifs_mean", "rolled__motifs_norm_mean", "rolled__edges_mean"]) == [
        "rolled__edges_mean",
        "rolled__motifs_norm_mean",
    ]


def test_labels():
    assert metric_label("rolled__sink_nodes_norm_mean") == "sink nodes (norm., mean)"
    assert metric_label("mean_component_size_norm") == "mean component size (norm.)"


@pytest.mark.slow
def test_a_table_says_what_its_own_metrics_are_to_a_process_that_has_not_registered_them(tmp_path):
    table = pd.DataFrame({"accuracy": [0.5, 0.6], "pruner": "mine", "family": "own", "sparsity": 0.5})
    table = table.assign(hubs=[1.0, 2.0], fan__hubs_norm_mean=[0.1, 0.2], edges=[3.0, 4.0], spare=[5.0, 6.0])
    table.attrs["metrics"] = {"hubs": {"category": "motion", "per": "nodes", "reads_weights": True}}
    table.to_parquet(tmp_path / "results.parquet")
    code = (
        "import pandas as pd, sys\n"
        "from topo.results import category_of, metric_columns, ordered_metrics, tidy_results\n"
        "from topo.results.schema import reads_weights\n"
        "table = tidy_results(pd.read_parquet(sys.argv[1]))\n"
        "print(metric_columns(table), category_of('hubs'), reads_weights('fan__hubs_norm_mean'), "
        "ordered_metrics(['hubs', 'edges']), set(table['family']))"
    )
    done = run_fresh(code, tmp_path / "results.parquet", folder=tmp_path)
    assert done.stdout.strip() == "['hubs', 'fan__hubs_norm_mean', 'edges'] motion True ['edges', 'hubs'] {'own'}"


def test_numbers_that_no_metric_fills_are_no_metrics():
    table = pd.DataFrame({"accuracy": [0.5], "edges": [1.0], "minutes": [3.0], "rolled__minutes_mean": [3.0]})
    assert metric_columns(table.assign(edges_p95=1.0, cut_edges=True, nodes="many")) == ["edges"]


@pytest.mark.parametrize(
    "recorded",
    [
        "garbage",
        5,
        None,
        ["foo"],
        {"accuracy": {"category": "general", "reads_weights": True}},
        {"k": {"category": ["general"], "reads_weights": True}},
    ],
)
def test_what_a_table_says_of_columns_that_are_none_of_its_metrics_is_left_alone(recorded):
    table = example_results()
    before = metric_columns(table)
    table.attrs |= {"metrics": recorded, "undefined": recorded if not isinstance(recorded, dict) else {}}
    assert metric_columns(tidy_results(table.assign(k=1.0))) == before
    assert "accuracy" not in Evidence.of(table).whole_network_metrics
