"""Pages that are written from the registries and the public names, so that they can never say something else.

`write` fills ``docs/generated/`` before a build: the reference of each package, a page for every metric, encoding and
pruner, lists of models, datasets, recipes and questions, and the dictionary of the columns of results tables.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import topo
from topo.datasets import DATASETS
from topo.encoding import ENCODINGS
from topo.features import CATEGORIES, METRICS
from topo.features.registry import COMPUTED_BY
from topo.models import MODELS, torchvision_names
from topo.pruning import PRUNERS
from topo.pruning.needs import NEEDS, needs_of
from topo.pruning.registry import FAMILIES
from topo.questions import QUESTIONS
from topo.registry import Entry, Registry
from topo.results.dictionary import MEASURED_SUFFIXES, RUN_COLUMNS
from topo.training import RECIPES, TARGETS
from topo.validation import settings_of


def write(docs: Path) -> None:
    """Write every page anew.

    Parameters
    ----------
    docs
        The folder of the documentation; its ``generated`` folder is replaced.
    """
    target = docs / "generated"
    shutil.rmtree(target, ignore_errors=True)
    pages = {**_reference(), **_metrics(), **_encodings(), **_pruners(), **_lists(), "columns.md": _columns()}
    for name, text in pages.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    _draw_encodings(target / "encodings")
    for notebook in sorted((docs.parent / "notebooks").glob("*.ipynb")):
        path = target / "notebooks" / notebook.name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(notebook, path)


# --- the parts that pages are made of


def _page(title: str, *blocks: str) -> str:
    return "\n\n".join([f"# {title}", *(block for block in blocks if block)]) + "\n"


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table(heads: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    return "\n".join([_row(heads), _row(["---"] * len(heads)), *map(_row, rows)])


def _contents(pages: Iterable[str]) -> str:
    """The pages below this one, for the navigation alone: the tables name them in the text."""
    return "\n".join(["```{toctree}", ":hidden:", "", *pages, "```"])


def _prose(item: Any) -> str:
    """A docstring up to its first section, as text of a page."""
    lines = inspect.cleandoc(getattr(item, "__doc__", "") or "").splitlines()
    ends = [n for n, line in enumerate(lines) if n and set(line) == {"-"} and lines[n - 1].strip()]
    return _markdown("\n".join(lines[: ends[0] - 1] if ends else lines).strip())


def _markdown(text: str) -> str:
    """What docstrings mark up, as Markdown does."""
    return text.replace("``", "`")


def _settings(item: Any) -> str:
    rows = [
        (f"`{s.name}`", "" if s.default is inspect.Parameter.empty else f"`{s.default}`", _markdown(s.text))
        for s in settings_of(item)
    ]
    return "## Settings\n\n" + _table(("name", "default", "what it does"), rows) if rows else ""


def _definition(entry: Entry[Any]) -> str:
    return f"Defined in `{entry.source.module}` as `{entry.source.name}`."


def _own(registry: Registry[Any]) -> list[Entry[Any]]:
    """What the package itself registers."""
    return [entry for entry in registry.entries() if entry.source.built_in]


# --- reference


def _reference() -> dict[str, str]:
    at_the_top = [name for name in topo.__all__ if not inspect.ismodule(getattr(topo, name))]
    taken: dict[int, str] = {}
    pages = {"reference/topo.rst": _module_page("topo", at_the_top, taken)}
    rows = [("[topo](topo.rst)", "What is used most.")]
    for name in sorted(topo._MODULES):
        module = importlib.import_module(f"topo.{name}")
        pages[f"reference/{name}.rst"] = _module_page(module.__name__, module.__all__, taken)
        rows.append((f"[topo.{name}]({name}.rst)", inspect.cleandoc(module.__doc__ or "").splitlines()[0]))
    pages["reference/index.md"] = _page(
        "Reference",
        "Every public name, from its docstring. The examples are run by the tests.",
        _table(("package", "what it holds"), rows),
        _contents(Path(page).stem for page in pages),
    )
    return pages


def _module_page(module_name: str, names: Sequence[str], taken: dict[int, str]) -> str:
    """The public names of a package; of those that are `taken` by an earlier page, only where they are."""
    module = importlib.import_module(module_name)
    elsewhere = {name: taken[id(getattr(module, name))] for name in names if id(getattr(module, name)) in taken}
    taken |= {id(getattr(module, name)): f"{module_name}.{name}" for name in names if name not in elsewhere}
    text = [module_name, "=" * len(module_name), "", inspect.cleandoc(module.__doc__ or ""), ""]
    if elsewhere:
        text += ["Also here: " + ", ".join(f":py:obj:`{place}`" for place in elsewhere.values()) + ".", ""]
    for name in names:
        item = getattr(module, name)
        if name in elsewhere or inspect.ismodule(item):
            continue
        text += [name, "-" * len(name), ""]
        if inspect.isclass(item):
            text += [f".. autoclass:: {module_name}.{name}", "   :members:", "   :show-inheritance:", ""]
        elif inspect.isroutine(item):
            text += [f".. autofunction:: {module_name}.{name}", ""]
        else:
            text += [f".. py:data:: {module_name}.{name}", "", *textwrap.indent(_data(item), "   ").splitlines(), ""]
    return "\n".join(text)


def _data(item: Any) -> str:
    """What a public name is that is no function and no class: what is in it."""
    if isinstance(item, Registry):
        return f"Every {item.kind} by name: " + ", ".join(f"``{entry.name}``" for entry in _own(item)) + "."
    return f"{type(item).__name__}: ``{item!r}``"


# --- metrics


SYMBOLS = r"""Symbols: $G$ is the graph, $V$ its nodes, $N$ of them, $E$ its edges or their number; edges lead from
input to output, and edges between the same two nodes are one. $I$ and $O$ are the nodes of input and output parts, of
the graph of a layer $L$ and $R$ its left and right side. A node has $d^-_v$ edges that enter, $d^+_v$ that leave and
$d_v$ in all; $B_k(v)$ is what at most $k$ edges lead to from it, itself included. $w_e$ is the weight of an edge, the
size of what the encoding puts there, and $A$ the symmetric matrix of weights with eigenvalues
$|\lambda_1| \ge |\lambda_2| \ge \dots$; $\sigma_1 \ge \sigma_2 \ge \dots$ are singular values of a layer. $c(G)$ counts
connected components, direction ignored. $f_v$ paths lead from $I$ to $v$ and $b_v$ from $v$ to $O$."""


def _metrics() -> dict[str, str]:
    pages, sections = {}, []
    for category in CATEGORIES.entries():
        entries = [entry for entry in _own(METRICS) if entry.family == category.name]
        pages |= {f"metrics/{entry.name}.md": _metric_page(entry) for entry in entries}
        rows = [
            (f"[{entry.name}]({entry.name}.md)", _markdown(entry.summary), f"`{entry.info['cost'].partition(',')[0]}`")
            for entry in entries
        ]
        asked = (
            "" if category.info["by_default"] else f'Measured when asked for: `metrics=["default", "{category.name}"]`.'
        )
        sections += [f"## {category.name}", category.summary, asked, _table(("metric", "in short", "cost"), rows)]
    pages["metrics/index.md"] = _page(
        "Metrics",
        "`topo.measure(graph)` computes them; `metrics=` takes names of metrics, of columns or of categories. A metric "
        'that is not defined on a graph is NaN, and `row.attrs["undefined"]` says why. The page of each metric has its '
        "formula, normalisation, range and cost; that values are within the ranges is tested on random graphs. What "
        "they cost in seconds is [measured](../../measuring.md#what-a-metric-costs).",
        SYMBOLS,
        *sections,
        _contents(sorted(Path(page).stem for page in pages)),
    )
    return pages


def _metric_page(entry: Entry[Any]) -> str:
    info, per = entry.info, entry.info["per"]
    facts = [
        ("category", f"`{entry.family}`"),
        ("normalised", f"`_norm`: divided by the number of {per}, as published" if per else "reported raw"),
        ("defined on", {"all": "all graphs", "layers": "graphs of layers"}.get(info["encodings"], "whole networks")),
        ("known before training", _known_before_training(entry)),
        ("measured", "by default" if CATEGORIES.entry(entry.family).info.get("by_default", True) else "when asked for"),
        ("cost", f"{info['cost']}, once degrees and adjacency are there, which metrics share"),
        ("computed by", COMPUTED_BY[info["computed_by"]]),
    ]
    reasons = [
        *_undefined_reasons(entry.item),
        *(["its `_norm`: the graph has no edge to divide by"] if per == "edges" else []),
    ]
    return _page(
        entry.name,
        _prose(entry.item),
        *(f"$$\n{formula}\n$$" for formula in _formulas(entry)),
        "[The symbols](index.md) are the same on all pages.",
        _table(("column", "range"), _ranges(entry)),
        _table(("", ""), facts),
        "## When it is undefined",
        "\n".join(f"- {reason}" for reason in reasons) or "Never: it has a value on every graph.",
        "A value that comes out infinite, and one that needs edges where the engine builds none, is undefined as well, "
        "and says so.",
        _definition(entry),
    )


def _formulas(entry: Entry[Any]) -> list[str]:
    formulas = entry.info["formulas"]
    if len(formulas) == 1:
        return list(formulas.values())
    return [rf"\text{{{_plain(column)}}} = {formula}" for column, formula in formulas.items()]


def _plain(column: str) -> str:
    return column.replace("_", r"\_")


def _ranges(entry: Entry[Any]) -> list[tuple[str, str]]:
    """Every column and what its values are between."""
    rows = []
    for column, (low, high) in entry.info["bounds"].items():
        rows.append((f"`{column}`", _between(low, high)))
        if per := entry.info["per"]:
            count = per[0].upper()
            rows.append((f"`{column}_norm`", _between(*(_over(bound, count) for bound in (low, high)))))
    return rows


def _over(bound: float | str, count: str) -> str:
    """A bound divided by a number of nodes or edges."""
    if str(bound) in ("0", "inf", "-inf"):
        return str(bound)
    if str(bound) == count:
        return "1"
    return f"({bound}) / {count}" if " " in str(bound) else f"{bound} / {count}"


def _between(low: float | str, high: float | str) -> str:
    low, high = (
        str(bound).replace("inf", r"\infty").replace("min(", r"\min(").replace("max(", r"\max(").replace("*", r"\cdot")
        for bound in (low, high)
    )
    return f"${low}$" if low == high else f"${low}$ to ${high}$"


def _known_before_training(entry: Entry[Any]) -> str:
    reading = entry.info["reads_weights"]
    if not reading:
        return "yes: it depends on the edges alone"
    if len(reading) == len(entry.info["columns"]):
        return "no: it reads the sizes of the weights"
    return f"not {', '.join(f'`{column}`' for column in sorted(reading))}, which read the sizes of the weights"


def _undefined_reasons(function: Any) -> list[str]:
    """The reasons that a metric, or a function of its package that it uses, may give for having no value."""
    waiting, seen, reasons = [function], set(), {}
    while waiting:
        here = waiting.pop(0)
        if here in seen:
            continue
        seen.add(here)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(here)))):
            if isinstance(node, ast.Name):
                used = here.__globals__.get(node.id)
                if inspect.isfunction(used) and used.__module__.startswith("topo.features."):
                    waiting.append(used)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Undefined" and node.args:
                reason = node.args[0]
                named = here.__globals__.get(reason.id) if isinstance(reason, ast.Name) else None
                reasons[named if isinstance(named, str) else _said(reason)] = None
    return list(reasons)


def _said(node: ast.expr) -> str:
    """The text of a message, with an ellipsis for what is filled in when it is raised."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return "…"


# --- encodings, pruners, and what is listed on one page


def _encodings() -> dict[str, str]:
    entries = _own(ENCODINGS)
    pages = {f"encodings/{entry.name}.md": _encoding_page(entry) for entry in entries}
    rows = [(f"[{e.name}]({e.name}.md)", e.info["nodes"], e.info["edge"], e.info["weight"]) for e in entries]
    pages["encodings/index.md"] = _page(
        "Encodings",
        "`topo.encode(model, masks, example=..., encoding=...)` gives one of these graphs. [What is exact in them and "
        "what is a convention](../../encodings.md).",
        _table(("encoding", "nodes", "an edge", "its weight"), rows),
        _contents(sorted(entry.name for entry in entries)),
    )
    return pages


def _encoding_page(entry: Entry[Any]) -> str:
    info = entry.info
    whole = "one graph of the whole network, a `MultipartiteGraph`"
    facts = [
        ("nodes", info["nodes"]),
        ("an edge", info["edge"]),
        ("its weight", info["weight"]),
        ("gives", "one bipartite graph a layer, `LayerGraphs`" if info["layers"] else whole),
        (
            "columns in tables",
            f"`{entry.name.replace('-', '_')}__<metric>_mean`, ..." if info["layers"] else "`<metric>`",
        ),
    ]
    return _page(
        entry.name,
        _prose(entry.item),
        _table(("", ""), facts),
        f"An edge, and its weight:\n\n$$\n{info['formula']}\n$$",
        "$w$ are the weights of a layer and $m$ their mask, over output channels $o$, input channels $i$ and kernel "
        "elements $k$; $x$ and $y$ are positions in the layer's input and result, $z$ the values of nodes.",
        _settings(entry.item),
        f"## An example, drawn\n\n```{{image}} {entry.name}.png\n:alt: {entry.name}: {info['nodes']}\n```",
        f'```python\n{EXAMPLE}graph = topo.encode(model, masks, example=(1, 6, 6), encoding="{entry.name}")\n```',
        'The second layer, drawn as above: `graph["2"].draw()`.'
        if info["layers"]
        else "Drawn as above: `graph.draw()`.",
        _definition(entry),
    )


EXAMPLE = """from torch import nn
import topo

model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 3))
masks = topo.prune(model, "uniform", sparsity=0.6, example=(1, 6, 6), seed=0)
"""


def _draw_encodings(folder: Path) -> None:
    """A picture of each encoding of the same small network."""
    made: dict[str, Any] = {}
    exec(EXAMPLE, made)
    for entry in _own(ENCODINGS):
        graph = topo.encode(made["model"], made["masks"], example=(1, 6, 6), encoding=entry.name)
        drawn = graph["2"] if entry.info["layers"] else graph
        drawn.draw(width=5.0).figure.savefig(folder / f"{entry.name}.png", dpi=120)


def _pruners() -> dict[str, str]:
    entries = _own(PRUNERS)
    pages = {f"pruners/{entry.name}.md": _pruner_page(entry) for entry in entries}
    sections = []
    for family in FAMILIES:
        members = [entry for entry in entries if entry.family == family]
        rows = [
            (f"[{e.name}]({e.name}.md)", _markdown(e.summary), needs_of(e.name), e.info.get("paper", ""))
            for e in members
        ]
        sections += [f"## {family}", _table(("pruner", "what it scores or does", "needs", "source"), rows)]
    pages["pruners/index.md"] = _page(
        "Pruners",
        "`topo.prune(model, name, sparsity=...)` runs one of them on any model that can be traced. What it needs: "
        f"{'; '.join(f'*{need}*, {text}' for need, text in NEEDS.items())}.",
        *sections,
        _contents(sorted(entry.name for entry in entries)),
    )
    return pages


def _pruner_page(entry: Entry[Any]) -> str:
    facts = [
        ("family", entry.family),
        ("stage", entry.info.get("stage", "")),
        ("needs", NEEDS[needs_of(entry.name)]),
        ("source", entry.info.get("paper", "")),
    ]
    prose = _prose(entry.item) or _markdown(entry.summary)
    return _page(entry.name, prose, _table(("", ""), facts), _settings(entry.item), _definition(entry))


def _lists() -> dict[str, str]:
    def table(kind: str, registry: Registry[Any]) -> str:
        return _table((kind, "in short"), [(f"`{entry.name}`", _markdown(entry.summary)) for entry in _own(registry)])

    names = torchvision_names()
    return {
        "models.md": _page(
            "Models",
            "`topo.models.build(name, input_shape=..., n_classes=...)` builds one.",
            table("model", MODELS),
            f"And the {len(names)} networks of torchvision by their own names:",
            textwrap.fill(", ".join(f"`{name}`" for name in names), 120),
        ),
        "datasets.md": _page("Datasets", "`topo.datasets.load(name, ...)` loads one.", table("dataset", DATASETS)),
        "recipes.md": _page(
            "Recipes",
            "`topo.training.recipe(name, **changes)` says how a network is trained.",
            table("recipe", RECIPES),
        ),
        "targets.md": _page(
            "Targets",
            "What is asked of a trained network beside accuracy and loss: `targets:` of a study file, or "
            "`topo.training.measure_targets(model, data, history)`.",
            table("target", TARGETS),
        ),
        "questions.md": _page(
            "Research questions",
            "What a report asks of results; each is also a function in `topo.questions.QUESTIONS`.",
            table("question", QUESTIONS),
        ),
    }


# --- columns of results tables


def _columns() -> str:
    def said(texts: Mapping[str, str], prefix: str = "") -> list[tuple[str, str]]:
        return [(f"`{prefix}{name}`", _markdown(text)) for name, text in texts.items()]

    metrics = [
        (column, f"[{entry.name}](metrics/{entry.name}.md)", between, entry.family)
        for entry in _own(METRICS)
        for column, between in _ranges(entry)
    ]
    return _page(
        "Columns of results tables",
        "What the columns of `results.parquet` say; `topo.results.describe_columns(table)` says it of a table at hand.",
        "## What was run and what came of it",
        _table(("column", "what it says"), said(RUN_COLUMNS)),
        "## Metrics",
        "A metric's own name is its value on the graph of the whole network. Values on graphs of layers are called "
        "`<encoding>__<metric>_<suffix>`, with an underscore for a hyphen in the name of the encoding.",
        _table(("suffix", "what it says"), said(MEASURED_SUFFIXES, "_")),
        _table(("column", "metric", "range", "category"), metrics),
    )
