from __future__ import annotations

import pytest

from topo.cli.listing import REGISTRIES, _registry


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("models", ["resnet20", "digits-cnn", "torchvision", "densenet121"]),
        ("datasets", ["digits", "cifar10", "folder"]),
        ("pruners", ["initial", "trained", "snip", "synflow", "magnitude-layerwise", "2019"]),
        ("metrics", ["local", "sink_nodes", "ramanujan", "imdb"]),
        ("encodings", ["multipartite", "rolled-channel"]),
        ("recipes", ["reference", "digits"]),
    ],
)
def test_lists_name_everything_with_one_line_each(topo_command, kind: str, expected: list[str]):
    result = topo_command("list", kind)
    assert result.exit_code == 0 and all(text in result.stdout for text in expected)


def test_every_registry_has_a_list():
    for kind in REGISTRIES:
        assert _registry(kind).entry_point_group == f"topo.{kind}"


def test_columns_say_what_they_are(topo_command, tmp_path):
    told = topo_command("list", "columns", "rolled__two_hop_norm_max").stdout
    assert "at most two steps" in told and "largest of the layers" in told
    assert {line.split()[0] for line in topo_command("list", "columns", "seconds_*").stdout.splitlines()} >= {
        "seconds_train",
        "seconds_measure",
    }
    (tmp_path / "table.csv").write_text("accuracy,mine\n0.5,1\n")
    said = topo_command("list", "columns", str(tmp_path / "table.csv")).stdout.splitlines()
    assert [line.split()[0] for line in said] == ["accuracy", "mine"] and "Not a column" in said[1]
    assert "did you mean 'accuracy'" in topo_command("list", "columns", "acuracy").stderr
    assert "No column matches" in topo_command("list", "columns", "zz*").stdout


def test_a_column_leads_to_its_metric(topo_command):
    told = topo_command("list", "metrics", "two_hop_norm").stdout
    assert told.startswith("two_hop") and "bounds: two_hop from 1 + E / N to (N + 1) / 2" in told


def test_patterns_select_names(topo_command):
    lines = topo_command("list", "pruners", "*snip*").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["initial"], ["snip", "data"], ["iterative-snip", "data"]]
    assert "vgg11" in topo_command("list", "models", "vgg?1").stdout
    assert topo_command("list", "models", "no*such").stdout == "No name matches no*such.\n"


def test_a_family_or_category_is_listed_by_its_name(topo_command):
    lines = topo_command("list", "metrics", "global").stdout.splitlines()
    assert lines[0] == "global" and any("cut" in line for line in lines[1:]) and "sink_nodes" not in " ".join(lines)
    lines = topo_command("list", "pruners", "dynamic").stdout.splitlines()
    headings = [line for line in topo_command("list", "pruners").stdout.splitlines() if not line.startswith(" ")]
    assert headings == ["initial", "dynamic", "trained", "structured"]
    assert lines[0] == "dynamic" and "rigl" in {line.split()[0] for line in lines[1:]}


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        (
            "pruners",
            "synflow",
            ["Tanaka et al. 2020", "stage: initial", "rounds=100", "Number of rounds, from 1 up"],
        ),
        (
            "pruners",
            "rigl",
            [
                "stage: training",
                "needs: data, and a recipe to train with",
                "initial=erk",
                "How the random masks at the start spread",
            ],
        ),
        ("pruners", "grasp", ["needs: data", "temperature=200.0", "logits"]),
        ("models", "digits-cnn", ["Small residual network", "width=8"]),
        ("encodings", "multipartite", ["weights=sum", "it is divided by the size of the window"]),
        ("metrics", "k_core", ["Mean coreness", "strength"]),
        ("recipes", "digits", ["A few seconds", "epochs=15", "passes over the training samples"]),
        ("questions", "beyond_density", ["topology, or just density"]),
    ],
)
def test_one_name_is_shown_with_its_settings(topo_command, kind: str, name: str, expected: list[str]):
    text = " ".join(topo_command("list", kind, name).stdout.split())
    assert text.startswith(name) and [part for part in expected if part not in text] == []
