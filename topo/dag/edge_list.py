"""A map whose edges are listed one by one, for operations that no rule describes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

__all__ = ["EdgeList"]


@dataclass(frozen=True, eq=False)
class EdgeList:
    """A map given by its matrix.

    Attributes
    ----------
    source_shape, target_shape
        Shapes of what is read and of the result.
    edges
        CSR (source elements, target elements), weights float32 and not negative.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from scipy import sparse
    >>> both = EdgeList((2,), (1,), sparse.csr_array(np.ones((2, 1), np.float32)))
    >>> both.apply(torch.tensor([1.0, 2.0])).tolist()
    [3.0]
    """

    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    edges: sparse.csr_array

    def matrix(self) -> sparse.csr_array:
        return self.edges

    def edge_count(self) -> int:
        return int(self.edges.nnz)

    def fan_in(self) -> int:
        return int(np.bincount(self.edges.indices, minlength=1).max())

    def apply(self, x: Tensor) -> Tensor:
        rows = np.repeat(np.arange(self.edges.shape[0]), np.diff(self.edges.indptr))
        sources, targets = (torch.from_numpy(ends.astype(np.int64)).to(x.device) for ends in (rows, self.edges.indices))
        carried = x.reshape(-1)[sources] * torch.from_numpy(self.edges.data).to(x)
        return x.new_zeros(self.edges.shape[1]).index_add(0, targets, carried).reshape(self.target_shape)
