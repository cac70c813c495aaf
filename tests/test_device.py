from __future__ import annotations

import pytest
import torch

from topo.device import resolve_device
from topo.errors import InputError


def test_auto_takes_cuda_when_it_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_devices_pass_through():
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")


def test_cuda_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(InputError, match="'cuda:1' is not available"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["gpu", "cdua", "meta", None, "cpu:x"])
def test_unknown_names_are_refused(name):
    with pytest.raises(InputError, match="unknown device"):
        resolve_device(name)
