"""A layer's mask as a bipartite graph, and the Cannistraci-Hebb scores of its missing links.

The graph of a weight has its first dimension as one part and all others together as the other: of a linear layer,
outputs and inputs; of a convolution, output channels and pairs of input channel and kernel position (input channels
against the rest for a transposed one). The groups of a grouped convolution are graphs of their own.

For a missing link (u, v) the two parts admit paths of length three only, u - a - b - v, with a a neighbour of u, b a
neighbour of v, and a and b linked. The nodes a and b of all such paths are the local community of u and v. In a
bipartite graph the community's a are u's neighbours that share a neighbour with v. As each neighbour that a shares
with v is itself in the community, a has

    internal links  i = (A^T A)[a, v],        external links  e = degree(a) - 1 - i,

the one link taken off being that to u; and likewise for b with A A^T and u, where A has the rows of u and b and the
columns of v and a. So both scores are products of matrices of the size of the layer (Muscoloni et al. 2018, bioRxiv
346916; Zhang et al., ICLR 2024; arXiv 2501.19107).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ch2_l3n", "ch3_l3p", "link_scores"]

CHUNK = 2**24  # numbers in one intermediate matrix of `ch3_l3p`


def ch3_l3p(links: Tensor) -> Tensor:
    """CH3-L3, by paths: the sum over all paths u - a - b - v of 1 / sqrt((1 + e_a) (1 + e_b)).

    Parameters
    ----------
    links
        Matrix of 0.0 and 1.0, rows x columns.

    Returns
    -------
    Tensor
        Scores of the missing links; zero where there is a link.

    Examples
    --------
    >>> ch3_l3p(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    tensor([[0., 1.],
            [0., 0.]])
    """
    of_columns, of_rows = _external(links)
    of_columns, of_rows = of_columns.rsqrt(), of_rows.rsqrt()
    u, a = links.nonzero(as_tuple=True)
    scores = torch.zeros_like(links)
    size = max(1, CHUNK // max(links.shape))
    for start in range(0, len(u), size):
        row, column = u[start : start + size], a[start : start + size]
        # of one link u - a: the sum over b of [a - b] [b - v] / sqrt(1 + e_b), for each v
        through = (links[:, column].T * of_rows[:, row].T) @ links
        scores.index_add_(0, row, through * of_columns[column])
    return scores * (1 - links)


def ch2_l3n(links: Tensor) -> Tensor:
    """CH2-L3n, by nodes: the sum over the nodes z of the local community of (1 + i_z) / (1 + e_z).

    The cost is that of a few dense products.

    Parameters
    ----------
    links
        0 or 1, float, (rows, columns): the bipartite graph.

    Returns
    -------
    Tensor
        (rows, columns); zero where there is a link.

    Examples
    --------
    >>> ch2_l3n(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    tensor([[0., 4.],
            [0., 0.]])
    """
    of_columns, of_rows = _external(links)
    columns, rows = links.T @ links, links @ links.T
    of_columns = torch.where(columns > 0, (1 + columns) / of_columns, 0.0)
    of_rows = torch.where(rows > 0, (1 + rows) / of_rows, 0.0)
    return (links @ of_columns + of_rows.T @ links) * (1 - links)


def _external(links: Tensor) -> tuple[Tensor, Tensor]:
    """1 + e of a column a seen from a column v, and of a row b seen from a row u; at least 1."""
    columns = links.sum(0)[:, None] - links.T @ links
    rows = links.sum(1)[:, None] - links @ links.T
    # Below one only where a has no neighbour outside those of v, hence not u: no missing link looks there.
    return columns.clamp_min(1.0), rows.clamp_min(1.0)


def link_scores(mask: Tensor, score: Callable[[Tensor], Tensor], groups: int = 1) -> Tensor:
    """Scores of the missing weights of a mask, in its shape; zero for those kept.

    Parameters
    ----------
    mask
        A weight's mask; its first axis runs over the outputs, all others together over the inputs.
    score
        `ch2_l3n`, `ch3_l3p`, or another function from links to scores.
    groups
        Groups of the convolution, which are scored each for itself.

    Returns
    -------
    Tensor
        In the shape of `mask`.
    """
    parts = mask.flatten(1).float().chunk(groups)
    return torch.cat([score(part) if min(part.shape) > 1 else torch.zeros_like(part) for part in parts]).view(
        mask.shape
    )
