"""Where numbers come from: versions, device and threads, every setting after defaults, a fingerprint of the data."""

from __future__ import annotations

import inspect
import json
import platform
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils import _pytree as pytree

from .. import __version__
from ..datasets import Dataset
from ..encoding import encoding_options
from ..models import MODELS
from ..pruning import PRUNERS
from ..validation import settings_of
from .grid import FORMAT, Cell

__all__ = ["differences", "digest_of_facts", "fingerprint", "is_provenance", "provenance"]

DISTRIBUTION = "topo-sparse"
MOST_THREADS = 2**16
_fingerprints: WeakKeyDictionary[Dataset, str] = WeakKeyDictionary()
_lock = threading.Lock()


def provenance(cell: Cell, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """All that a cell's numbers depend on, but for its sparsity and seed, which its row names.

    Parameters
    ----------
    cell
        The cell.
    dataset
        Its data.
    device
        Where it is computed.

    Returns
    -------
    dict
        Plain values: ``environment`` (versions, device, threads), ``settings`` (of dataset, model, pruner, recipe,
        encodings, after defaults) and ``data``, the fingerprint.
    """
    settings = {
        "format": FORMAT,
        "dataset": cell.dataset.decides(),
        "model": _with_defaults(MODELS.get(cell.model.name), cell.model.model_dump(mode="json", exclude={"label"})),
        "pruner": None
        if cell.pruner is None
        else _with_defaults(PRUNERS[cell.pruner.name], cell.pruner.model_dump(mode="json", exclude={"label"}))
        | {"stage": cell.pruner.applied_at},
        "recipe": asdict(cell.recipe),
        "encodings": [
            {"name": e.name, "prefix": e.prefix, "controls": e.controls or 0, **encoding_options(e.name, e.settings)}
            for e in cell.encodings
        ],
        "metrics": sorted(cell.metrics) if cell.metrics and cell.encodings else None,
        "code": cell.decides().get("code", []),
    }
    # As JSON has it, so that facts read back are equal to these.
    facts = {"environment": environment(device), "settings": settings, "data": fingerprint(dataset)}
    return json.loads(json.dumps(facts, default=str))


def is_provenance(facts: Any) -> bool:
    """Whether facts that were read from a file are of the form that `provenance` gives them.

    Parameters
    ----------
    facts
        Of a record, which may be of any kind.

    Returns
    -------
    bool
        False for anything that is no mapping, and where the versions or the number of threads are something else.

    Examples
    --------
    >>> is_provenance({"environment": {"topo": "0.1.0", "python": "3.12", "device": "cpu", "threads": 1}})
    True
    >>> is_provenance(["environment"])
    False
    """
    told = facts.get("environment") if isinstance(facts, dict) else None
    if not isinstance(told, dict) or not {"topo", "python", "device", "threads"} <= told.keys():
        return False
    threads = told["threads"]
    texts = (value for name, value in told.items() if name != "threads")
    return type(threads) is int and 0 < threads <= MOST_THREADS and all(isinstance(v, str | None) for v in texts)


def environment(device: torch.device) -> dict[str, Any]:
    """Versions of this package, of Python and of what the package needs; the device, and the threads of this process.

    Parameters
    ----------
    device
        Where is computed.

    Returns
    -------
    dict
        Plain values.
    """
    on_gpu = device.type == "cuda"
    return {
        **_versions(),
        "device": device.type,
        "processor": torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if on_gpu else None,
        "threads": torch.get_num_threads(),
    }


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    versions = {
        "topo": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    try:
        needed = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requires(DISTRIBUTION) or [] if ";" not in text]
    except PackageNotFoundError:
        needed = ["torch", "numpy", "scipy", "pandas"]
    for name in sorted(needed):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def fingerprint(dataset: Dataset) -> str:
    """Hash of all samples and targets of a dataset, taken once.

    Parameters
    ----------
    dataset
        The dataset.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    with _lock:
        if dataset not in _fingerprints:
            digest = sha256()
            for split in (dataset.train, dataset.test):
                if split is None:
                    continue
                for tensor in pytree.tree_leaves((split.inputs, split.targets)):
                    digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
                    digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
            _fingerprints[dataset] = digest.hexdigest()[:16]
        return _fingerprints[dataset]


def digest_of_facts(facts: Mapping[str, Any]) -> str:
    """Hash by which a row names its provenance.

    Parameters
    ----------
    facts
        What `provenance` returned.

    Returns
    -------
    str
        12 hexadecimal digits.
    """
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def differences(before: Any, now: Any, place: str = "") -> list[str]:
    """In what two provenances differ.

    Parameters
    ----------
    before, now
        What `provenance` returned.
    place
        What each difference is named after.

    Returns
    -------
    list
        Such as ``"environment.torch was 2.8.0 and is 2.9.1"``.

    Examples
    --------
    >>> differences({"environment": {"threads": 1}}, {"environment": {"threads": 2}})
    ['environment.threads was 1 and is 2']
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = dict.fromkeys((*before, *now))
        return [
            line
            for name in names
            for line in differences(before.get(name), now.get(name), f"{place}.{name}".lstrip("."))
        ]
    return [] if before == now else [f"{place} was {before} and is {now}"]


def _with_defaults(function: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Settings as given, and those left out as the function has them."""
    if not callable(function):
        return given
    return {s.name: s.default for s in settings_of(function) if s.default is not inspect.Parameter.empty} | given
