from __future__ import annotations

import pytest

from topo.errors import InputError
from topo.study import measure_finished


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
    with pytest.raises(InputError, match="did you mean"):
        measure_finished(study, "chanels")


def test_a_study_without_encodings_needs_some(tiny, here):
    study = tiny(pruners=["er"], sparsities=[0.5], encodings=[])
    study.run(executor=here, progress=False)
    with pytest.raises(InputError, match="the study has no encoding; name some"):
        measure_finished(study, "local")
