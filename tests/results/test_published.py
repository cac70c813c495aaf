from __future__ import annotations

import shutil
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from tests.published_tables import LAYERS, layers, networks, ramanujan, write
from topo.errors import InputError
from topo.results.evidence import Evidence
from topo.results.published import load_published
from topo.results.schema import NETWORK

NETWORK_COLUMNS = [*NETWORK, "family", "accuracy"]


def data_issues(folder, file: str, column: str) -> dict[str, int]:
    """What was odd in a column -> rows."""
    table = load_published(folder).data_issues
    rows = table[table["file"].str.startswith(file) & (table["column"] == column)]
    return dict(zip(rows["what"], rows["rows"], strict=True))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("published") / "tables")
    return folder, load_published(folder)


def test_names_are_ours_and_values_theirs(clean):
    _, tables = clean
    raw = networks()
    assert len(tables.networks) == len(raw) == 24
    for old, new in (("r-in", "removable_in"), ("avg_node_strength", "strength"), ("pruning", "pruner")):
        assert tables.networks[new].tolist() == raw[old].tolist()
    assert tables.networks["family"].unique().tolist() == ["initial", "dynamic"]


def test_layers_are_long_and_their_means_are_joined(clean):
    _, tables = clean
    assert tables.layers["encoding"].value_counts().to_dict() == dict.fromkeys(
        ("rolled", "rolled_channel", "ramanujan"), 24 * LAYERS
    )
    # Published densities of layers divide by other pairs than ours, so they are another metric.
    assert "rolled__density_directed_mean" in tables.networks and "rolled__density_mean" not in tables.networks
    rolled = layers(networks())
    expected = rolled.groupby(["model", "pruning_algorithm", "sparsity", "seed"])["strenght_all"].mean()
    strength = tables.networks.set_index(["model", "pruner", "sparsity", "seed"])["rolled__strength_mean"]
    assert strength.to_dict() == pytest.approx(expected.to_dict())
    kept = rolled.groupby(["model", "pruning_algorithm", "sparsity", "seed"])["edges"].sum() / (1000 * LAYERS)
    reached = tables.networks.set_index(["model", "pruner", "sparsity", "seed"])["reached_sparsity"]
    assert reached.to_dict() == pytest.approx((1 - kept).to_dict())


def test_ramanujan_rows_find_their_pruner_in_any_order(tmp_path):
    rolled = layers(networks())
    mixed = ramanujan(rolled).sample(frac=1, random_state=3)
    tables = load_published(write(tmp_path / "t", rolled=rolled, ramanujan=mixed))
    rows = tables.layers[tables.layers["encoding"] == "ramanujan"].set_index("kept_weights")
    by_weights = rolled.set_index("edges")["pruning_algorithm"]  # weights are all different here
    assert (rows["pruner"] == by_weights.reindex(rows.index)).all()
    assert "rows share all of these with another" not in data_issues(tmp_path / "t", "ramanunjan", "pruning_algorithm")


def test_rows_that_share_their_keys_are_joined_in_order_and_counted(tmp_path):
    rolled = layers(networks())
    twins = (
        (rolled["model"] == "CONV-6") & (rolled["sparsity"] == 0.6) & (rolled["seed"] == 0) & (rolled["layer_id"] == 1)
    )
    rolled.loc[twins, ["accuracy", "edges", "layer_sparsity"]] = [0.7, 500, 0.5]
    folder = write(tmp_path / "t", rolled=rolled)
    rows = load_published(folder).layers.query("encoding == 'ramanujan' and kept_weights == 500")
    assert rows["pruner"].tolist() == rolled.loc[twins, "pruning_algorithm"].tolist() == ["snip", "er", "rigl"]
    assert data_issues(folder, "ramanunjan", "pruning_algorithm")["rows share all of these with another"] == 3


def test_rows_without_a_partner_are_counted_and_left_out(tmp_path):
    rolled = layers(networks())
    other = ramanujan(rolled)
    other.loc[[0, 5], "no_weights"] = -1.0
    folder = write(tmp_path / "t", rolled=rolled, ramanujan=other)
    assert data_issues(folder, "ramanunjan", "pruning_algorithm")["rows match no row of rolled/"] == 2
    assert (load_published(folder).layers["encoding"] == "ramanujan").sum() == 24 * LAYERS - 2


def test_repeated_rows(tmp_path):
    table = networks()
    table = pd.concat([table, table.iloc[:2], table.iloc[[3]].assign(accuracy=0.1)])
    folder = write(tmp_path / "t", unrolled=table)
    issues = data_issues(folder, "unrolled", "dataset, model, pruning, sparsity, seed")
    assert issues == {"rows are written twice": 2, "rows repeat a key with other values": 1}
    tables = load_published(folder)
    assert not tables.networks.duplicated(NETWORK).any()
    assert tables.networks["accuracy"].tolist() == networks()["accuracy"].tolist()


@pytest.mark.slow
def test_missing_and_negative_values_constant_columns_and_absent_networks(tmp_path):
    table = networks().drop(index=[4, 7]).reset_index(drop=True)
    table.loc[[1, 2], "r-in"] = np.nan
    table.loc[3, "spectral_gap"] = -2.0
    table["k-core"] = 4.0
    folder = write(tmp_path / "t", unrolled=table)
    assert [v for k, v in data_issues(folder, "unrolled", "removable_in").items() if "missing" in k] == [2]
    assert data_issues(folder, "unrolled", "spectral_gap")["values are negative"] == 1
    assert data_issues(folder, "unrolled", "k_core")["the column is constant"] == 22
    assert data_issues(folder, "unrolled", "dataset, model, pruner, sparsity, seed") == {
        "networks of the full grid of 24 are missing": 2
    }
    only = data_issues(folder, "rolled/", "dataset, model, pruner, sparsity, seed")
    assert list(only.values()) == [2]
    assert load_published(folder).networks["removable_in"].isna().sum() == 2


def test_accuracies_that_differ_between_files(tmp_path):
    table = networks()
    table.loc[0, "accuracy"] += 0.05
    folder = write(tmp_path / "t", unrolled=table)
    assert data_issues(folder, "unrolled", "accuracy")["differs from the one in rolled/"] == 1


def test_values_that_cannot_be_are_missing_and_listed(tmp_path):
    rolled = layers(networks())
    rolled.loc[:3, "max_degree"] = 1
    rolled.loc[:3, "delta_s_undirected"] = -3e7
    rolled.loc[10:11, "avg_degree_all"] = 0.3
    rolled.loc[:8, "source_nodes"] = -3441
    other = ramanujan(rolled)
    other.loc[5, "degree_bound"] = -np.inf
    folder = write(tmp_path / "t", rolled=rolled, ramanujan=other)
    tables = load_published(folder)
    assert "delta_s_undirected" not in tables.layers and "source_nodes" not in tables.layers
    rolled_rows = tables.layers.query("encoding == 'rolled'")
    assert rolled_rows["delta_s_relative"].isna().sum() == 4 and rolled_rows["delta_r_mean_degree"].isna().sum() == 2
    assert tables.layers.query("encoding == 'ramanujan'")["delta_r"].isna().sum() == 1
    assert np.isfinite(tables.networks["ramanujan__delta_r_mean"]).all()
    assert any("-3441" in what for what in data_issues(folder, "rolled/", "source_nodes"))
    assert data_issues(folder, "ramanunjan", "degree_bound")["values are infinite: the bound is zero"] == 1


def test_networks_with_other_layers_than_their_model(tmp_path):
    rolled = layers(networks()).drop(index=[LAYERS * 2])
    folder = write(tmp_path / "t", rolled=rolled, rolled_channel=layers(networks(), 2))
    assert data_issues(folder, "rolled/", "layer_id") == {"networks have more or fewer layers than their model": 1}


def test_nothing_is_said_twice_and_every_row_counts_something(clean):
    _, tables = clean
    assert (tables.data_issues["rows"] > 0).all()
    assert not tables.data_issues.duplicated().any()
    assert tables.data_issues.notna().all(axis=None)


ALL = ("unrolled", "rolled", "rolled_channel", "ramanunjan_results")


def only(folder, *kept):
    for name in ALL:
        if name not in kept:
            shutil.rmtree(folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept", [c for n in (1, 2, 3) for c in combinations(ALL, n) if c != ("ramanunjan_results",)], ids=str
)
def test_any_of_the_folders_will_do(tmp_path, clean, kept):
    tables = load_published(only(write(tmp_path / "t"), *kept))
    whole = clean[1]
    assert tables.networks[NETWORK_COLUMNS].equals(whole.networks[NETWORK_COLUMNS])
    shared = [c for c in whole.networks if c in tables.networks]
    pd.testing.assert_frame_equal(tables.networks[shared], whole.networks[shared])
    # What is there is what the folders hold, and the sentence names the others.
    assert ("spectral_gap" in tables.networks) == ("unrolled" in kept)
    joined = "rolled" in kept and "ramanunjan_results" in kept
    encodings = [n for n in ("rolled", "rolled_channel") if n in kept] + ["ramanujan"] * joined
    assert (tables.layers is None and not encodings) or tables.layers["encoding"].unique().tolist() == encodings
    assert ("reached_sparsity" in tables.networks) == joined
    assert ("layer_density_mean" in tables.networks) == bool(encodings)
    sentence, _, unknown = tables.missing.partition(", so ")
    assert [name for name in ALL if f" {name}/" in sentence] == [name for name in ALL if name not in kept]
    assert ("Ramanujan metrics" in unknown) == (not joined) and unknown.endswith(" are not known.")
    assert unknown.count("Ramanujan") == (not joined)


def test_what_is_missing_is_said_once_and_nothing_when_all_is_there(tmp_path, clean):
    assert clean[1].missing == ""
    folder = only(write(tmp_path / "t"), "unrolled")
    assert Evidence.open(published=folder).notes == (
        "The published tables have no rolled/, rolled_channel/ and ramanunjan_results/ here, so metrics of rolled "
        "layers, metrics of rolled-channel layers and Ramanujan metrics with the sparsity reached are not known.",
    )


def test_a_folder_without_any_or_with_nothing_that_names_an_algorithm(tmp_path):
    with pytest.raises(InputError, match="holds no published tables; name the folder that has unrolled/, rolled/, "):
        load_published(tmp_path)
    (tmp_path / "rolled").mkdir()
    with pytest.raises(InputError, match="holds no published tables"):
        load_published(tmp_path)
    with pytest.raises(InputError, match="do not name the algorithm; add rolled/"):
        load_published(only(write(tmp_path / "t"), "ramanunjan_results"))


@pytest.mark.parametrize("file", ["unrolled/unrolled.csv", "rolled/rolled-CIFAR-10-CONV-6.csv"])
def test_a_missing_column_is_named(tmp_path, file):
    folder = write(tmp_path / "t")
    table = pd.read_csv(folder / file).drop(columns="edges")
    table.to_csv(folder / file, index=False)
    with pytest.raises(InputError, match=r"no column 'edges'"):
        load_published(folder)


def test_text_where_numbers_belong(tmp_path):
    folder = write(tmp_path / "t", unrolled=networks().assign(edges="many"))
    with pytest.raises(InputError, match="'edges' holds values that are not numbers"):
        load_published(folder)


def test_an_empty_file(tmp_path):
    folder = write(tmp_path / "t")
    (folder / "unrolled" / "unrolled.csv").write_text("")
    with pytest.raises(InputError, match="cannot be read"):
        load_published(folder)


def test_numbers_of_classes_find_the_networks_near_chance(tmp_path):
    table = networks()
    table.loc[[0, 5], "accuracy"] = 0.1, 0.11
    folder = write(tmp_path / "t", unrolled=table)
    tables = load_published(folder)
    assert set(tables.networks["dataset"]) == {"CIFAR-10"}
    assert tables.networks["classes"].unique().tolist() == [10]
    assert tables.networks["test_samples"].unique().tolist() == [10_000]
    assert data_issues(folder, "unrolled/", "accuracy")["networks are near chance: collapsed"] == 2
