"""What every test runs under: one thread, no window, no network, repeatable examples."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Numerical libraries read these when they are first imported, and worker processes inherit them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "Agg"
# Processes that tests start need not compile all of topo each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A loaded machine must not fail a property test, so neither deadline nor the check on slow examples.
settings.register_profile(
    "topo",
    deadline=None,
    max_examples=30,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("topo")

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Have the garbage collector go through less, and less often: modules and tests all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
        gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def traces_of_all_tests() -> None:
    """Keep the traces of all tests, many of which trace the same networks."""
    from topo.dag import kept_traces

    kept_traces.MAX_TRACES = 1000


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of CIFAR-10 and the published tables, kept beside the repository; skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the data folder ../shared/data is not there (looked for {folder})")
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail any test that connects to another machine."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to connect to {address}; tests use no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
