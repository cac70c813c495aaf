"""A second device for machines that have none: which tensors lie there, what is copied, and when its host waits.

Tensors that are moved to `DEVICE` are tensors of the CPU that are marked, and so is all that is computed from them. An
operation that mixes marked tensors with others raises `Mixed`, as CUDA would; copies between the two, and every look at
a number of a marked tensor, are counted. Tracing takes place outside.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from topo.dag import tracing
from topo.pruning.weight_uses import WeightUses

DEVICE = torch.device("xpu")
aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense, aten.nonzero, aten.equal, aten.is_nonzero, aten.masked_select, aten._unique2,
    aten.unique_dim, aten.unique_consecutive, aten.bincount,
}  # fmt: skip
INDEXED = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)


class Mixed(RuntimeError):
    """An operation on tensors of both devices."""


class ForeignDevice(TorchDispatchMode):
    """Counts copies and waits while it is entered.

    Attributes
    ----------
    copies
        How many tensors went to the device and from it.
    waits
        How often a number of it was looked at, by operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._marked: dict[int, StorageWeakRef] = {}
        self._calls = _Calls(self)

    @property
    def count(self) -> int:
        """Copies and waits together."""
        return self.copies.total() + self.waits.total()

    def mark(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._marked[storage._cdata] = StorageWeakRef(storage)
        return tensor

    def has(self, tensor: Tensor) -> bool:
        known = self._marked.get(tensor.untyped_storage()._cdata)
        return known is not None and not known.expired()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = operation.overloadpacket
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [self.has(tensor) for tensor in tensors]
        if any(there):
            indices = {id(t) for t in pytree.tree_leaves(args[1:2])} if packet in INDEXED else set()
            here = [t for t, marked in zip(tensors, there, strict=True) if not marked and t.ndim]
            if packet is aten.copy_:
                if len(set(there)) > 1 and tensors[1].ndim:
                    self.copies["to" if there[0] else "from"] += 1
            elif any(id(t) not in indices for t in here):
                raise Mixed(f"{operation} of tensors of both devices, of shapes {[tuple(t.shape) for t in tensors]}")
            elif here:
                self.copies["to"] += len(here)
            masks = [t for t in tensors if id(t) in indices and t.dtype in (torch.bool, torch.uint8)]
            if packet in WAITS or masks:
                self.waits[str(packet)] += 1
        result = operation(*args, **kwargs)
        if packet is not aten.copy_ and (any(there) or (not tensors and self._calls.on_device)):
            for leaf in pytree.tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self.mark(leaf)
        return result

    @contextmanager
    def entered(self, monkeypatch: Any) -> Any:
        """Run under it, with the toolkit taking ``device="cuda"`` for it."""
        kept_trace = tracing.kept_trace

        def traced_outside(*args: Any) -> Any:
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                return kept_trace(*args)

        monkeypatch.setattr(tracing, "kept_trace", traced_outside)
        see = WeightUses.__torch_dispatch__

        def seen(*args: Any, **kwargs: Any) -> Any:
            # Called from within an operation, where modes for functions are left.
            before, self._calls.on_device = self._calls.on_device, False
            with self._calls:
                result = see(*args, **kwargs)
            self._calls.on_device = before
            return result

        monkeypatch.setattr(WeightUses, "__torch_dispatch__", seen)
        for module in ("topo.pruning.opening", "topo.training.loop", "topo.training.evaluation"):
            monkeypatch.setattr(f"{module}.resolve_device", lambda device: DEVICE)
        with ExitStack() as stack:
            stack.enter_context(self)
            stack.enter_context(self._calls)
            yield self


class _Calls(TorchFunctionMode):
    """What is seen in Python alone: moves to a device, and which device tensors say that they are on."""

    def __init__(self, device: ForeignDevice) -> None:
        super().__init__()
        self.device = device
        self.on_device = False
        """Whether an operation runs on tensors of the device, so that what it makes for itself is there too."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        there = self.device
        if function == Tensor.device.__get__:
            return DEVICE if there.has(args[0]) else function(*args, **kwargs)
        if function in (Tensor.to, Tensor.cpu):
            return self._moved(function, args, kwargs)
        if function in (Tensor.numpy, Tensor.__array__) and there.has(args[0]):
            raise Mixed("NumPy does not read a tensor of a device; copy it first")
        where = kwargs.get("device")
        if where is not None and torch.device(where) == DEVICE:
            data = args[0] if args else None
            if function in (torch.tensor, torch.as_tensor) and not isinstance(data, Tensor):
                there.copies["to"] += 1
            return there.mark(function(*args, **{**kwargs, "device": "cpu"}))
        if function is Tensor.tolist and there.has(args[0]):
            there.waits["tolist"] += 1
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        before, self.on_device = self.on_device, any(map(there.has, given))
        try:
            return function(*args, **kwargs)
        finally:
            self.on_device = before

    def _moved(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        tensor, *rest = args
        target = torch.device("cpu") if function is Tensor.cpu else None
        if "device" in kwargs and kwargs["device"] is not None:
            target = torch.device(kwargs.pop("device"))
        left: list[Any] = []
        for value in rest:
            if isinstance(value, Tensor):
                target = DEVICE if self.device.has(value) else torch.device("cpu")
                left.append(value.dtype)
            elif isinstance(value, torch.device | str):
                target = torch.device(value)
            else:
                left.append(value)
        # What remains are a type, and whether to copy and to wait.
        dtype = next((v for v in (*left, kwargs.get("dtype")) if isinstance(v, torch.dtype)), tensor.dtype)
        result = tensor if dtype == tensor.dtype else Tensor.to(tensor, dtype)
        if target is None or (target == DEVICE) == self.device.has(tensor):
            return result
        self.device.copies["to" if target == DEVICE else "from"] += 1
        with _disable_current_modes():
            moved = result.detach().clone()
        moved = moved.requires_grad_(result.requires_grad) if moved.is_floating_point() else moved
        return self.device.mark(moved) if target == DEVICE else moved
