"""Every exact way, known to us, of writing a network as a sum over its paths or its sub-architectures.

================================  =========================================  ====================================
what                              exact for                                  where
================================  =========================================  ====================================
path counts, what dropping costs  any network                                `PathCounts`, `trim`
paths, the heaviest first         any network                                `paths`, `heaviest_paths`
sub-architectures                 any network                                `count_subarchitectures`,
                                                                             `iterate_subarchitectures`, `SubNetwork`
output = sum over sets of arcs    any network                                `moebius_decomposition`
Jacobian = sum over paths         differentiable networks                    `jacobian_by_branches`,
                                                                             `jacobian_by_block`, `Linearisation`
output = sum over paths           piecewise linear networks, at an input     `unrectified_terms`
product of factors = (I - N)^-1   linear networks                            `Lifting.jacobian`
================================  =========================================  ====================================

The representation they start from is that of W.-L. Hwang, arXiv 2306.09707, of which only the abstract was available;
`topo.decomposition.lifting` says what is the paper's and what is ours. These decompositions are ours in this form.

Two conventions hold in all of them. A node that no live path passes is gone with all its arcs, and so is the constant
it would pass on (the structural convention, unlike masking, which leaves f(0)). An arc into a slot of a concatenation
or into an operand of a product is an arc like any other; what is read from a slot whose arc is gone is zero.
"""

from __future__ import annotations

from ..dag.blocks import ResidualBlock, residual_blocks
from ..dag.path_counts import PathCounts, heaviest_paths, paths, trim
from .lifting import Lifting, lift
from .moebius import Moebius, moebius_decomposition
from .path_sums import Linearisation, PathTerm, jacobian_by_block, jacobian_by_branches, unrectified_terms
from .subarchitectures import SubNetwork, count_subarchitectures, iterate_subarchitectures

__all__ = [
    "Lifting",
    "Linearisation",
    "Moebius",
    "PathCounts",
    "PathTerm",
    "ResidualBlock",
    "SubNetwork",
    "count_subarchitectures",
    "heaviest_paths",
    "iterate_subarchitectures",
    "jacobian_by_block",
    "jacobian_by_branches",
    "lift",
    "moebius_decomposition",
    "paths",
    "residual_blocks",
    "trim",
    "unrectified_terms",
]
