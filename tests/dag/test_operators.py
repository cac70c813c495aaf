"""Records of operations: nobody else names an operation, and what they say of one is what it does."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import topo
from topo.dag import operators
from topo.dag.elements import Hole, Step
from topo.dag.operators import OPERATORS, Operator, operator_called, operator_of
from topo.dag.operators import record as record_module
from topo.dag.operators.selection import of_ones
from topo.errors import InputError
from topo.pruning.linearized_model import LinearizedOperations

TOPO = Path(topo.__file__).parent
# Names of operations that are also words, of columns, statistics and kinds of nodes, or names of other things.
WORDS = {
    *(
        "abs",
        "add",
        "alias",
        "concat",
        "cos",
        "div",
        "exp",
        "expand",
        "fill",
        "flip",
        "floor",
        "index",
        "linear",
        "log",
    ),
    *("max", "maximum", "mean", "min", "minimum", "neg", "norm", "pad", "repeat", "roll", "select", "sign", "slice"),
    *("all", "any", "embedding", "median", "outer", "quantile", "scatter", "std"),
    *("split", "square", "stack", "sum", "t", "threshold", "tile", "to", "unfold", "view", "where", "cat", "gather"),
}
# A registered pruner, a block's name in a published network, choices of a setting, and numpy's reductions.
OTHER_THINGS = {
    *(("pruning/structured/group_norm.py", name) for name in ("group_norm", "amax", "amin")),
    ("models/torchvision_models.py", "relu"),
    ("dag/effective_weights.py", "amax"),
    *(("models/rnn.py", name) for name in ("gru", "lstm")),
    ("pruning/initial/phew.py", "amin"),
    ("pruning/initial/regular.py", "amin"),
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(TOPO.rglob("*.py")):
        name = path.relative_to(TOPO).as_posix()
        if not name.startswith("dag/operators/"):
            yield name, ast.parse(path.read_text())


def is_step_name(node: ast.AST) -> bool:
    """Whether an expression is an operation's name: ``step.name``, ``arc.steps[0].name``, ``node.combine.name``."""
    if not isinstance(node, ast.Attribute):
        return False
    if node.attr in ("overloadpacket", "_overloadname"):
        return True
    owner = node.value.value if isinstance(node.value, ast.Subscript) else node.value
    last = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return node.attr == "name" and last in ("step", "steps", "combine", "later", "getitem", "first_step")


def namings(name: str, tree: ast.Module) -> Iterator[str]:
    """The places of a file that name an operation, or decide by the name of one."""
    for node in ast.walk(tree):
        line = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in OPERATORS and node.value not in WORDS and (name, node.value) not in OTHER_THINGS:
                yield f"{line} names {node.value!r}"
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("torch.ops.aten", "torch.ops"):
            yield f"{line} names {ast.unparse(node)}"
        elif isinstance(node, ast.Compare | ast.Subscript | ast.Match):
            compared = (node.left, *node.comparators) if isinstance(node, ast.Compare) else ()
            for part in (*compared, *(getattr(node, field) for field in ("slice", "subject") if hasattr(node, field))):
                if any(is_step_name(inner) for inner in ast.walk(part)):
                    yield f"{line} decides by the name of an operation"
                if isinstance(part, ast.Attribute) and ast.unparse(part.value) in ("F", "nn.functional"):
                    yield f"{line} decides by a function of torch"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asked = [node.func.value] if node.func.attr in ("startswith", "endswith") else []
            asked += node.args if node.func.attr in ("get", "index", "count") else []
            if any(is_step_name(part) for part in asked):
                yield f"{line} decides by the name of an operation"


@pytest.mark.slow
def test_no_other_file_names_an_operation_or_decides_by_the_name_of_one():
    assert [naming for name, tree in sources() for naming in namings(name, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "if step.name == 'anything': pass",
        "if 'norm' in step.name: pass",
        "if arc.steps[-1].name in NORMS: pass",
        "if node.combine.name != 'cat': pass",
        "label = SHORT.get(step.name)",
        "rule = RULES[step.name]",
        "if step.name.startswith('conv'): pass",
        "if operation is torch.ops.aten.view.default: pass",
        "if function is F.relu: pass",
        "if function.overloadpacket is packet: pass",
        "NORMS = {'layer_norm'}",
    ],
)
def test_the_test_above_sees_what_it_is_to_see(code):
    assert list(namings("file.py", ast.parse(code)))


@pytest.mark.parametrize("code", ["print(f'{step.name} fails')", "node.kind == 'sum'", "x = F.relu(x)"])
def test_and_nothing_else(code):
    assert not list(namings("file.py", ast.parse(code)))


# How to run every operation of which a record claims something: as a function of its inputs of shape (2, 4, 6, 6),
# one for each position where an input may stand. Operations that other operations are exported as are left out.

SQUARE = torch.rand(6, 6, dtype=torch.float64) - 0.5
VECTOR = torch.rand(4, dtype=torch.float64) + 0.5
FOURS = (VECTOR, VECTOR - 1, VECTOR, VECTOR)
MASK = torch.rand(2, 4, 6, 6) > 0.5
INDEX = torch.tensor([2, 0, 3])

aten = torch.ops.aten
RUNS: dict[str, Callable[..., Any]] = {
    "mul": lambda a, b: a * b,
    "div": lambda a: a / 3,
    "rsub": lambda a, b: torch.rsub(a, b),
    "addcmul": lambda a, b, c: torch.addcmul(a, b, c),
    "where": lambda _, a, b: torch.where(MASK, a, b),
    "masked_fill": lambda a: a.masked_fill(MASK, 0.3),
    "hardtanh": lambda a: F.hardtanh(a, -0.2, 0.3),
    "clamp": lambda a: a.clamp(-0.2, 0.3),
    "prelu": lambda a: F.prelu(a, VECTOR),
    "threshold": lambda a: F.threshold(a, 0.1, 0.0),
    "_native_batch_norm_legit_no_training": lambda a: F.batch_norm(a, VECTOR, VECTOR, VECTOR, VECTOR),
    "instance_norm": lambda a: F.instance_norm(a, weight=VECTOR, bias=VECTOR),
    "group_norm": lambda a: F.group_norm(a, 2, VECTOR, VECTOR),
    "layer_norm": lambda a: F.layer_norm(a, (6, 6), SQUARE, SQUARE),
    "rms_norm": lambda a: F.rms_norm(a, (6,), SQUARE[0]),
    "softmax": lambda a: F.softmax(a, 1),
    "log_softmax": lambda a: F.log_softmax(a, 1),
    "lift_fresh_copy": aten.lift_fresh_copy,
    "alias": aten.alias,
    "native_dropout": lambda a: aten.native_dropout(a, 0.5, False)[0],
    "rrelu": lambda a: F.rrelu(a),
    "max_pool1d": lambda a: F.max_pool2d(a, 2),
    "avg_pool1d": lambda a: F.avg_pool2d(a, 2),
    "adaptive_avg_pool1d": lambda a: F.adaptive_avg_pool2d(a, 3),
    "adaptive_max_pool2d": lambda a: F.adaptive_max_pool2d(a, 3),
    "mean": lambda a: a.mean((2, 3)),
    "sum": lambda a: a.sum(1),
    "amax": lambda a: a.amax(1),
    "amin": lambda a: a.amin(1),
    "cumsum": lambda a: a.cumsum(1),
    "upsample_linear1d": lambda a: F.interpolate(a, scale_factor=2, mode="bilinear"),
    "upsample_nearest1d": lambda a: F.interpolate(a, scale_factor=2),
    "linear": lambda a, w, b: F.linear(a, w[0, 0], b[0, 0, 0]),
    "mm": lambda a, b: a @ b,
    "addmm": lambda c, a, b: torch.baddbmm(c.flatten(0, 1), a.flatten(0, 1), b.flatten(0, 1)),
    "conv1d": lambda a, w, b: F.conv2d(a, w, b[0, :2, 0, 0]),
    "conv_transpose1d": lambda a, w, b: F.conv_transpose2d(a[:1, :2], w, b[0, :, 0, 0]),
    "convolution": lambda a, w, b: aten.convolution(a, w, b[0, :2, 0, 0], [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "cat": lambda a: torch.cat([a, a], 1),
    "stack": lambda a: torch.stack([a, a], 1),
    "select_scatter": lambda a, b: a.select_scatter(b[:, 0], 1, 0),
    "view": lambda a: a.view(2, -1),
    "_unsafe_view": lambda a: aten._unsafe_view(a, [2, -1]),
    "reshape": lambda a: a.reshape(2, -1),
    "_reshape_alias": lambda a: aten._reshape_alias(a, [2, 144], [144, 1]),
    "flatten": lambda a: a.flatten(1),
    "t": lambda a: a[0, 0].t(),
    "as_strided": lambda a: a.as_strided((2, 2), (3, 1)),
    "getitem": lambda a: a[1],
    "slice": lambda a: aten.slice(a, 1, 1, 3),
    "diagonal": lambda a: a.diagonal(dim1=2, dim2=3),
    "expand": lambda a: a[:, :1].expand(2, 4, 6, 6),
    "broadcast_to": lambda a: a[:, :1].broadcast_to(2, 4, 6, 6),
    "expand_as": lambda a: a[:, :1].expand_as(a),
    "repeat": lambda a: a.repeat(2, 1, 1, 1),
    "channel_shuffle": lambda a: F.channel_shuffle(a, 2),
    "pad": lambda a: F.pad(a, (1, 1), value=2.0),
    "addcdiv": lambda a, b: torch.addcdiv(a, b, SQUARE + 3),
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "copy": lambda _, b: aten.copy(b * 0, b),
    "gather": lambda a: a.gather(1, INDEX[None, :, None, None].expand(2, 3, 6, 6)),
    "index": lambda a: a[:, INDEX],
    "index_select": lambda a: a.index_select(1, INDEX),
    "view_as_complex": lambda a: torch.view_as_complex(a[..., :2].contiguous()).real,
    "view_as_real": lambda a: torch.view_as_real(a.to(torch.complex128)),
    "addbmm": lambda a, b, c: torch.addbmm(a[0, 0], b[0], c[0]),
    "addmv": lambda a, b, c: torch.addmv(a[0, 0, 0], b[0, 0], c[0, 0, 0]),
    "addr": lambda a, b, c: torch.addr(a[0, 0], b[0, 0, 0], c[0, 0, 0]),
    "conv_tbc": lambda a, b, c: torch.conv_tbc(a[0], b[0, :, :, :2], c[0, 0, 0, :2], 1),
    "_upsample_nearest_exact1d": lambda a: F.interpolate(a, size=7, mode="nearest-exact"),
    "replication_pad1d": lambda a: F.pad(a, (1, 1, 1, 1), mode="replicate"),
    "scatter": lambda a, b: a.index_copy(1, INDEX, b[:, :3]),
    "col2im": lambda a: F.fold(a.flatten(2)[:, :, :16], (5, 5), 2),
    "scatter_add": lambda a, i, j, b: a.index_add(1, INDEX, b[:, :3]),
    "grid_sampler": lambda a: F.grid_sample(a, SQUARE[:2, :2].expand(2, 3, 2, 2), align_corners=False),
    "affine_grid_generator": lambda a: F.affine_grid(
        a[:, 0].flatten(1)[:, :6].reshape(2, 2, 3), [2, 1, 2, 2], align_corners=False
    ),
    "tensordot": lambda a, b: torch.tensordot(a, b, ([3], [2])),
    "outer": lambda a, b: torch.outer(a[0, 0, 0], b[0, 0, 0]),
    "cross": lambda a, b: torch.cross(a[:, :3], b[:, :3], dim=1),
    "__or__": lambda a: (a > 0.1) | (a < -0.3),
    "logical_and": lambda a: (a > 0.1) & (a < 0.3),
    "gelu": F.gelu,
    "hardshrink": lambda a: F.hardshrink(a, 0.2),
    "softshrink": lambda a: F.softshrink(a, 0.2),
}


def records() -> list[Operator]:
    return list(dict.fromkeys(OPERATORS.values()))


def run_of(record: Operator) -> Callable[..., Any]:
    for name in record.names:
        if name in RUNS:
            return RUNS[name]
    return next(
        getattr(owner, name) for name in record.names for owner in (torch, F, aten, Tensor) if hasattr(owner, name)
    )


def ids(record: Operator) -> str:
    return record.names[0]


def inputs(count: int) -> list[Tensor]:
    return [torch.rand(2, 4, 6, 6, dtype=torch.float64) - 0.5 for _ in range(count)]


def value(run: Callable[..., Any], count: int, positions: tuple[int, ...], others: list[Tensor], given: list[Tensor]):
    arguments = list(others)
    for position, tensor in zip(positions, given, strict=True):
        arguments[position] = tensor
    result = run(*arguments[:count])
    return result[0] if isinstance(result, tuple) else result


def argument_count(record: Operator, run: Callable[..., Any]) -> int:
    """How many inputs `run` takes: as many as it has arguments here, or as many as the record speaks of."""
    return (
        run.__code__.co_argcount
        if run in RUNS.values() and hasattr(run, "__code__")
        else len({*sum(record.affine, ())})
    )


@pytest.mark.parametrize("record", [r for r in records() if r.affine], ids=ids)
def test_what_is_called_affine_is_affine_where_it_says(record):
    """f((x + y) / 2) is the mean of f(x) and f(y), for a rectifier when x and y are close."""
    torch.manual_seed(0)
    run = run_of(record)
    count = argument_count(record, run)
    apart = 1e-7 if record.rectifier else 1.0
    for together in record.affine:
        positions = tuple(p for p in together if p < count)
        others = inputs(count)
        x = [others[p] for p in positions]
        y = [a + apart * b for a, b in zip(x, inputs(len(x)), strict=True)]
        middle = [(a + b) / 2 for a, b in zip(x, y, strict=True)]
        fx, fy, fm = (value(run, count, positions, others, given) for given in (x, y, middle))
        assert positions
        torch.testing.assert_close(fm, (fx + fy) / 2, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("record", [r for r in records() if r.rectifier], ids=ids)
def test_rectifiers_are_not_affine(record):
    torch.manual_seed(0)
    run = run_of(record)
    positions = record.affine[0]
    x, y = inputs(len(positions)), inputs(len(positions))
    middle = [(a + b) / 2 for a, b in zip(x, y, strict=True)]
    fx, fy, fm = (value(run, len(positions), positions, x, given) for given in (x, y, middle))
    assert not torch.allclose(fm, (fx + fy) / 2)


@pytest.mark.parametrize("record", [r for r in records() if r.activation], ids=ids)
def test_activations_bend_every_number_by_itself_and_are_the_identity_where_linearised(record):
    torch.manual_seed(0)
    (x,) = inputs(1)
    run = run_of(record) if record.names[0] != "softplus" else F.softplus
    changed = x.clone()
    changed[0, 1, 2, 3] += 0.25
    differs = run(changed) != run(x)
    differs[0, 1, 2, 3] = False
    assert not differs.any() and run(x).shape == x.shape
    with LinearizedOperations():
        assert torch.equal(run(x), x)


@pytest.mark.parametrize(
    "record",
    [r for r in records() if r.statistics and r.passes is not of_ones and not r.names[0].startswith("native")],
    ids=ids,
)
def test_statistics_are_taken_over_the_axes_that_a_record_names(record):
    """A change of one element changes others along these axes, and none elsewhere."""
    run = run_of(record)
    args = {"layer_norm": (Hole(), (6, 6)), "rms_norm": (Hole(), (6,))}.get(record.names[0], (Hole(), 1))
    torch.manual_seed(0)
    (x,) = inputs(1)
    x = x + 1
    changed = x.clone()
    changed[0, 1, 2, 3] += 0.25
    moved = (run(changed) - run(x)).abs() > 1e-12
    axes = {a % 4 for a in record.statistics(Step(run, args, {}, "", ((2, 4, 6, 6),), (2, 4, 6, 6)), 4)}
    for axis in range(1, 4):
        others = moved.clone().movedim(axis, 0)
        index = (0, 1, 2, 3)[axis]
        others = torch.cat([others[:index], others[index + 1 :]])
        if axis in axes:
            assert others.any()
        elif not record.norm:
            assert not others.any()
    assert not moved[1].any()


@pytest.mark.parametrize("record", [r for r in records() if r.comparison], ids=ids)
def test_comparisons_are_constant_almost_everywhere(record):
    (x,) = inputs(1)
    run = run_of(record)
    arguments = (0.1,) if record.names[0] == "gt" else ()
    assert torch.equal(run(x, *arguments), run(x + 1e-9, *arguments))


@pytest.mark.parametrize("name", ["relu", "tanh", "clone", "view", "mean", "max_pool2d", "softmax", "sigmoid", "exp"])
def test_keeps_zero_is_what_the_operation_does(name):
    run = {"view": lambda a: a.view(2, -1), "mean": lambda a: a.mean(1), "softmax": lambda a: F.softmax(a, 1)}
    run |= {"clone": torch.clone, "max_pool2d": lambda a: F.max_pool2d(a, 2)}
    operation = run.get(name) or getattr(torch, name)
    zero = torch.zeros(2, 4, 6, 6)
    step = Step(operation, (Hole(),), {}, "", (zero.shape,), operation(zero).shape)
    assert operators.keeps_zero(step, {}) == (not operation(zero).any())


def test_flags_that_exclude_each_other():
    for record in records():
        assert not (record.view and record.pointwise), record
        assert not (record.weights and record.map is None), record
        assert not (record.norm or record.activation) or record.pointwise, record
        assert not record.rectifier or record.affine, record
        assert not record.factors or set(record.weights) == set(record.factors), record
        assert not record.concatenates or record.fills_slots, record
        assert record.layer is None or record.weights, record
        assert not record.trained or record.modules, record
        assert not record.sizes or record.view, record


def test_an_unknown_operation_has_an_empty_record():
    record = operator_of("never_heard_of")
    assert record.map is None and not record.affine and not record.weights
    assert operator_called(print) is None


@pytest.mark.parametrize(
    ("names", "facts", "sentence"),
    [
        (("sincc",), {}, "torch has no operation 'sincc'; did you mean 'sinc'?"),
        (("sinc", "sinhh"), {}, "torch has no operation 'sinhh'; did you mean 'sinh'?"),
        (("sinc",), {"aliases": ("sinc_of_it_all_zzz",)}, "torch has no operation 'sinc_of_it_all_zzz'"),
        (("sinc",), {"pointwis": True}, "unknown fact of operation 'sinc' 'pointwis'; did you mean 'pointwise'"),
        (
            ("sinc",),
            {"functions": ("sinc",)},
            "functions of operation 'sinc' holds 'sinc'; give the functions",
        ),
        (("sinc",), {"modules": ("Sinc",)}, "modules of operation 'sinc' holds 'Sinc'; give the modules themselves"),
    ],
)
def test_a_record_of_what_torch_has_not_is_refused(names, facts, sentence):
    before = dict(OPERATORS)
    with pytest.raises(InputError, match=re.escape(sentence)):
        operators.define(*names, **facts)
    assert before == OPERATORS


def test_an_operation_of_another_package_can_have_a_record(monkeypatch):
    monkeypatch.setattr(record_module, "OPERATORS", dict(OPERATORS))
    monkeypatch.setattr(record_module, "_CALLED", dict(record_module._CALLED))
    with pytest.raises(InputError, match="no operation 'thrice_of_a_test'"):
        operators.define("thrice_of_a_test")
    library = torch.library.Library("topo_tests", "DEF")
    library.define("thrice_of_a_test(Tensor x) -> Tensor")
    operators.define("thrice_of_a_test", affine=((0,),))
    assert operator_of("thrice_of_a_test").affine == ((0,),)


def test_functions_called_in_place_or_as_methods_are_the_same_operation():
    for function in (F.relu, torch.relu, torch.relu_, Tensor.relu, torch.ops.aten.relu.default):
        assert operator_called(function) is operator_of("relu")
    assert operator_called(Tensor.__mul__) is operator_of("mul")
    assert operator_called(F.batch_norm) is operator_of("batch_norm")
    assert operator_called(torch.batch_norm) is None
