from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import topo
from topo.errors import InputError
from topo.masks import Masks, prunable_parameters


def small_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def half_masks(model: nn.Module, seed: int = 0) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    return Masks(
        {name: torch.rand(p.shape, generator=generator) < 0.5 for name, p in prunable_parameters(model).items()}
    )


class Everything(nn.Module):
    """One of each kind of layer, with a shared module and tied weights."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.conv = nn.Conv2d(3, 4, 3, groups=1)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2)
        self.transposed = nn.ConvTranspose2d(4, 2, 2)
        self.batch_norm = nn.BatchNorm2d(4)
        self.layer_norm = nn.LayerNorm((2, 2))
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.separate = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
        self.recurrent = nn.LSTM(4, 3)
        self.first = nn.Linear(4, 4)
        self.again = self.first
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.first.weight
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embedding.weight


class TestPrunable:
    def test_weights_of_layers_and_nothing_else(self):
        assert list(prunable_parameters(Everything())) == [
            "conv.weight",
            "grouped.weight",
            "transposed.weight",
            "attention.in_proj_weight",
            "attention.out_proj.weight",
            "separate.q_proj_weight",
            "separate.k_proj_weight",
            "separate.v_proj_weight",
            "separate.out_proj.weight",
            "recurrent.weight_ih_l0",
            "recurrent.weight_hh_l0",
            "first.weight",
        ]

    def test_include_and_exclude(self):
        model = Everything()
        assert list(prunable_parameters(model, include=["conv.*", "*_hh_l0"])) == [
            "conv.weight",
            "recurrent.weight_hh_l0",
        ]
        assert "first.weight" not in prunable_parameters(model, exclude="first.*")

    def test_an_alias_selects_a_shared_weight(self):
        assert list(prunable_parameters(Everything(), include="tied.weight")) == ["first.weight"]
        assert "first.weight" not in prunable_parameters(Everything(), exclude="again.weight")

    def test_what_is_not_prunable_is_included_when_asked_for(self):
        assert list(prunable_parameters(Everything(), include=["head.bias", "token", "embedding.weight"])) == [
            "token",
            "embedding.weight",
            "head.bias",
        ]

    def test_a_pattern_that_matches_nothing_names_the_nearest(self):
        with pytest.raises(InputError, match=r"'frist.weight' matches no parameter .* did you mean 'first.weight'"):
            prunable_parameters(Everything(), include="frist.weight")
        with pytest.raises(InputError, match="matches no parameter"):
            prunable_parameters(small_net(), exclude=["99.*"])

    def test_nothing_left(self):
        with pytest.raises(InputError, match="nothing is left to prune"):
            prunable_parameters(small_net(), exclude="*")
        with pytest.raises(InputError, match="nothing is left to prune"):
            prunable_parameters(nn.BatchNorm1d(3))

    def test_a_lazy_layer_needs_its_shape(self):
        with pytest.raises(InputError, match="no shape yet"):
            prunable_parameters(nn.Sequential(nn.LazyLinear(3)))


class TestEntry:
    def test_numbers_and_arrays_become_bool_tensors(self):
        masks = Masks({"a": torch.tensor([1.0, 0.0]), "b": np.array([[0, 1]]), "c": [True], "d": torch.tensor(1)})
        assert all(mask.dtype == torch.bool and mask.device.type == "cpu" for mask in masks.values())
        assert [mask.tolist() for mask in masks.values()] == [[True, False], [[False, True]], [True], True]

    @pytest.mark.parametrize("value", [[0.5, 1.0], [float("nan"), 1.0], [float("inf"), 0.0], [2, 1], [-1, 0]])
    def test_other_numbers_are_refused(self, value):
        with pytest.raises(InputError, match="mask of 'w' must be bool or exactly 0 and 1"):
            Masks({"w": torch.tensor(value)})

    @pytest.mark.parametrize("value", ["text", [[1], [1, 0]], None])
    def test_what_is_no_array_is_refused(self, value):
        with pytest.raises(InputError, match="mask of 'w'"):
            Masks({"w": value})

    def test_empty(self):
        with pytest.raises(InputError, match="no masks"):
            Masks({})
        with pytest.raises(InputError, match="no elements"):
            Masks({"w": torch.zeros(0)})

    def test_settings_must_be_plain(self):
        with pytest.raises(InputError, match="JSON"):
            Masks({"w": torch.ones(1)}, settings={"loss": object()})

    def test_the_callers_tensor_is_copied(self):
        mask = torch.ones(3, dtype=torch.bool)
        masks = Masks({"w": mask})
        mask.zero_()
        assert masks["w"].all()


def test_counts_density_and_empty_layers():
    masks = Masks({"a": torch.tensor([[1, 0], [0, 0]]), "b": torch.zeros(6), "c": torch.ones(2)})
    assert masks.density == 3 / 12
    assert masks.sparsity == 9 / 12
    assert masks.empty_layers() == ["b"]
    assert masks.counts().to_dict("list") == {
        "name": ["a", "b", "c"],
        "kept": [1, 0, 2],
        "total": [4, 6, 2],
        "density": [0.25, 0.0, 1.0],
    }
    assert "sparsity=0.75" in repr(masks)


def test_equality_is_of_the_masks():
    a = Masks({"w": torch.tensor([1, 0])}, algorithm="x")
    assert a == Masks({"w": torch.tensor([True, False])})
    assert a != Masks({"w": torch.tensor([1, 1])})
    assert a != Masks({"v": torch.tensor([1, 0])})
    assert a != 3


def test_check_names_what_does_not_fit():
    model = small_net()
    with pytest.raises(InputError, match=r"no parameter '0.weights' \(nearest to '0.weights': '0.weight'\)"):
        Masks({"0.weights": torch.ones(6, 4)}).check(model)
    with pytest.raises(InputError, match=r"0.weight is \(4, 6\) in the masks and \(6, 4\) in the model"):
        Masks({"0.weight": torch.ones(4, 6)}).apply(model)
    Masks.dense(model).check(model)


def test_apply_zeroes_only_the_pruned_weights():
    model = small_net()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    masks = Masks({"0.weight": torch.cat([torch.zeros(1, 4), torch.ones(5, 4)])})
    assert masks.apply(model) is model
    assert (model[0].weight[0] == 0).all()
    assert torch.equal(model[0].weight[1:], before["0.weight"][1:])
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if name != "0.weight")


def test_apply_reaches_an_alias_and_tied_modules():
    model = Everything()
    Masks({"tied.weight": torch.zeros(4, 4)}).apply(model)
    assert not model.first.weight.any()


def test_from_nonzero_finds_applied_masks():
    model = small_net()
    masks = half_masks(model)
    assert Masks.from_nonzero(masks.apply(model)) == masks
    assert Masks.dense(model).density == 1.0


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


class TestHold:
    @pytest.mark.parametrize("kind", OPTIMIZERS)
    def test_pruned_weights_stay_exactly_zero_and_others_move(self, kind):
        torch.manual_seed(0)
        model = small_net()
        optimizer = OPTIMIZERS[kind](model.parameters())
        inputs, targets = torch.randn(32, 4), torch.randint(3, (32,))

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            return loss

        for _ in range(3):  # builds up momentum in weights that are pruned afterwards
            optimizer.step(closure)
        masks = half_masks(model)
        masks.hold(model, optimizer)
        kept = {name: dict(model.named_parameters())[name].detach().clone() for name in masks}
        for _ in range(10):
            optimizer.step(closure)
            for name, mask in masks.items():
                weight = dict(model.named_parameters())[name].detach()
                assert (weight[~mask] == 0.0).all()
        assert all(not torch.equal(dict(model.named_parameters())[name], kept[name]) for name in masks)

    def test_held_training_is_training_of_the_masked_weights_alone(self):
        torch.manual_seed(0)
        held, reference = small_net(), small_net()
        reference.load_state_dict(held.state_dict())
        masks = half_masks(held)
        optimizer = OPTIMIZERS["sgd"](held.parameters())
        masks.hold(held, optimizer)
        masks.apply(reference)
        plain = OPTIMIZERS["sgd"](reference.parameters())
        inputs, targets = torch.randn(32, 4), torch.randint(3, (32,))
        for _ in range(5):
            for model, steps in ((held, optimizer), (reference, plain)):
                steps.zero_grad()
                nn.functional.cross_entropy(model(inputs), targets).backward()
                if model is reference:
                    for name, mask in masks.items():
                        dict(model.named_parameters())[name].grad.mul_(mask)
                steps.step()
        for a, b in zip(held.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(a, b)

    def test_remove_lets_go(self):
        torch.manual_seed(0)
        model = small_net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        masks = half_masks(model)
        with masks.hold(model, optimizer) as held:
            pass
        held.remove()
        nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,))).backward()
        optimizer.step()
        assert (model[0].weight[~masks["0.weight"]] != 0).any()

    def test_an_optimizer_of_another_model_is_refused(self):
        model = small_net()
        with pytest.raises(InputError, match="none of the masked parameters"):
            Masks.dense(model).hold(model, torch.optim.SGD(small_net().parameters(), lr=0.1))


class TestFiles:
    def test_round_trip(self, tmp_path: Path):
        masks = Masks(
            {"z.weight": torch.rand(3, 4) < 0.5, "b": torch.rand(2, 3, 1, 1) < 0.5},
            algorithm="snip",
            settings={"batch_size": 128, "input_shape": (3, 4), "include": ["a*"], "mode": None},
            seed=7,
            sparsity=0.9,
        )
        path = masks.save(tmp_path / "masks.safetensors")
        loaded = Masks.load(path)
        assert loaded == masks
        assert list(loaded) == list(masks)
        assert (loaded.algorithm, loaded.settings, loaded.seed, loaded.asked_sparsity) == (
            "snip",
            masks.settings,
            7,
            0.9,
        )
        assert [p.name for p in tmp_path.iterdir()] == ["masks.safetensors"]

    @given(
        values=st.dictionaries(
            st.text("abc.123", min_size=1, max_size=8), st.lists(st.booleans(), min_size=1, max_size=9), min_size=1
        )
    )
    def test_round_trip_of_any_masks(self, tmp_path_factory, values):
        masks = Masks({name: torch.tensor(value) for name, value in values.items()})
        assert Masks.load(masks.save(tmp_path_factory.mktemp("m") / "m.safetensors")) == masks

    def test_provenance_is_json_in_the_header(self, tmp_path: Path):
        path = Masks({"w": torch.ones(2)}, algorithm="er", seed=1).save(tmp_path / "m.safetensors")
        raw = path.read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        assert json.loads(header["__metadata__"]["provenance"])["algorithm"] == "er"

    @pytest.mark.parametrize("keep", [0, 5, 30, -1])
    def test_a_truncated_file(self, tmp_path: Path, keep: int):
        path = Masks({"w": torch.ones(20)}).save(tmp_path / "m.safetensors")
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(InputError, match=r"not a whole safetensors file"):
            Masks.load(path)

    def test_masks_that_torch_has_saved(self, tmp_path: Path):
        torch.save({"w": torch.ones(2)}, tmp_path / "m.pt")
        with pytest.raises(InputError, match=r"not a whole safetensors file.*topo.Masks\(.*\).save\(FILE\) writes"):
            Masks.load(tmp_path / "m.pt")

    def test_files_of_other_kinds(self, tmp_path: Path):
        path = tmp_path / "m.safetensors"
        path.write_bytes(b"This is a text file and nothing else. " * 9)
        with pytest.raises(InputError, match="not a whole safetensors file"):
            Masks.load(path)
        save_file({"w": torch.randn(3)}, path)
        with pytest.raises(InputError, match="does not hold masks: the mask of 'w'"):
            Masks.load(path)
        save_file({"w": torch.randn(3).bfloat16()}, path)
        with pytest.raises(InputError):
            Masks.load(path)
        for provenance in ("{broken", "[1]", '{"colour": "red"}', '{"settings": 3}', "7"):
            save_file({"w": torch.ones(3)}, path, metadata={"provenance": provenance})
            with pytest.raises(InputError, match="does not hold masks"):
                Masks.load(path)
        for order in ('["v"]', '["w", "w"]', "[]", "3", '[["w"]]', "[" * 9_000):
            save_file({"w": torch.ones(3)}, path, metadata={"order": order})
            with pytest.raises(InputError, match="does not hold masks"):
                Masks.load(path)
        deep = '{"settings": {"a": ' + "[" * 500 + "]" * 500 + "}}"
        for provenance in (deep, '{"seed": true}', '{"seed": 0.5}', '{"sparsity": 7}', '{"algorithm": ["er"]}'):
            save_file({"w": torch.ones(3)}, path, metadata={"provenance": provenance})
            with pytest.raises(InputError, match="does not hold masks"):
                Masks.load(path)
        save_file({"w": torch.ones(3).to(torch.float8_e4m3fn)}, path)
        with pytest.raises(InputError, match="holds numbers of kind F8_E4M3, which only torch can read"):
            Masks.load(path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="is no file"):
            Masks.load(tmp_path / "pipe")

    def test_a_weight_that_changes_sides_is_noticed(self, tmp_path: Path):
        path = Masks({"w": torch.ones(20)}).save(tmp_path / "m.safetensors")
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        with pytest.raises(InputError, match="damaged: its content is not what was written"):
            Masks.load(path)

    def test_missing_file_and_folder(self, tmp_path: Path):
        with pytest.raises(InputError, match="does not exist"):
            Masks.load(tmp_path / "none.safetensors")
        with pytest.raises(InputError):
            Masks.load(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot write"):
            Masks({"w": torch.ones(1)}).save(tmp_path / "file" / "m.safetensors")

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes anywhere")
    def test_a_read_only_folder(self, tmp_path: Path):
        tmp_path.chmod(0o500)
        with pytest.raises(InputError, match="cannot write"):
            Masks({"w": torch.ones(1)}).save(tmp_path / "m.safetensors")

    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        path = Masks({"w": torch.ones(2)}).save(tmp_path / "m.safetensors")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(InputError, match="No space left on device"):
            Masks({"w": torch.zeros(2)}).save(path)
        assert Masks.load(path)["w"].all()
        assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


class TestState:
    def test_install_writes_the_state_and_then_the_zeros(self):
        source, target = small_net(), small_net()
        source[1].running_mean += 3.0
        masks = half_masks(source)
        masks.state = {key: value.clone() for key, value in source.state_dict().items()}
        assert masks.install(target) is target
        for name, value in target.state_dict().items():
            expected = source.state_dict()[name]
            assert torch.equal(value, expected * masks[name] if name in masks else expected)
        assert any(torch.any(source.state_dict()[name][~mask]) for name, mask in masks.items())

    def test_install_without_a_state_only_applies(self):
        model = small_net()
        before, masks = {k: v.clone() for k, v in model.state_dict().items()}, half_masks(model)
        masks.install(model)
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name] * masks[name] if name in masks else before[name])

    def test_a_state_of_another_model_is_refused_before_anything_is_written(self):
        masks = half_masks(small_net())
        masks.state = small_net().state_dict()
        other = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
        before = {k: v.clone() for k, v in other.state_dict().items()}
        with pytest.raises(InputError, match="do not fit the model"):
            masks.install(other)
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())

    def test_it_is_not_saved(self, tmp_path: Path):
        masks = half_masks(small_net())
        assert masks.state is None
        masks.state = small_net().state_dict()
        assert Masks.load(masks.save(tmp_path / "m.safetensors")).state is None


@pytest.mark.parametrize("value", ["masks.safetensors", [1, 2], torch.ones(2, 3), {"weight": torch.rand(2, 3)}])
def test_every_verb_refuses_masks_that_are_none_in_the_same_words(value):
    net, data = nn.Linear(3, 2), (torch.rand(4, 3), torch.arange(4) % 2)
    verbs = [
        lambda: topo.Masks(value),
        lambda: topo.encode(net, value, example=(3,)),
        lambda: topo.compact(net, value, (3,)),
        lambda: topo.training.train(net, data, masks=value, device="cpu"),
    ]
    for verb in verbs:
        with pytest.raises(
            InputError, match=r"must be bool (tensors by parameter name, as topo\.prune|or exactly 0 and 1)"
        ):
            verb()


def test_masks_of_a_wrapped_model_fit_the_bare_one():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    wrapped = Masks({f"module.{name}": mask for name, mask in Masks.dense(net).items()})
    wrapped["module.0.weight"][0] = False
    said = r"the mask of 'module\.0\.weight' is taken for that of '0\.weight', and 1 more alike"
    with pytest.warns(UserWarning, match=said):
        wrapped.apply(net)
    assert not net[0].weight[0].any() and net[0].weight[1:].all()
    with pytest.warns(UserWarning, match=said):
        assert topo.encode(net, wrapped, example=(4,)).n_edges == 8 + 6
    with pytest.warns(UserWarning, match=said), wrapped.hold(net, torch.optim.SGD(net.parameters(), lr=1.0)):
        pass
    with pytest.warns(UserWarning, match=r"the mask of '0\.weight' is taken for that of 'module\.0\.weight'"):
        Masks({"0.weight": wrapped["module.0.weight"]}).apply(nn.DataParallel(net))
    with pytest.raises(InputError, match=r"no parameter 'encoder\.0\.weight'"):
        Masks({"encoder.0.weight": torch.ones(3, 4)}).apply(net)
