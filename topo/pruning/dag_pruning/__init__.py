"""Structural pruning of the network as a directed acyclic graph: branches, nodes and channels, with paths counted.

That a network is a directed acyclic graph with functions on its arcs, whose lifting structure makes structural pruning
systematic for any architecture, is from W.-L. Hwang, *Representation and decomposition of functions in DAG-DNNs and
structural network pruning*, arXiv 2306.09707 (2023). **Of that paper only the abstract was available here.** The
criterion, the scores, the orders, the budgets and the rules of what may go are ours, and no number of the paper is
claimed.

A dead node is gone with all its arcs, and so is the constant that it would pass on (the *structural convention*).
Masks express it: of a branch that goes all parameters are masked, biases and the scales and shifts of norms among
them, so that it contributes exactly zero; of an arc into a concatenation, the columns that read its slot. What masks
cannot make zero stays: a branch that ends in a sigmoid, one operand of a product, an identity skip. `topo.dag.compact`
then drops it all from the module. `Masks.sparsity` is over all masked tensors, thus also the biases and norms of
branches that went; what a pruner is asked for is a share of its budget.
"""

from __future__ import annotations

from .candidates import Candidate
from .prunable_network import LiveParts, PrunableNetwork
from .pruner import dag

__all__ = ["Candidate", "LiveParts", "PrunableNetwork", "dag"]
