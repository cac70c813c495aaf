"""The public implementations that pruners are compared with: which, at which commits, and how their code is run."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

REPOSITORIES = {
    "A-Klass/torch_topkast": "bf38ad2918fd90f7962dd00868f3e60368c3a1ba",
    "alecwangcq/GraSP": "f17d87ac537bfce476ac2424171a8b6eb56499db",
    "allenai/hidden-networks": "dddf2d093de568fc76d460a77fa2650e56e79c1a",
    "AMLab-Amsterdam/L0_regularization": "39a5fe68062c9b8540dba732339c1f5def451f1b",
    "biomedical-cybernetics/Cannistraci-Hebb-Training-Soft-Rule-": "1f91f316ce449024ea8ed0ef73d819c14bfdd310",
    "biomedical-cybernetics/Relative-importance-and-activation-pruning": "7bc55b06924659ea977f7804b773ce3ef0d55c2f",
    "boone891214/MEST": "a4280265512564928c322fb078c33fe5b76ca87c",
    "calgaryml/condensed-sparsity": "3052bb8bd708918576df4e6e66f273e37c960b24",
    "facebookresearch/open_lth": "2ce732fe48abd5a80c10a153c45d397b048e980c",
    "ganguli-lab/Synaptic-Flow": "9dfa57aa4012c34028ee646d367f18e32f0e3bc7",
    "google-research/rigl": "d39fc7d46505cb3196cb1edeb32ed0b6dd44c0f9",
    "he-y/filter-pruning-geometric-median": "44fbab47b246e8b11bc8008a7bebfe06c0e391b8",
    "IST-DASLab/ACDC": "ac53210b6adc1f2506ff909de08172ed9cad25d5",
    "IST-DASLab/OBC": "9b7979bfc9ee20d87db553823a32ee9890beaa99",
    "IST-DASLab/sparsegpt": "147d2159dc4f3e9f73e47b32c04d7b3708f44436",
    "IST-DASLab/WoodFisher": "d4b1a968947d9850ebf6b67935165e9453495962",
    "iurada/px-ntk-pruning": "ed6c40ea576e4651d6665b3a45741f6eb67ceef8",
    "jaeho-lee/layer-adaptive-sparsity": "94e53b1c45c41add98b5c9bc3b03e7203a620221",
    "lmbxmu/HRank": "c03ac851ec93413a6937a477490217e3ba4f8156",
    "locuslab/wanda": "8e8fc87b4a2f9955baa7e76e64d5fce7fa8724a6",
    "lolemacs/continuous-sparsification": "5bd4039f80724bbd71a78ba45d7efd35ea2e8e20",
    "luuyin/OWL": "dddb7a4bffe27c73e4c8cf692b3a5e36401532c8",
    "mil-ad/prospr": "a92177989f4480f1f2b43a48b3e18a6597ebba6d",
    "mil-ad/snip": "883c8050d88554a8d85083013d7d1ddd7ead54c4",
    "naver/force": "7494eed332b0494c283d6f3a2ed7a033895a6ccb",
    "RAIVNLab/STR": "cc74d38cecbe6bd2c9e1d1aad02d12235d9dabd4",
    "Shiweiliuiiiiiii/In-Time-Over-Parameterization": "1b6a89e6a467c8fc09f5c9571927ca5ad7c7ef00",
    "ShreyasMalakarjunPatil/PHEW": "c4a0d40be8582a8ea51a4eb01338202f62277225",
    "TimDettmers/sparse_learning": "e19ff16c475462d50ad247ec2927113617662a4e",
    "VITA-Group/GraNet": "f338a2479758ba35660c3d64422ee9c83abb02a5",
    "YiteWang/NTK-SAP": "e23682bc8798795107961af1afb236d349bf5c00",
}
TORCH_PRUNING = "VainF/Torch-Pruning"
CPU = torch.device("cpu")


class Skipped(Exception):
    """Why a comparison was not made."""


class Reference:
    """A clone of a repository, whose modules are imported one by one and leave nothing behind."""

    def __init__(self, folder: Path, repository: str) -> None:
        self.root = folder / repository.split("/")[1]
        if not self.root.is_dir():
            raise Skipped("not in the folder of references")

    @property
    def commit(self) -> str:
        command = ["git", "-C", str(self.root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def module(self, name: str, folder: str = "", **stubs: Any) -> Any:
        """A module by its dotted name below `folder`; `stubs` take the place of packages that it does not use."""
        place = str(self.root / folder)
        before = dict(sys.modules)
        sys.path.insert(0, place)
        try:
            sys.modules.update({key.replace("__", "."): value for key, value in stubs.items()})
            return importlib.import_module(name)
        finally:
            sys.path.remove(place)
            for key in set(sys.modules) - set(before):
                origin = getattr(sys.modules[key], "__file__", None) or ""
                if key.replace(".", "__") in stubs or not origin or origin.startswith(str(self.root)):
                    del sys.modules[key]

    def definitions(self, path: str, *names: str, replace: Mapping[str, str] | None = None, **given: Any) -> Any:
        """Functions and classes of a file that cannot be imported; methods are named ``Class.method``."""
        text = (self.root / path).read_text()
        for old, new in (replace or {}).items():
            text = text.replace(old, new)
        nodes = {}
        for node in ast.parse(text).body:
            nodes[getattr(node, "name", None)] = node
            for child in node.body if isinstance(node, ast.ClassDef) else ():
                nodes[f"{node.name}.{getattr(child, 'name', None)}"] = child
        tree = ast.Module([nodes[name] for name in names], [])
        space: dict[str, Any] = {"torch": torch, "np": np, "nn": nn, "Mask": Tensor, **given}
        exec(compile(tree, path, "exec"), space)
        return SimpleNamespace(**{name.split(".")[-1]: space[name.split(".")[-1]] for name in names})


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Code that asks for CUDA without looking stays on the CPU."""
    with (
        mock.patch.object(Tensor, "cuda", lambda self, *_, **__: self),
        mock.patch.object(torch.cuda, "synchronize", lambda *_: None),
    ):
        yield
