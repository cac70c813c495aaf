from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from topo.checkpoint import load_checkpoint, save_checkpoint
from topo.errors import InputError


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


@pytest.mark.parametrize("wrap", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_files(tmp_path: Path, wrap: str | None, suffix: str):
    model, other = net(), net()
    state = model.state_dict()
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / f"net{suffix}")
    load_checkpoint(other, tmp_path / f"net{suffix}")
    assert same(model, other)


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
    with pytest.raises(InputError, match="plain tensors"):
        load_checkpoint(net(), "net.pt")
    assert not Path("ran").exists()


def test_files_of_other_kinds(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(net(), tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="not a file"):
        load_checkpoint(net(), tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match="not a checkpoint by its name"):
        load_checkpoint(net(), tmp_path / "net.onnx")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="does not hold a state dict"):
        load_checkpoint(net(), tmp_path / "list.pt")


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
