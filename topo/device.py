"""Which device the work runs on."""

from __future__ import annotations

import torch

from .errors import InputError, unknown_name

__all__ = ["resolve_device"]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device to use: ``"auto"`` is CUDA when available and the CPU otherwise.

    Parameters
    ----------
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:<index>"`` or a `torch.device`.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    InputError
        When the name is unknown or the device is not available.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise unknown_name("device", str(device), ["auto", "cpu", "cuda"]) from None
    if resolved.type not in ("cpu", "cuda"):
        raise unknown_name("device", str(device), ["auto", "cpu", "cuda"])
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(
            f"device {str(resolved)!r} is not available (of CUDA devices there are {count}); use 'auto' or 'cpu'."
        )
    return resolved
