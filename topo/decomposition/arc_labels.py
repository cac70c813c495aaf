"""Short names for the functions on arcs, and a table of what every node is."""

from __future__ import annotations

from collections.abc import Sequence

from ..dag.dag import Dag, Step
from ..dag.operators import is_parametric, operator_of
from ..dag.structure import layer_name

__all__ = ["arc_labels", "description"]

WIDTH = 96


def step_label(dag: Dag, step: Step) -> str:
    """The layer of a parametric step, else the operation."""
    if is_parametric(step):
        return layer_name(dag, step) or step.name
    return operator_of(step).label or step.name.strip("_")


def arc_labels(dag: Dag) -> tuple[str, ...]:
    """A label for each arc: its steps from the last to the first, as functions are written.

    Without steps it is ``I``, or ``slot k`` into a fusion node.

    Parameters
    ----------
    dag
        The network.

    Returns
    -------
    tuple
        One text for each arc of ``dag.arcs``.
    """
    labels = []
    for arc in dag.arcs:
        loud = [step for step in arc.steps if not operator_of(step).silent]
        names = [step_label(dag, step) for step in reversed(loud or arc.steps[-1:])]
        labels.append("∘".join(names) or ("I" if arc.slot is None else f"slot {arc.slot}"))
    return tuple(labels)


def description(dag: Dag, order: Sequence[int], labels: Sequence[str]) -> str:
    """A table of the nodes in this order: level, node, and what the node is, each arc by its label.

    Parameters
    ----------
    dag
        The network.
    order
        Places in ``dag.nodes``, one a row.
    labels
        A text for each arc of ``dag.arcs``.

    Returns
    -------
    str
        Lines under a head, too long ones cut.
    """
    rows = [("level", "node", "is")]
    for index in order:
        node, places = dag.nodes[index], dag.places_into[index]
        terms = []
        for place in sorted(places, key=lambda place: dag.arcs[place].slot or 0):
            arc = dag.arcs[place]
            source = dag.nodes[arc.source].name
            terms.append(f"{labels[place]}({source})" if arc.steps else source)
        text = {"sum": " + ".join(terms), "concat": f"cat({', '.join(terms)})", "input": "the input"}
        rows.append((str(node.level), node.name, text.get(node.kind, f"({', '.join(terms)})")))
    wide = max(len(name) for _, name, _ in rows)
    lines = [f"{level:>5}  {name:<{wide}}  {what}".rstrip() for level, name, what in rows]
    return "\n".join(line if len(line) <= WIDTH + wide else line[: WIDTH + wide - 1] + "…" for line in lines)
