"""The one place that knows numba: whether it is there, and how kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, cast

from ...errors import warn

__all__ = ["available", "compilation_announced", "njit"]

Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def available() -> bool:
    """Whether kernels can be compiled here; when they can not, this is said once.

    Returns
    -------
    bool
        False where numba is not installed, does not load, cannot compile or is told not to.
    """
    try:
        import numba
    except Exception as error:  # a compiler that does not fit the machine fails in ways of its own
        return _not_there("does not load", error)
    if getattr(
        numba.config, "DISABLE_JIT", False
    ):  # kernels would run as they are written, a hundred times as slow as anything else
        return _not_there("does not compile", RuntimeError("NUMBA_DISABLE_JIT is set"))
    try:
        _compiled(numba, _one_more)(1)
    except Exception as error:
        return _not_there("cannot compile", error)
    return True


def _not_there(what: str, error: Exception) -> bool:
    reason = " ".join(str(error).split()) or type(error).__name__
    warn(
        f"numba {what} ({reason}), so graphs are measured without compiled code: slower, with equal values.",
    )
    return False


def _one_more(number: int) -> int:
    return number + 1


@contextmanager
def compilation_announced(say: Callable[[], None]) -> Iterator[None]:
    """Call a function when the first kernel is compiled that no earlier run left on disk, and not again.

    Parameters
    ----------
    say
        Takes nothing.

    Yields
    ------
    None
        Kernels are called meanwhile.
    """
    from numba.core import event

    class Listener(event.Listener):
        said = False

        def on_start(self, event: Any) -> None:
            if not self.said:
                self.said = True
                say()

        def on_end(self, event: Any) -> None: ...

    with event.install_listener("numba:compile", Listener()):
        yield


def njit(function: Function) -> Function:
    """Compile a function at its first call and keep the result on disk, if some folder for it can be written.

    Parameters
    ----------
    function
        Over arrays and numbers.

    Returns
    -------
    callable
        The compiled function; without numba the function itself, which nothing calls then.
    """
    if not available():
        return function
    import numba

    return _compiled(numba, function)


def _compiled(numba: Any, function: Function) -> Function:
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder to keep it in
        return cast(Function, numba.njit(nogil=True)(function))
