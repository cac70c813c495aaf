from __future__ import annotations

import subprocess
import sys

import pytest

from topo.torchvision_import import import_torchvision

SCRIPT = "from topo.torchvision_import import import_torchvision; print(import_torchvision().__name__)"

NEEDS_OPERATOR = """
import torch
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: dets)
"""


def run_with(tmp_path, init: str) -> subprocess.CompletedProcess:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "early.py").write_text("")
    (package / "__init__.py").write_text("from . import early\n" + init)
    (package / "models.py").write_text("")
    (package / "datasets.py").write_text("")
    command = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {SCRIPT}"
    return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)


def test_it_is_the_module_itself():
    module = import_torchvision()
    assert module is sys.modules["torchvision"]
    assert module.models.resnet18 and module.datasets.CIFAR10


@pytest.mark.slow
def test_missing_operators_are_declared(tmp_path):
    assert run_with(tmp_path, NEEDS_OPERATOR).stdout.strip() == "torchvision"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["something else is broken", "operator torchvision::warp does not exist"])
def test_other_failures_pass_through(tmp_path, text):
    failed = run_with(tmp_path, f"raise RuntimeError({text!r})")
    assert failed.returncode == 1
    assert failed.stderr.strip().endswith(f"RuntimeError: {text}")
