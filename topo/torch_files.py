"""PyTorch's own files: read without running code in them, refused in one sentence when they are not whole."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import InputError
from .safe_files import require_file

__all__ = ["read_torch_file", "unusual_tensor"]

# How torch names the class or function that an object in a file needs.
_OTHER_OBJECT = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+\w)")
# Bytes up to which a tensor may repeat its elements, as a broadcast one does.
_MOST_REPEATED = 1 << 26


def read_torch_file(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """What `torch.save` has written: tensors, numbers, text, lists and dictionaries. No code in the file is run.

    Parameters
    ----------
    path
        The file.
    device
        Where its tensors go.

    Returns
    -------
    object
        As it was saved.

    Raises
    ------
    InputError
        When it is missing, damaged or of another kind, or holds an object that only code could make again.
    """
    damaged = (
        f"{path} is not a whole PyTorch file: it is cut short, damaged or of another kind; save or fetch it again."
    )
    require_file(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                members = file.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > Path(path).stat().st_size:
                raise InputError(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location=device, weights_only=True)
    except InputError:
        raise
    except Exception as error:  # whatever the reader trips over in bytes that anybody may have written
        other = _OTHER_OBJECT.search(str(error))
        if other is None:
            raise InputError(damaged) from None
        raise InputError(
            f"{path} holds an object of {other[1]} beside tensors, which only code in the file could make again, "
            "and no code in a file is ever run; save the state dict alone, by torch.save(model.state_dict(), path)."
        ) from None


def unusual_tensor(tensor: Tensor) -> str:
    """What keeps a tensor from being the plain numbers of a weight; empty where nothing does.

    Parameters
    ----------
    tensor
        Any tensor.

    Returns
    -------
    str
        A word or two.

    Examples
    --------
    >>> unusual_tensor(torch.zeros(2)), unusual_tensor(torch.zeros(2).to_sparse())
    ('', 'sparse')
    """
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_meta:
        return "without values"
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"of the kind {type(tensor).__name__}"
    size = tensor.numel() * tensor.element_size()
    if size > max(tensor.untyped_storage().nbytes(), _MOST_REPEATED):
        return "larger than the values that the file holds"
    return ""
