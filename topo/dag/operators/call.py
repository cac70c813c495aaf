"""One operation as seen from one of its inputs, and the register of what operations mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...errors import InputError
from ..dag import Hole, Step, Value
from ..maps import LinearMap, Weight

__all__ = ["RULES", "Call", "is_parametric", "is_pooling", "rule", "step_map"]


@dataclass(frozen=True)
class Call:
    """One step as seen from one of its inputs: arguments by position or name, and the weights it may read."""

    step: Step
    slot: int
    values: Mapping[str, Tensor]
    lookup: Callable[[str], Weight]
    options: Mapping[str, Any]

    @property
    def source_shape(self) -> tuple[int, ...]:
        return self.step.source_shapes[self.slot]

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self.step.shape

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument as traced: a `Hole`, a `Value` or a plain value."""
        if position < len(self.step.args):
            return self.step.args[position]
        return self.step.kwargs.get(name, default)

    def integers(self, position: int, name: str, default: Any, count: int) -> tuple[int, ...]:
        """An argument of `count` integers; a single one is repeated."""
        found = self.argument(position, name, default)
        values = [int(v) for v in ([found] if isinstance(found, int) else found)]
        return tuple(values * count if len(values) == 1 else values)

    def weight(self, position: int, name: str = "weight") -> Weight:
        found = self.argument(position, name)
        if isinstance(found, Hole):
            raise self.refusal("its weight is computed from the input")
        return self.lookup(found.name)

    def refusal(self, why: str) -> InputError:
        """The error for a step that has no element-level meaning."""
        where = f"module {self.step.module!r}" if self.step.module else "the model"
        return InputError(
            f"cannot encode operation {self.step.name!r} of {where}: {why}; replace the operation or leave that "
            "part of the network out."
        )


Rule = Callable[[Call], LinearMap]
RULES: dict[str, Rule] = {}
PARAMETRIC: set[str] = set()


def rule(*names: str, parametric: bool = False) -> Callable[[Rule], Rule]:
    """Register the rule of the operations called `names`; `parametric` ones have a weight and make a node."""

    def add(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
            if parametric:
                PARAMETRIC.add(name)
        return function

    return add


def is_parametric(step: Step) -> bool:
    """Whether the step multiplies its one input by a weight matrix or kernel, so that its result is a node."""
    if step.name not in PARAMETRIC:
        return False
    leaves = [arg for arg in step.args if isinstance(arg, Hole | Value)]
    return any(isinstance(leaf, Value) for leaf in leaves) and len(step.source_shapes) == 1


def is_pooling(step: Step) -> bool:
    """Whether the step pools windows or whole axes."""
    return "pool" in step.name or step.name in ("mean", "amax")


def step_map(call: Call) -> LinearMap:
    """The map of one step from one of its slots; raises `InputError` for an operation without a rule."""
    if call.step.name in RULES:
        return RULES[call.step.name](call)
    raise call.refusal("the toolkit knows no element-level meaning for it")
