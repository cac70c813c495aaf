"""A network with a single sink: where its representation by levels starts."""

from __future__ import annotations

from dataclasses import replace

from ..dag.dag import Arc, Dag, Node, Output

__all__ = ["normal_form"]


def normal_form(dag: Dag) -> Dag:
    """The Dag with one sink t: the nodes and arcs it has, and after them what leads to the outputs.

    An output that is not simply a node gets an arc to a node ``output``; several outputs are the slots of one product
    node ``output``, an arc each. The arcs keep their places in ``dag.arcs``, so those of `dag` and of its normal form
    are the same. Evaluating it gives the sink: a tensor, or the tuple of all output tensors.

    Parameters
    ----------
    dag
        The network.

    Returns
    -------
    Dag
        With one output node and no output steps.
    """
    outputs = [(output.node, output.steps) for output in dag.outputs if output.node is not None]
    ((first, steps), *others) = outputs
    if not others and not steps and dag.nodes[first].kind != "input":
        return replace(dag, outputs=(Output(first),), output_spec=None, retrace=None, model=None)
    sink = len(dag.nodes)
    shapes = tuple(steps[-1].shape if steps else dag.nodes[node].shape for node, steps in outputs)
    level = 1 + max(dag.nodes[node].level for node, _ in outputs)
    known = {node.name for node in dag.nodes}
    name = next(n for n in ("output", *(f"output#{i}" for i in range(2, len(known) + 3))) if n not in known)
    joined = Node(name, "product", level, shapes) if others else Node(name, "sum", level, shapes[0])
    arcs = tuple(Arc(node, sink, steps, slot if others else None) for slot, (node, steps) in enumerate(outputs))
    return replace(
        dag,
        nodes=(*dag.nodes, joined),
        arcs=(*dag.arcs, *arcs),
        outputs=(Output(sink),),
        output_spec=None,
        retrace=None,
        model=None,
    )
