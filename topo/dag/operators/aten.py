"""The operations of torch that the toolkit itself writes into graphs, or rewrites there."""

from __future__ import annotations

import operator

import torch

__all__ = [
    "ATTENTION",
    "BATCH_SIZE",
    "CAST",
    "CUT_ROWS",
    "EMBEDDING",
    "ENTRY",
    "EXPAND",
    "FLATTEN",
    "FULL",
    "MATMUL",
    "NEGATE",
    "NEW_AXIS",
    "NUMBERS",
    "PICK",
    "REMAINDER",
    "RESHAPE",
    "SELECT",
    "SLICE",
    "STACK",
    "SUM",
    "TIMES",
    "UNFLATTEN",
    "VIEW",
    "WINDOWS",
]

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
BATCH_SIZE = torch.ops.aten.sym_size.int
CAST = torch.ops.aten.to.dtype
CUT_ROWS = torch.ops.aten.embedding_renorm.default
EMBEDDING = torch.ops.aten.embedding.default
ENTRY = operator.getitem
EXPAND = torch.ops.aten.expand.default
FLATTEN = torch.ops.aten.flatten.using_ints
FULL = torch.ops.aten.full.default
MATMUL = torch.ops.aten.matmul.default
NEGATE = torch.ops.aten.neg.default
NEW_AXIS = torch.ops.aten.unsqueeze.default
NUMBERS = torch.ops.aten.arange.default
PICK = torch.ops.aten.select.int
REMAINDER = torch.ops.aten.remainder.Scalar
RESHAPE = torch.ops.aten.reshape.default
SELECT = torch.ops.aten.index_select.default
SLICE = torch.ops.aten.slice.Tensor
STACK = torch.ops.aten.stack.default
SUM = operator.add
TIMES = operator.mul
UNFLATTEN = torch.ops.aten.unflatten.int
VIEW = torch.ops.aten.view.default
WINDOWS = torch.ops.aten.im2col.default
