"""Sparsity of the network's weights, direct and effective, from what the encoder counted."""

from __future__ import annotations

from .graph_view import GraphView
from .registry import Undefined, metric


@metric(
    "direct_sparsity",
    category="sparsity",
    formula=r"1 - \frac{\text{kept weights}}{\text{weights}}",
    bounds=(0, 1),
    cost="O(weights)",
    computed_by="arrays",
)
def direct_sparsity(view: GraphView) -> float:
    """Fraction of the weights that the masks remove."""
    return 1 - _fraction(view, "weights_kept")


@metric(
    "effective_sparsity",
    category="sparsity",
    encodings="network",
    formula=r"1 - \frac{\text{kept weights on a path from } I \text{ to } O}{\text{weights}}",
    bounds=(0, 1),
    cost="O(N + E)",
    computed_by="arrays",
)
def effective_sparsity(view: GraphView) -> float:
    """Fraction of the weights that are removed, or kept but on no path from the input to the output.

    Vysogorets, Kempe, *Connectivity matters: neural network pruning through the lens of effective
    sparsity*, JMLR 24 (2023).
    """
    return 1 - _fraction(view, "weights_effective")


def _fraction(view: GraphView, count: str) -> float:
    missing = [name for name in ("weights_total", count) if view.attributes.get(name) is None]
    if missing:
        raise Undefined(f"the graph does not know its network's {' and '.join(missing)}")
    if view.attributes["weights_total"] == 0:
        raise Undefined("the network has no prunable weight")
    return view.attributes[count] / view.attributes["weights_total"]
