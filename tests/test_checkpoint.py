from __future__ import annotations

import os
import warnings
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from topo.checkpoint import load_checkpoint, save_checkpoint
from topo.errors import InputError
from topo.safe_files import read_arrays


def net(width: int = 6) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_round_trip_with_buffers(tmp_path: Path):
    model = net()
    model(torch.randn(4, 3, 3, 3))
    path = save_checkpoint(model, tmp_path / "net.safetensors")
    other = net()
    assert load_checkpoint(other, path) is other
    assert same(model, other)


def test_other_dtypes_and_layouts(tmp_path: Path):
    model = net().to(torch.bfloat16, memory_format=torch.channels_last)
    path = save_checkpoint(model, tmp_path / "net.safetensors")
    assert same(load_checkpoint(net().bfloat16(), path), model)


def test_tied_weights(tmp_path: Path):
    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    load_checkpoint(other, save_checkpoint(model, tmp_path / "net.safetensors"))
    assert same(model, other)
    assert other[1].weight is other[0].weight


def loaded(file: Path, content: Any, model: nn.Module, *sentences: str) -> nn.Module:
    """The model with what a file of this content holds, and one warning where something had to be done for that."""
    torch.save(content, file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load_checkpoint(model, file) is model
    said = [f"{file} was loaded, but not as it is: {'; '.join(sentences)}."] if sentences else []
    assert [str(warning.message) for warning in caught] == said
    return model


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pth.tar", ".ckpt"])
def test_torch_files(tmp_path: Path, suffix: str):
    model = net()
    assert same(model, loaded(tmp_path / f"net{suffix}", model.state_dict(), net()))


@pytest.mark.parametrize("places", ["state_dict", "model_state_dict", "model", "net", "model net"])
def test_nested_state_dicts(tmp_path: Path, places: str):
    model = net()
    content = model.state_dict()
    for place in reversed(places.split()):
        content = {place: content, "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1)}}}}
    where = " in ".join(repr(place) for place in reversed(places.split()))
    assert same(model, loaded(tmp_path / "net.pth.tar", content, net(), f"only what is under {where} was read"))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "model.network."])
def test_names_of_wrapped_models(tmp_path: Path, prefix: str):
    model = net()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    said = f"'{prefix}0.weight' is taken for '0.weight', and so on"
    assert same(model, loaded(tmp_path / "net.pt", state, net(), said))


def test_names_of_models_compiled_in_part_and_models_that_are_wrapped(tmp_path: Path):
    model = net()
    state = {name.replace(".", "._orig_mod.", 1): tensor for name, tensor in model.state_dict().items()}
    said = "'0._orig_mod.weight' is taken for '0.weight', and so on"
    assert same(model, loaded(tmp_path / "net.pt", state, net(), said))
    said = "'0.weight' is taken for 'module.0.weight', and so on"
    assert same(model, loaded(tmp_path / "net.pt", model.state_dict(), nn.DataParallel(net()), said))


def test_prefixes_that_are_not_of_wrappers_or_not_of_all_names_stay_refused(tmp_path: Path):
    state = net().state_dict()
    for names in ({name: f"encoder.{name}" for name in state}, {"0.weight": "module.0.weight"}):
        torch.save({names.get(name, name): tensor for name, tensor in state.items()}, tmp_path / "net.pt")
        with pytest.raises(InputError, match=r"it lacks 0\.weight.*it has \w+\.0\.weight"):
            load_checkpoint(net(), tmp_path / "net.pt")


def test_weights_under_the_masks_of_pruning(tmp_path: Path):
    model = net()
    for place in (0, 3):
        prune.random_unstructured(model[place], "weight", 0.5)
    # After a training step the values behind the mask are not zero.
    plain = loaded(
        tmp_path / "net.pt",
        {f"module.{name}": tensor for name, tensor in model.state_dict().items()},
        net(),
        "module.0.weight, module.3.weight are multiplied by the masks of pruning",
        "'module.0.bias' is taken for '0.bias', and so on",
    )
    x = torch.randn(2, 3, 3, 3)
    assert torch.equal(plain.eval()(x), model.eval()(x))
    assert (plain[3].weight == 0).sum() == 6
    # A model with the same masks takes them as they are.
    again = net()
    for place in (0, 3):
        prune.identity(again[place], "weight")
    assert same(model, loaded(tmp_path / "net.pt", model.state_dict(), again))
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "3.weight_mask"}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(InputError, match=r"it has .*3\.weight_orig"):
        load_checkpoint(net(), tmp_path / "net.pt")


def test_missing_counters_and_tied_weights(tmp_path: Path):
    model = net()
    state = {name: tensor for name, tensor in model.state_dict().items() if "num_batches" not in name}
    said = "the model keeps its own 1.num_batches_tracked, which the file lacks"
    assert same(model, loaded(tmp_path / "net.pt", state, net(), said))
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
    tied[2].weight = tied[0].weight
    said = "0.weight, which the file lacks, is tied to 2.weight"
    weight = torch.randn(3, 3)
    assert torch.equal(loaded(tmp_path / "tied.pt", {"2.weight": weight}, tied, said)[0].weight, weight)


def test_names_and_shapes_that_do_not_fit(tmp_path: Path):
    path = save_checkpoint(net(), tmp_path / "net.safetensors")
    model = nn.Sequential(*net(), nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"it lacks 4.weight, 4.bias\.$"):
        load_checkpoint(model, path)
    with pytest.raises(InputError, match=r"it has 3.bias, 3.weight, which the model has not"):
        load_checkpoint(net()[:3], path)
    wide = net(7)
    before = {key: value.clone() for key, value in wide.state_dict().items()}
    with pytest.raises(
        InputError, match=r"it holds 0.weight \(6, 3, 3, 3\) where the model has \(7, 3, 3, 3\)"
    ) as caught:
        load_checkpoint(wide, path)
    assert "and 2 more" in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in wide.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("keep", [0, 4, 100, -30])
def test_truncated_files(tmp_path: Path, suffix: str, keep: int):
    path = tmp_path / f"net{suffix}"
    if suffix == ".pt":
        torch.save(net().state_dict(), path)
    else:
        save_checkpoint(net(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="is not a whole"):
        load_checkpoint(net(), path)


class Payload:
    def __reduce__(self):
        return (os.mkdir, ("ran",))


def test_no_code_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"w": Payload()}, "net.pt")
    with pytest.raises(InputError, match=r"holds an object of \w+\.mkdir beside tensors"):
        load_checkpoint(net(), "net.pt")
    assert not Path("ran").exists()


def test_what_training_code_puts_beside_tensors_is_named(tmp_path: Path):
    file = tmp_path / "run.pth"
    torch.save({"state_dict": net().state_dict(), "args": Namespace(width=6)}, file)
    with pytest.raises(
        InputError, match=r"holds an object of argparse\.Namespace .* save the state dict alone"
    ) as error:
        load_checkpoint(net(), file)
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value) and "weights_only" not in str(error.value)


def test_files_of_other_kinds(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(net(), tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        load_checkpoint(net(), tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match="not a checkpoint by its name"):
        load_checkpoint(net(), tmp_path / "net.onnx")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="does not hold a state dict"):
        load_checkpoint(net(), tmp_path / "list.pt")


def refused(file: Path, content: Any, sentence: str, model: nn.Module | None = None) -> None:
    """A file of this content is refused, in a sentence without torch's own words, and the model stays as it was."""
    torch.save(content, file)
    model = net() if model is None else model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with warnings.catch_warnings(), pytest.raises(InputError, match=sentence) as error:
        warnings.simplefilter("error")
        load_checkpoint(model, file)
    said = str(error.value)
    assert len(said) < 400 and not any(word in said for word in ("\x1b", "\n", "weights_only", "torch.load"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_no_plain_weight_is_refused(tmp_path: Path):
    file, state = tmp_path / "net.pt", net().state_dict()
    weight = state["3.weight"]
    refused(file, {**state, 3: weight}, "3 is the name of no parameter")
    refused(file, {**state, ("a", 1): weight}, "is the name of no parameter")
    with warnings.catch_warnings():  # torch means to drop both
        warnings.simplefilter("ignore")
        quantised, nested = torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), torch.nested.nested_tensor([weight])
    for odd, word in (
        (weight.to_sparse(), "sparse"),
        (weight.to("meta"), "without values"),
        (quantised, "quantised"),
        (nested, "nested"),
        (torch.zeros(1).expand(10**12), "larger than the values"),
    ):
        refused(file, {**state, "3.weight": odd}, f"holds '3.weight' {word}")
    loop: dict[str, Any] = {}
    loop["model"] = loop
    refused(file, loop, "does not hold a state dict")


def test_kinds_of_numbers_that_would_lose_what_they_say_are_refused(tmp_path: Path):
    file, state = tmp_path / "net.pt", net().state_dict()
    refused(file, {**state, "3.bias": torch.ones(2) * 1j}, "holds 3.bias of complex64 where the model has float32")
    counter = {"1.num_batches_tracked": torch.tensor(0.5)}
    refused(file, {**state, **counter}, "1.num_batches_tracked of float32 where the model has int64")
    model = net()
    torch.save({name: tensor.double() for name, tensor in model.state_dict().items()}, file)
    assert same(load_checkpoint(net(), file), model)
    save_file({"weight": torch.ones(2, 2, dtype=torch.complex64)}, tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="of complex64 where the model has float32"):
        load_checkpoint(nn.Linear(2, 2, bias=False), tmp_path / "c.safetensors")


def test_files_that_unfold_to_more_than_they_hold_are_refused(tmp_path: Path):
    torch.save(net().state_dict(), tmp_path / "net.pt")
    with (
        zipfile.ZipFile(tmp_path / "net.pt") as whole,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member))
    with pytest.raises(InputError, match="is not a whole PyTorch file: it is cut short, damaged or of another kind"):
        load_checkpoint(net(), tmp_path / "packed.pt")


def test_weights_that_change_on_the_way_are_noticed(tmp_path: Path):
    path = save_checkpoint(net(), tmp_path / "net.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged: its content is not what was written"):
        load_checkpoint(net(), path)
    with pytest.raises(InputError, match="damaged: its content is not what was written"):
        read_arrays(path)


class WithState(nn.Linear):
    def get_extra_state(self):
        return {"step": 1}

    def set_extra_state(self, state):
        pass


def test_saving_what_cannot_be_saved(tmp_path: Path):
    with pytest.raises(InputError, match=r"must end in .safetensors"):
        save_checkpoint(net(), tmp_path / "net.pt")
    with pytest.raises(InputError, match="not tensors"):
        save_checkpoint(WithState(2, 2), tmp_path / "net.safetensors")
    (file := tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        save_checkpoint(net(), file / "net.safetensors")
    assert list(tmp_path.iterdir()) == [file]
