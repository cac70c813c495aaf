from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def fewer_trees() -> Iterator[None]:
    """Forests that take less time; what tests plant is plain enough for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topo.stats.predictors.TREES", 10)
        yield
