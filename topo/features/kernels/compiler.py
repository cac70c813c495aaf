"""The one place that knows numba: whether it is there, and how kernels are compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

__all__ = ["available", "njit"]

Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def available() -> bool:
    """Whether kernels can be compiled here; when they can not, this is said once.

    Returns
    -------
    bool
        False where numba is not installed or does not load.
    """
    try:
        import numba  # noqa: F401
    except Exception as error:  # a compiler that does not fit the machine fails in ways of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(
            f"numba does not load ({reason}), so graphs are measured without compiled code: slower, with equal values.",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


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

    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder to keep it in
        return cast(Function, numba.njit(nogil=True)(function))
