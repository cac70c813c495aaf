from __future__ import annotations

import pandas as pd
import pytest

from topo.errors import InputError
from topo.features import measure
from topo.study import Study, measure_finished, measuring


def test_more_metrics_of_a_finished_study(tiny, here):
    study = tiny(pruners=["er"], sparsities=[0.5], measure_dense=True, encodings=["multipartite", "rolled"])
    study.run(executor=here, progress=False)
    before = study.results()
    again = measure_finished(study, ["local", "persistence", "channels"])
    local = [column for column in before if column.endswith(("sink_nodes", "removable_out_norm_mean"))]
    assert len(local) == 2
    for column in local:
        assert again[column].tolist() == before[column].tolist()
    assert again["cell"].tolist() == before["cell"].tolist()
    assert again["channel_path_length"].notna().all()
    # Weights are kept of dense networks alone.
    dense = again["pruner"] == "dense"
    for column in ("neural_persistence", "rolled__neural_persistence_max"):
        assert again[column].notna().tolist() == dense.tolist()
    narrow = measure_finished(study, "width", encodings=["rolled-channel"])
    assert (narrow["rolled_channel__matching_share_max"] <= 1).all() and "matching" not in narrow
    assert narrow["channel_path_length"].tolist() == again["channel_path_length"].tolist()
    with pytest.raises(InputError, match="did you mean"):
        measure_finished(study, "chanels")


def test_what_was_measured_of_trained_weights_stays_where_they_are_not_kept(tiny, here):
    study = tiny(pruners=["er"], sparsities=[0.5], metrics=["strength"])
    study.run(executor=here, progress=False)
    strength = study.results()["rolled__strength_mean"]
    assert strength.notna().sum() == 1
    again = measure_finished(study, "all")
    assert again["rolled__strength_mean"].dropna().tolist() == strength.dropna().tolist()
    assert again["rolled__sink_nodes_mean"].notna().sum() == 1


def test_a_study_without_encodings_needs_some(tiny, here):
    study = tiny(pruners=["er"], sparsities=[0.5], encodings=[])
    study.run(executor=here, progress=False)
    with pytest.raises(InputError, match="the study has no encoding; name some"):
        measure_finished(study, "local")


def test_the_study_keeps_what_was_measured_later(tiny, here, monkeypatch):
    study = tiny(pruners=["er"], sparsities=[0.5, 0.8], measure_dense=True, encodings=["multipartite"])
    study.run(executor=here, progress=False)
    measured = []

    def stopping(graph, **options):
        measured.append(graph)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return measure(graph, **options)

    monkeypatch.setattr(measuring, "measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        measure_finished(study, ["effective_nodes"])
    assert Study.load(study.folder).results()["effective_nodes"].notna().sum() == 2
    table = measure_finished(study, ["effective_nodes"])
    assert len(measured) == 4 and table["effective_nodes"].notna().all()
    for row in table.itertuples():
        assert row.effective_nodes == measure(study.graph(row.cell), metrics=["effective_nodes"])["effective_nodes"]
    again = study.run(executor=here, progress=False)
    assert again["effective_nodes"].tolist() == table["effective_nodes"].tolist()
    assert pd.read_parquet(study.store.table_file)["effective_nodes"].tolist() == table["effective_nodes"].tolist()


def test_a_network_computed_again_is_measured_again(tiny, here):
    study = tiny(pruners=["er"], sparsities=[0.5], measure_dense=True, encodings=["multipartite"])
    study.run(executor=here, progress=False)
    table = measure_finished(study, ["effective_nodes"])
    file = study.store.measured_file
    dates = pd.read_parquet(file)
    dates.assign(date="2020-01-01T00:00:00+00:00").to_parquet(file)
    assert "effective_nodes" not in study.results() or study.results()["effective_nodes"].isna().all()
    assert measure_finished(study, ["effective_nodes"])["effective_nodes"].tolist() == table["effective_nodes"].tolist()
    assert pd.read_parquet(file)["date"].tolist() == table["date"].tolist()


def test_what_is_not_a_file_of_measured_metrics_is_refused(tiny, here):
    study = tiny(pruners=[], sparsities=[])
    table, file = study.run(executor=here, progress=False), study.store.measured_file
    keys = table[["cell", "date"]]
    for other in (
        table,
        table[["accuracy"]],
        keys.assign(accuracy=1.0),
        keys.assign(width="wide"),
        keys.assign(cell=1),
        keys.assign(undefined="{"),
        keys.assign(undefined="[1]"),
        keys.assign(undefined='{"accuracy": "none"}'),
    ):
        other.to_parquet(file)
        with pytest.raises(InputError, match=r"measured\.parquet cannot be read; delete it, and measure again"):
            study.results()
    file.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"measured\.parquet cannot be read; delete it, and measure again"):
        measure_finished(study, "local")
    keys.assign(cell="another").to_parquet(file)
    assert study.results().equals(table)


def test_each_metric_is_measured_once_and_says_why_it_has_no_value(tiny, here, monkeypatch):
    study = tiny(pruners=["er"], sparsities=[0.5], measure_dense=True, encodings=["multipartite", "rolled"])
    study.run(executor=here, progress=False)
    asked = []

    def noted(graph, metrics, **options):
        asked.append(sorted(metrics))
        return measure(graph, metrics=metrics, **options)

    monkeypatch.setattr(measuring, "measure", noted)
    measure_finished(study, ["narrowest_channels"])
    table = measure_finished(study, ["narrowest_channels", "path_balance", "neural_persistence"])
    first, then = [["narrowest_channels"]] * 4, ["neural_persistence", "path_balance"]
    assert asked == [*first, then, then, ["path_balance"], ["path_balance"]]
    assert table["path_balance"].notna().all() and "rolled__path_balance_mean" in table
    dense, sparse = table["undefined"]
    assert "rolled__narrowest_channels_mean, rolled__narrowest_channels_min" in dense and "reads trained" not in dense
    assert "neural_persistence, rolled__neural_persistence_mean, " in sparse
    assert ": it reads trained weights, which the study did not keep" in sparse
    again = measure_finished(study, ["path_balance", "neural_persistence"])
    assert len(asked) == 8 and again.equals(table)
    assert study.run(executor=here, progress=False)["undefined"].tolist() == [dense, sparse]


def test_two_processes_may_measure_and_damaged_networks_are_passed_over(tiny, here, monkeypatch, caplog):
    study = tiny(pruners=["er"], sparsities=[0.5, 0.8], measure_dense=True, encodings=["multipartite"])
    table = study.run(executor=here, progress=False)
    key = tuple(table.loc[0, ["cell", "date"]])

    def beside(graph, **options):
        study.store.add_measured({key: {"narrowest_channels": 7.0}})
        return measure(graph, **options)

    monkeypatch.setattr(measuring, "measure", beside)
    study.store.masks_file(table["cell"].iloc[-1]).unlink()
    measured = measure_finished(study, "path_balance")
    assert measured["path_balance"].notna().tolist() == [True, True, False]
    assert measured["narrowest_channels"].tolist()[0] == 7.0
    assert "1 network was passed over" in caplog.text and "is missing; topo study run" in caplog.text


def test_columns_of_an_encoding_are_not_filled_with_other_options(tiny, here):
    encodings = [{"name": "multipartite", "skips": "projection"}]
    study = tiny(pruners=[], sparsities=[], measure_dense=True, encodings=encodings)
    study.run(executor=here, progress=False)
    assert measure_finished(study, "path_balance", encodings=["multipartite"])["path_balance"].notna().all()
    for other in ({"name": "multipartite"}, 3, {"label": "x"}):
        with pytest.raises(
            InputError, match=r"fill the columns of 'multipartite'|is a name or a mapping|needs the key"
        ):
            measure_finished(study, "path_balance", encodings=[other])
