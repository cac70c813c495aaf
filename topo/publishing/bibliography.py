"""References of what a study used, in BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..datasets import DATASETS
from ..encoding import ENCODINGS
from ..features import METRICS
from ..features.registry import select
from ..models import MODELS
from ..pruning import PRUNERS
from ..registry import Registry

if TYPE_CHECKING:
    from ..study import Study, StudyConfig

__all__ = ["Reference", "cite", "references"]

SOFTWARE = f"""@software{{topo,
  title = {{topo: topology of sparse neural networks}},
  author = {{{{the topo contributors}}}},
  version = {{{__version__}}},
}}"""
REGISTRIES: dict[str, Registry[Any]] = {
    "pruner": PRUNERS,
    "model": MODELS,
    "dataset": DATASETS,
    "encoding": ENCODINGS,
    "metric": METRICS,
}
ALWAYS = ("package torch", "package igraph", "package stats")
# Baselines that need no reference, and data that topo draws itself.
WITHOUT = frozenset(
    {"pruner uniform", "pruner random-allocation", "model mlp", "dataset shapes", "dataset text", "dataset waves"}
)


@dataclass(frozen=True)
class Reference:
    """A work that something in topo rests on.

    Attributes
    ----------
    key
        Its key, such as ``"lee2019"``.
    bibtex
        The entry.
    used
        What rests on it, such as ``"pruner snip"`` or ``"category paths"``.
    """

    key: str
    bibtex: str
    used: tuple[str, ...]


@cache
def references() -> tuple[Reference, ...]:
    """Every work that topo's own parts rest on, in the order of the file that holds them.

    Returns
    -------
    tuple
        A `Reference` each.

    Examples
    --------
    >>> [reference.key for reference in references() if "pruner snip" in reference.used]
    ['lee2019']
    """
    text = files(__package__).joinpath("references.bib").read_text(encoding="utf-8")
    return tuple(_reference(entry) for entry in re.findall(r"^@.*?^\}$", text, flags=re.DOTALL | re.MULTILINE))


def _reference(entry: str) -> Reference:
    key = entry.partition("{")[2].partition(",")[0]
    used = re.search(r"^  used = \{(.*)\},\n", entry, flags=re.MULTILINE)
    names = tuple(name.strip() for name in used.group(1).split(",")) if used else ()
    return Reference(key, entry.replace(used.group(0), "") if used else entry, names)


def cite(study: Study | StudyConfig | str | Path) -> str:
    """BibTeX of every pruner, model, dataset, encoding and metric that a study used, and of this software.

    What registers itself with ``bibtex=`` is cited by that. What has no known reference is named in a comment.

    Parameters
    ----------
    study
        The study, its config or its folder.

    Returns
    -------
    str
        Entries by key, each once, with the software first.

    Examples
    --------
    >>> from topo.study import StudyConfig
    >>> text = cite(StudyConfig.parse({"models": ["resnet20"], "pruners": ["snip", "uniform"], "sparsities": [0.9]}))
    >>> import re
    >>> re.findall("@.*{(.*),", text)[:4]
    ['topo', 'alpaydin1998', 'benjamini1995', 'csardi2006']
    """
    from ..study import Study, StudyConfig

    if isinstance(study, StudyConfig):
        config = study
    else:
        config = (study if isinstance(study, Study) else Study.load(study)).config
    used = [*_used(config), *ALWAYS]
    known: dict[str, str] = {}
    unknown = []
    for name in dict.fromkeys(used):
        own = _own_bibtex(name)
        apart = [entry.strip() for entry in re.split(r"^(?=@)", own, flags=re.MULTILINE) if entry.strip()]
        entries = {entry.partition("{")[2].partition(",")[0].strip(): entry for entry in apart}
        entries |= {reference.key: reference.bibtex for reference in references() if name in reference.used}
        known |= entries
        if not entries and name not in WITHOUT and not name.startswith(("category", "metric", "controls")):
            unknown.append(name)
    comments = [f"% No reference is known here for {name}." for name in unknown]
    return (
        "\n\n".join([SOFTWARE, *(known[key] for key in sorted(known)), *(["\n".join(comments)] if comments else [])])
        + "\n"
    )


def _used(config: StudyConfig) -> Iterator[str]:
    """What a study used, in the words of the field `used`."""
    choices: Iterable[tuple[str, Any]] = (
        *(("pruner", choice) for choice in config.pruners),
        *(("model", choice) for choice in config.models),
        *(("dataset", choice) for choice in config.datasets),
        *(("encoding", choice) for choice in config.encodings),
    )
    for kind, choice in choices:
        yield f"{kind} {choice.name}"
    for encoding in config.encodings:
        for entry in select(config.metrics, layers=encoding.is_layered):
            yield f"metric {entry.name}"
            yield f"category {entry.family}"
    if config.controls or any(encoding.controls for encoding in config.encodings):
        yield "controls z-scores"
    if config.dense_of_equal_cost:
        yield "controls dense_of_equal_cost"


def _own_bibtex(used: str) -> str:
    kind, _, name = used.partition(" ")
    registry = REGISTRIES.get(kind)
    return (registry.entry(name).info.get("bibtex") or "").strip() if registry is not None and name in registry else ""
