"""A study small enough to run in a test."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from topo.study import Study, StudyConfig

TINY = {
    "name": "tiny",
    "datasets": [{"name": "digits", "subset": 3}],
    "models": [{"name": "digits-mlp", "widths": [8]}],
    "pruners": ["er", "magnitude"],
    "sparsities": [0.5, 0.8],
    "seeds": [0],
    "recipe": {"name": "digits", "epochs": 1},
    "encodings": ["rolled"],
    "metrics": ["local"],
}


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """A table of results without what differs from run to run."""
    differing = {"date", "provenance", *(name for name in table.columns if name.startswith("seconds"))}
    return table[sorted(set(table.columns) - differing)]


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Study]:
    """Makes the tiny study in a fresh folder, with some keys changed."""

    def make(**changes: Any) -> Study:
        return Study(StudyConfig.parse(TINY | changes), tmp_path / "study")

    return make


@pytest.fixture
def here() -> Iterator[ThreadPoolExecutor]:
    """An executor in this process, where monkeypatching reaches."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture(autouse=True)
def hangups_heeded() -> Iterator[None]:
    """A job in the background, as CI may be, is started with SIGHUP ignored, and hands that on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
