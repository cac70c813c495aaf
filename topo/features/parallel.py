"""Work on many graphs at once, in threads: the compiled kernels, numpy and torch release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from joblib import Parallel, delayed, effective_n_jobs
from threadpoolctl import threadpool_limits

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], n_jobs: int | None = None
) -> Iterator[tuple[int, Result]]:
    """The number of each item and ``function(item)``, in the order in which they are finished.

    Parameters
    ----------
    function
        Keeps nothing between calls.
    items
        Taken one after the other as threads get free.
    n_jobs
        Threads, as in joblib; None is one, -1 is one a core. `joblib.parallel_config` may say otherwise.

    Yields
    ------
    tuple
        Number and result.

    Examples
    --------
    >>> sorted(in_threads(abs, [-3, 2], n_jobs=2))
    [(0, 3), (1, 2)]
    """
    with ExitStack() as stack:
        if effective_n_jobs(n_jobs) > 1:
            stack.enter_context(_one_thread_each())
        jobs = (delayed(_numbered)(function, number, item) for number, item in enumerate(items))
        yield from Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator_unordered")(jobs)


def _numbered(function: Callable[[Any], Result], number: int, item: Any) -> tuple[int, Result]:
    return number, function(item)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """No threads within the threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
