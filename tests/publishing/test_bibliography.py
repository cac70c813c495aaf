from __future__ import annotations

import re

import pytest
from torch import nn

from topo.datasets import DATASETS
from topo.encoding import ENCODINGS, encoding
from topo.errors import InputError
from topo.features import CATEGORIES, METRICS, metric
from topo.models import MODELS
from topo.pruning import PRUNERS
from topo.publishing import cite, references
from topo.publishing.bibliography import WITHOUT
from topo.study import StudyConfig

KINDS = {
    "pruner": PRUNERS,
    "model": MODELS,
    "dataset": DATASETS,
    "encoding": ENCODINGS,
    "metric": METRICS,
    "category": CATEGORIES,
}


def used() -> set[str]:
    return {name for reference in references() for name in reference.used}


def test_every_pruner_has_a_reference_unless_it_is_a_baseline():
    own = {f"pruner {entry.name}" for entry in PRUNERS.entries() if entry.source.built_in}
    assert own - used() - WITHOUT == set()


def test_a_reference_names_only_what_there_is():
    for name in used():
        kind, _, what = name.partition(" ")
        assert kind in {*KINDS, "controls", "package"}
        assert kind not in KINDS or what in KINDS[kind], name


def test_years_agree_with_the_registries():
    for entry in PRUNERS.entries():
        years = re.findall(r"\d{4}", entry.info.get("paper", "")) if entry.source.built_in else []
        cited = [r.bibtex for r in references() if f"pruner {entry.name}" in r.used]
        assert all(any(f"year = {{{year}}}" in bibtex for bibtex in cited) for year in years), entry.name


def test_entries_are_whole_and_their_keys_differ():
    keys = [reference.key for reference in references()]
    assert len(keys) == len({*keys}) > 40
    for reference in references():
        assert reference.bibtex.count("{") == reference.bibtex.count("}")
        assert "used =" not in reference.bibtex and reference.used
        for field in ("title", "author", "year"):
            assert re.search(rf"^  {field} = \{{.+\}},$", reference.bibtex, re.M), reference.key


def test_a_study_cites_what_it_used_and_nothing_else():
    text = cite(StudyConfig.parse({"models": ["resnet20"], "pruners": ["snip", "uniform"], "sparsities": [0.9]}))
    keys = re.findall(r"^@\w+\{(\w+),", text, re.M)
    assert {"topo", "lee2019", "he2016", "alpaydin1998", "cunegatti2023", "paszke2019"} <= {*keys}
    assert "mocanu2018" not in keys and "milo2002" not in keys and len(keys) == len({*keys})
    assert "No reference" not in text


@pytest.mark.parametrize("text", ["none", 5, "@misc{a, title = {A}", "@misc{, title = {A}}", "@misc{a}"])
def test_what_is_no_bibtex_is_refused(text):
    with pytest.raises(InputError, match="bibtex of metric 'bad' must be entries with a key each"):
        metric("bad", category="local", bibtex=text)(lambda view: 0)


def test_several_entries_of_one_thing_are_sorted_by_their_own_keys():
    @metric("two_works", category="local", bibtex="@misc{a2026, title = {A}}\n@misc{z2026, title = {Z}}")
    def two_works(view):
        """From two works."""

    try:
        text = cite(
            StudyConfig.parse(
                {"models": ["resnet20"], "pruners": ["snip"], "sparsities": [0.5]} | {"metrics": ["two_works"]}
            )
        )
    finally:
        del METRICS._entries["two_works"]
    keys = re.findall(r"^@\w+\{(\w+),", text, re.M)[1:]
    assert {"a2026", "z2026"} <= {*keys} and keys == sorted(keys)


def test_what_has_no_reference_is_named_and_own_bibtex_is_used():
    @PRUNERS.register("mine", family="own", stage="initial", paper="none", bibtex="@misc{me2026, title = {Mine}}")
    def mine(task):
        """Mine."""

    @metric("my_count", category="local", bibtex="@misc{count2026, title = {Count}}")
    def my_count(view):
        """My count."""

    @encoding("my-graph", bibtex="@misc{graph2026, title = {Graph}}")
    def my_graph(dag, masks):
        """My graph."""

    @MODELS.register("my-net")
    def my_net(**_):
        """My net."""
        return nn.Identity()

    try:
        data = {"models": ["my-net"], "pruners": ["mine"], "sparsities": [0.5], "controls": 2, "metrics": ["my_count"]}
        text = cite(StudyConfig.parse(data | {"encodings": ["my-graph"]}))
    finally:
        del PRUNERS._entries["mine"], MODELS._entries["my-net"], METRICS._entries["my_count"]
        del ENCODINGS._entries["my-graph"]
    assert "@misc{me2026, title = {Mine}}" in text and "milo2002" in text
    assert "@misc{count2026, title = {Count}}" in text and "@misc{graph2026, title = {Graph}}" in text
    assert text.rstrip().endswith("% No reference is known here for model my-net.")


@pytest.mark.parametrize("metrics", [["local"], ["assortativity"]])
def test_metrics_that_were_not_measured_are_not_cited(metrics):
    data = {"models": ["digits-mlp"], "pruners": ["er"], "sparsities": [0.9], "metrics": metrics}
    assert ("newman2002" in cite(StudyConfig.parse(data))) == (metrics == ["assortativity"])
