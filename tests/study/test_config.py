from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo.errors import InputError
from topo.study import StudyConfig
from topo.study.entries import EncodingChoice

SMALLEST = "models: [digits-cnn]\npruners: [snip]\nsparsities: [0.9]\n"


def read(folder: Path, text: str) -> StudyConfig:
    file = folder / "small.yaml"
    file.write_text(text)
    return StudyConfig.read(file)


def test_the_smallest_file_has_sensible_defaults(tmp_path: Path):
    config = read(tmp_path, SMALLEST)
    assert config.name == "small"
    assert [d.name for d in config.datasets] == ["digits"]
    assert (config.seeds, config.recipe.name, config.metrics) == ((0,), "digits", None)
    assert [e.name for e in config.encodings] == ["multipartite"]


def test_single_values_stand_for_lists_of_one(tmp_path: Path):
    assert read(tmp_path, "models: digits-cnn\npruners: snip\nsparsities: 0.9\n") == read(tmp_path, SMALLEST)


def test_other_datasets_get_the_published_recipe(tmp_path: Path):
    assert read(tmp_path, SMALLEST + "datasets: [cifar10]\n").recipe.name == "reference"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALLEST + "seed: [0]\n", "small.yaml, line 4: unknown key 'seed'; did you mean 'seeds'?"),
        (
            SMALLEST + "epochs: 3\n",
            r"line 4: 'epochs' is a setting of the recipe; write recipe: {name: digits, epochs: 3}",
        ),
        (SMALLEST.replace("snip", "snipp"), r"line 2: pruners\[0\]: unknown pruner 'snipp'; did you mean 'snip'"),
        (SMALLEST.replace("-cnn", "-cn"), r"line 1: models\[0\]: unknown model 'digits-cn'; did you mean 'digits-cnn'"),
        (SMALLEST + "datasets: [digit]\n", r"line 4: datasets\[0\]: unknown dataset 'digit'; did you mean 'digits'"),
        (SMALLEST + "encodings: [roled]\n", r"line 4: encodings\[0\]: unknown encoding 'roled'; did you mean 'rolled'"),
        (SMALLEST + "metrics: [locl]\n", "line 4: metrics: unknown metric or category 'locl'; did you mean 'local'"),
        (SMALLEST + "recipe: digit\n", "line 4: recipe: unknown recipe 'digit'; did you mean 'digits'"),
        (SMALLEST + "recipe: {name: digits, epoch: 3}\n", "line 4: recipe: unknown recipe setting 'epoch'"),
        (SMALLEST + "recipe: {epochs: 3}\n", "recipe: a recipe with settings needs the key 'name'"),
        (SMALLEST + "recipe: {name: digits, epochs: -3}\n", "recipe: epochs must be a whole number of at least 1"),
        (
            "models: [digits-cnn]\nsparsities: [0.9]\npruners:\n  - {name: grasp, temperatur: 3}\n",
            r"line 4: pruners\[0\]: unknown setting of pruner 'grasp' 'temperatur'; did you mean 'temperature'",
        ),
        (
            SMALLEST + "encodings:\n  - {name: multipartite, skip: all}\n",
            "line 5: .*unknown setting of encoding 'multipartite' 'skip'; did you mean 'skips'",
        ),
        (SMALLEST + "encodings:\n  - {name: multipartite, skips: al}\n", "unknown value of skips 'al'"),
        (
            "models: m\nsparsities: 0.5\npruners:\n  - {name: synflow, rounds: -1}\n".replace("m\n", "digits-mlp\n"),
            r"line 4: .*rounds must be a whole number of at least 1, not -1",
        ),
        (
            SMALLEST + "targets:\n  - {name: calibration, bins: 0}\n",
            r"targets.*bins must be a whole number of at least 1",
        ),
        (SMALLEST.replace("0.9", "90"), "line 3: sparsities: sparsity 90 is not at least 0 and below 1; 90% is 0.9"),
        (SMALLEST.replace("0.9", "1.0"), "sparsity 1 is not at least 0 and below 1"),
        (SMALLEST.replace("0.9", "-0.1"), "sparsity -0.1 is not"),
        (SMALLEST.replace("0.9", ".nan"), "sparsity nan is not"),
        (SMALLEST.replace("0.9", "0.9, 0.9"), "sparsities: 0.9 is listed twice"),
        (SMALLEST.replace("0.9", "dense"), r"line 3: sparsities\[0\]: .*number.*'dense'"),
        (SMALLEST.replace("[0.9]", "[]"), "pruners and sparsities go together"),
        (SMALLEST.replace("snip", "snip, snip"), "line 2: pruners: 'snip' is listed twice; .*label"),
        (SMALLEST.replace("snip", "{name: snip, label: dense}"), "'dense' is what the results call"),
        (SMALLEST.replace("snip", "{stage: trained}"), "needs the key 'name'; it has only stage"),
        (
            SMALLEST.replace("snip", "{name: snip, stage: end}"),
            r"line 2: pruners\[0\].stage: .*'initial' or 'trained'",
        ),
        (SMALLEST.replace("snip", "3"), r"a pruner is a name or a mapping with the key 'name', not 3"),
        (SMALLEST + "seeds: 3\n", r"line 4: seeds: seeds is a list such as \[0, 1\], not the number 3"),
        (SMALLEST + "seeds: [0, 0]\n", "seeds: 0 is listed twice"),
        (SMALLEST + "seeds: [a]\n", r"line 4: seeds: seed 'a' is no whole number of at most 64 bits"),
        (SMALLEST + "seeds: [0, true]\n", "line 4: seeds: seed True is no whole number"),
        (SMALLEST + "seeds: [1.5]\n", r"line 4: seeds: seed 1\.5 is no whole number"),
        (SMALLEST + "workers: 0\n", "line 4: workers: .*greater than or equal to 1; it is 0"),
        (SMALLEST + "name: a/b\n", "line 4: name: .*'a/b'"),
        (SMALLEST + "datasets: [{name: digits, subset: 0}]\n", r"datasets\[0\].subset"),
        (SMALLEST + "datasets: [{name: digits, sise: 3}]\n", "unknown setting of dataset 'digits' 'sise'"),
        (SMALLEST.replace("digits-cnn", "{name: digits-cnn, widht: 4}"), "setting of model 'digits-cnn' 'widht'"),
        ("pruners: [snip]\nsparsities: [0.9]\n", "small.yaml: key 'models' is missing"),
        (SMALLEST.replace("0.9", "true"), "sparsities: a sparsity must be a number, not True"),
        (SMALLEST.replace("0.9", "'0.9'"), "sparsities: a sparsity must be a number, not '0.9'"),
        (
            SMALLEST.replace("digits-cnn", "{name: digits-mlp, widths: [a]}"),
            "every number of widths must be a whole",
        ),
        (SMALLEST.replace("digits-cnn", "{name: digits-mlp, widths: 3}"), r"models\[0\]: widths must be a list, not 3"),
        (SMALLEST.replace("digits-cnn", "{name: digits-mlp, seed: 3}"), "unknown setting of model 'digits-mlp' 'seed'"),
        (SMALLEST.replace("snip", "{name: snip, model: 1}"), "unknown setting of pruner 'snip' 'model'"),
        (SMALLEST.replace("snip", "{name: snip, rounds: 2.5}"), "line 2: .*rounds must be a whole number, not 2.5"),
        (SMALLEST.replace("snip", "{name: snip, rounds: [1]}"), r"rounds must be a whole number, not \[1\]"),
        (SMALLEST.replace("snip", "{name: snip, allocation: nonsense}"), "unknown allocation 'nonsense'"),
        (SMALLEST.replace("snip", "{name: snip, allocation: 3}"), "allocation must be text, not 3"),
        (SMALLEST.replace("snip", "{name: snip, label: ''}"), "a label is text that can be shown, not ''"),
        (SMALLEST + "encodings: [{name: unrolled, max_edges: []}]\n", r"max_edges must be a whole number, not \[\]"),
        (SMALLEST + "datasets: [{name: digits, test: a}]\n", r"datasets\[0\]: test must be a whole number, not 'a'"),
        (SMALLEST + "datasets: [{name: digits, subset: true}]\n", "subset must be a whole number of at least 1"),
        (SMALLEST + "datasets: [{name: digits, download: 1}]\n", "download must be true or false, not 1"),
        (SMALLEST + "workers: true\n", "workers must be a whole number, not True"),
        (SMALLEST + "controls: 2.0\n", "controls must be a whole number, not 2.0"),
        (SMALLEST + "save_weights: 1\n", "save_weights must be true or false, not 1"),
        (
            SMALLEST + "encodings: [{name: rolled, label: a-b}, {name: unrolled, label: a_b}]\n",
            r"'a-b' and 'a_b' would fill the same columns \(a_b__...\); give one of them another label",
        ),
        (SMALLEST.replace("[digits-cnn]", "[]"), "line 1: models: .*at least 1 item"),
    ],
)
def test_a_mistake_is_explained_in_one_sentence_with_file_line_and_key(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    sentence = str(caught.value)
    assert "small.yaml" in sentence and "\n" not in sentence and "pydantic" not in sentence


def test_a_study_of_dense_networks_alone(tmp_path: Path):
    assert read(tmp_path, "models: [digits-cnn]\npruners: []\nsparsities: []\n").pruners == ()


def test_torchvision_names_are_models(tmp_path: Path):
    text = SMALLEST.replace("digits-cnn", "resnet18, torchvision:mobilenet_v2")
    assert [m.name for m in read(tmp_path, text).models] == ["resnet18", "torchvision:mobilenet_v2"]


def test_pruners_know_their_stage_and_family():
    entries = ["snip", "magnitude", {"name": "magnitude", "label": "early", "stage": "initial"}]
    config = StudyConfig.parse({"models": ["digits-mlp"], "pruners": entries, "sparsities": [0.5]})
    stages = [(p.label, p.applied_at, p.family) for p in config.pruners]
    assert stages == [
        ("snip", "initial", "initial"),
        ("magnitude", "trained", "trained"),
        ("early", "initial", "initial"),
    ]


def test_columns_are_prefixed_but_for_the_plain_multipartite_encoding():
    labels = ["multipartite", "rolled-channel", {"name": "multipartite", "label": "ref", "skips": "projection"}]
    assert [EncodingChoice.model_validate(label).prefix for label in labels] == ["", "rolled_channel__", "ref__"]


def test_overrides_replace_keys_of_the_file(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(SMALLEST + "data_root: here\n")
    assert StudyConfig.read(tmp_path / "a.yaml", data_root="there").data_root == "there"


@given(
    pruners=st.lists(
        st.sampled_from(
            ["er", {"name": "snip"}, {"name": "grasp", "temperature": 100.0}, {"name": "magnitude", "stage": "initial"}]
        ),
        min_size=1,
        unique_by=lambda p: p if isinstance(p, str) else p["name"],
    ),
    sparsities=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, unique=True),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, unique=True),
    epochs=st.integers(1, 1000),
    rate=st.floats(1e-8, 10),
    encodings=st.sampled_from([["multipartite"], ["rolled", {"name": "unrolled", "max_edges": 1000}]]),
    metrics=st.sampled_from([None, ["local", "k_core"]]),
)
def test_what_is_written_reads_back_the_same(pruners, sparsities, seeds, epochs, rate, encodings, metrics):
    config = StudyConfig.parse(
        {
            "name": "written",
            "datasets": ["digits", {"name": "cifar10", "root": "a/b", "label": "other"}],
            "models": [{"name": "digits-mlp", "widths": [4, 5]}],
            "pruners": pruners,
            "sparsities": sparsities,
            "seeds": seeds,
            "recipe": {"name": "adamw", "epochs": epochs, "learning_rate": rate},
            "encodings": encodings,
            **({"metrics": metrics} if metrics else {}),
        }
    )
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(config.to_yaml())
        file.flush()
        assert StudyConfig.read(file.name) == config


def test_example_studies_are_right(repository: Path):
    files = sorted((repository / "examples").glob("*.yaml"))
    assert files
    for file in files:
        StudyConfig.read(file)


def test_the_main_example_has_the_promised_size(repository: Path):
    config = StudyConfig.read(repository / "examples" / "digits.yaml")
    assert [dataset.name for dataset in config.datasets] == ["digits", "shapes"] and len(config.models) == 2
    families = [pruner.family for pruner in config.pruners]
    assert families.count("initial") >= 8 and families.count("dynamic") == families.count("trained") == 2
    assert len(config.sparsities) == len(config.seeds) == 3
    assert config.metrics is None and len(config.encodings) == 3


def test_the_earlier_study_has_its_own_split(repository: Path):
    config = StudyConfig.read(repository / "examples" / "digits_2seeds.yaml")
    assert [dataset.settings for dataset in config.datasets] == [{"test": 360}]


def test_a_dataset_brings_its_usual_recipe(tmp_path: Path):
    of = {data: read(tmp_path, SMALLEST + f"datasets: [{data}]\n").recipe.name for data in ("text", "waves", "shapes")}
    assert of == {"text": "text", "waves": "sequences", "shapes": "reference"}
    assert read(tmp_path, SMALLEST + "datasets: [text, waves]\n").recipe.name == "reference"
