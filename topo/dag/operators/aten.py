"""The operations of torch that the toolkit itself writes into graphs, or rewrites there."""

from __future__ import annotations

import operator

import torch

__all__ = [
    "ATTENTION",
    "BATCH_SIZE",
    "CAST",
    "ENTRY",
    "EXPAND",
    "FLATTEN",
    "FULL",
    "MATMUL",
    "NEGATE",
    "NEW_AXIS",
    "PICK",
    "RESHAPE",
    "SELECT",
    "SLICE",
    "STACK",
    "SUM",
    "TIMES",
    "WINDOWS",
]

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
BATCH_SIZE = torch.ops.aten.sym_size.int
CAST = torch.ops.aten.to.dtype
ENTRY = operator.getitem
EXPAND = torch.ops.aten.expand.default
FLATTEN = torch.ops.aten.flatten.using_ints
FULL = torch.ops.aten.full.default
MATMUL = torch.ops.aten.matmul.default
NEGATE = torch.ops.aten.neg.default
NEW_AXIS = torch.ops.aten.unsqueeze.default
PICK = torch.ops.aten.select.int
RESHAPE = torch.ops.aten.reshape.default
SELECT = torch.ops.aten.index_select.default
SLICE = torch.ops.aten.slice.Tensor
STACK = torch.ops.aten.stack.default
SUM = operator.add
TIMES = operator.mul
WINDOWS = torch.ops.aten.im2col.default
