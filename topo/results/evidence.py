"""What questions are asked of and reports are written from: studies, results tables and the published tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError, counted
from ..study import Study
from ..tables import read_table
from .cleaning import cleaned
from .copies import copies_of
from .data_issues import DataIssues
from .published import load_published
from .schema import NETWORK, PAIR, metric_columns, ordered_metrics, tidy_results
from .selection import selected
from .unread import unread_columns

__all__ = ["Evidence", "together"]

# Further columns that may tell two networks apart.
ALSO_IDENTITY = ("recipe", "stage", "cell")


@dataclass(frozen=True)
class Evidence:
    """Tables to ask questions of.

    Parameters
    ----------
    name
        Where the tables come from, for titles.
    networks
        One row a network: dataset, model, pruner, family, sparsity, seed, accuracy (and dense_accuracy where known),
        whole-network metrics under bare names, layer-wise ones as ``<encoding>__<metric>_mean``.
    layers
        One row a layer and encoding, or None: the identity columns, layer, encoding, layer_density and metrics.
    data_issues
        What was odd in the files: file, column, rows, what, done.
    folder
        Where the tables lie, if in a folder.
    studies
        Folder of every study that the column `study` of `networks` names: there are the masks.
    settings
        What was run, as the text of study files.
    undefined
        Metric column -> why it has no value for some networks.
    notes
        Sentences on what is not complete.

    Examples
    --------
    >>> from topo.results import example_results
    >>> evidence = Evidence.of(example_results())
    >>> len(evidence.networks), len(evidence.sparse), evidence.whole_network_metrics[:2]
    (50, 48, ['nodes', 'edges'])
    """

    name: str
    networks: pd.DataFrame
    layers: pd.DataFrame | None = None
    data_issues: pd.DataFrame = field(default_factory=lambda: DataIssues().table())
    folder: Path | None = None
    studies: Mapping[str, Path] = field(default_factory=dict)
    settings: str = ""
    undefined: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"<Evidence {self.name!r}: {counted(len(self.networks), 'network')}>"

    @classmethod
    def of(cls, table: pd.DataFrame, *, name: str = "results table", layers: pd.DataFrame | None = None) -> Evidence:
        """Evidence from a results table; repaired where it can be; what was done is listed among its data issues.

        Parameters
        ----------
        table
            A results table.
        name
            What messages and headings call it.
        layers
            A table of layers, one row a layer.

        Returns
        -------
        Evidence
            With the table in tidy form.

        Raises
        ------
        InputError
            The table has no rows, or no accuracy, pruner or sparsity.

        Examples
        --------
        Columns that no registered metric fills are metrics where the table says what they are:

        >>> table = pd.DataFrame({"pruner": ["snip"], "sparsity": 0.9, "accuracy": 0.8, "own_metric": 0.5})
        >>> table.attrs["metrics"] = {"own_metric": {"category": "own", "reads_weights": False}}
        >>> Evidence.of(table).whole_network_metrics
        ['own_metric']
        """
        if isinstance(table, pd.DataFrame) and table.empty:
            raise InputError(f"the {name} has no rows, so there is nothing to ask.")
        issues = DataIssues()
        networks = cleaned(tidy_results(table), name, issues)
        if networks.empty:
            raise InputError(f"no row of the {name} has a pruner and a sparsity, so there is nothing to ask.")
        keys = [c for c in (*NETWORK, *ALSO_IDENTITY) if c in networks.columns]
        keys += [c for c in networks.columns if c.startswith(("setting_", "settings_"))]
        again = networks.duplicated(keys)
        issues.add(
            name,
            ", ".join(keys),
            int(again.sum()),
            "rows repeat a network",
            "the first row of each kept, others left out",
        )
        lost = int(networks["accuracy"].isna().sum())
        issues.add(name, "accuracy", lost, "networks have no accuracy", "left out wherever accuracy is needed")
        networks = networks[~again].reset_index(drop=True)
        notes = (unread,) if (unread := unread_columns(networks)) else ()
        return cls(name, networks, layers, issues.table(), undefined=_recorded_reasons(table), notes=notes)

    @classmethod
    def open(cls, study: Any = None, *, published: str | Path | None = None) -> Evidence:
        """Evidence from studies or tables (see `read`), or from the folder of the published tables.

        Parameters
        ----------
        study
            As for `read`.
        published
            The folder of the published tables.

        Returns
        -------
        Evidence
            Of the one that is given.

        Raises
        ------
        InputError
            None or both are given, or what is given cannot be read.
        """
        if (study is None) == (published is None):
            raise InputError("give either a study or the folder of the published tables.")
        if published is not None:
            tables = load_published(published)
            notes = (tables.missing,) if tables.missing else ()
            return cls(
                "published tables", tables.networks, tables.layers, tables.data_issues, Path(published), notes=notes
            )
        return cls.read(study)

    @classmethod
    def read(cls, source: Any) -> Evidence:
        """Evidence from a study, its folder, a DataFrame, a .parquet or .csv file, or from a list of several.

        A study has the name of its folder, a file its own without the suffix.

        Parameters
        ----------
        source
            A study, path, DataFrame, or a list of these.

        Returns
        -------
        Evidence
            Of all of them together.

        Raises
        ------
        InputError
            The source is none of these, does not exist, cannot be read or holds no rows; or one is given twice.
        """
        if isinstance(source, list | tuple):
            paths = Counter(Path(one).resolve() for one in source if isinstance(one, str | Path))
            if paths and max(paths.values()) > 1:
                raise InputError(f"{max(paths, key=lambda path: paths[path])} is given twice; leave one out.")
            return together([cls.read(one) for one in source])
        if isinstance(source, pd.DataFrame):
            return cls.of(source)
        if isinstance(source, Study):
            return cls._of_study(source)
        if not isinstance(source, str | Path):
            raise InputError(
                "give a study, its folder, a DataFrame, or a results table as .parquet or .csv; "
                f"got {type(source).__name__}."
            )
        path = Path(source)
        if not path.exists():
            raise InputError(f"{path} does not exist; give a study's folder, or a results table as .parquet or .csv.")
        if not path.is_dir():
            return replace(cls.of(_table(path), name=path.stem), folder=path.parent)
        if Study.is_study(path):
            return cls._of_study(Study.load(path))
        file = path / "results.parquet"
        if not file.exists():
            raise InputError(f"{path} is no study: it holds neither a study file nor results.parquet.")
        return replace(cls.of(_table(file), name=path.resolve().name), folder=path)

    @classmethod
    def _of_study(cls, study: Study) -> Evidence:
        evidence = cls.of(study.results(), name=study.folder.resolve().name)
        waiting = int((study.status()["status"] == "missing").sum())
        verb = "has" if waiting == 1 else "have"
        note = f"The study is not complete: {waiting} of {counted(len(study.plan), 'network')} {verb} not run yet."
        return replace(
            evidence,
            networks=evidence.networks.assign(study=evidence.name),
            folder=study.folder,
            studies={evidence.name: study.folder},
            settings=study.config.to_yaml(),
            notes=(*evidence.notes, note) if waiting else evidence.notes,
        )

    @cached_property
    def copies(self) -> pd.Series:
        """For every network the algorithm under whose name the same one is there too; see `topo.results.copies`."""
        return copies_of(self.networks)

    @cached_property
    def distinct(self) -> pd.DataFrame:
        """The networks, those that are the same under several names once."""
        return self.networks[self.copies == ""].reset_index(drop=True)

    @cached_property
    def sparse(self) -> pd.DataFrame:
        """The distinct networks that are not dense and have an accuracy."""
        networks = self.distinct
        return networks[(networks["pruner"] != "dense") & networks["accuracy"].notna()].reset_index(drop=True)

    def select(self, *, draws: str | None = None, without: str | None = None, collapsed: bool = True) -> Evidence:
        """A part of the networks, with their layers.

        Parameters
        ----------
        draws
            Pattern of names of algorithms, such as ``"random-*"``, that stay, each of their draws (seeds) as an
            algorithm of its own (`topo.results.draws_as_algorithms`).
        without
            Pattern of names of algorithms that go.
        collapsed
            Whether those of `topo.results.collapsed_networks` stay.

        Returns
        -------
        Evidence
            Named after what was selected.

        Raises
        ------
        InputError
            No algorithm matches.

        Examples
        --------
        >>> from topo.results import example_results
        >>> Evidence.of(example_results()).select(without="er*", collapsed=False)
        <Evidence 'results table, without er*, without collapsed networks': 38 networks>
        """
        networks, layers = selected(self.networks, self.layers, draws=draws, without=without, collapsed=collapsed)
        words = [draws, without and f"without {without}", None if collapsed else "without collapsed networks"]
        name = ", ".join([self.name, *filter(None, words)])
        return replace(self, name=name, networks=networks, layers=layers)

    def no_metric(self, what: str = "the table has no metric that varies") -> str:
        """Why there is no metric to ask of, in a sentence that names the columns which might be meant as some.

        Parameters
        ----------
        what
            What there is not.

        Returns
        -------
        str
            The sentence.

        Examples
        --------
        >>> from topo.results import example_results
        >>> table = example_results()[["pruner", "sparsity", "accuracy"]]
        >>> Evidence.of(table.assign(warmth=0.5)).no_metric()
        "the table has no metric that varies; 'warmth' holds numbers, but no metric of that name is known: ..."
        """
        unread = unread_columns(self.networks)
        return f"{what}; {unread}" if unread else f"{what}."

    @cached_property
    def whole_network_metrics(self) -> list[str]:
        """Metric columns of the multipartite graph, by category; the normalised ones where there are both."""
        return ordered_metrics(c for c in metric_columns(self.networks) if "__" not in c)

    def layer_metrics(self, encoding: str) -> list[str]:
        """Metric columns of one layer-wise encoding, their means over layers only.

        Parameters
        ----------
        encoding
            As columns begin with it, such as ``"rolled"``.

        Returns
        -------
        list
            Names of columns.
        """
        head = f"{encoding}__"
        return ordered_metrics(
            c for c in metric_columns(self.networks) if c.startswith(head) and c.endswith("_mean")
        )  # fmt: skip


def together(pieces: Sequence[Evidence]) -> Evidence:
    """One evidence of several; where two hold networks of the same dataset and model, the model takes on the name of
    its study, so that what was trained by different recipes stays in different groups.

    Pieces of the same name are told apart by the folders that they lie in.

    Parameters
    ----------
    pieces
        At least one.

    Returns
    -------
    Evidence
        With one name, and all rows.

    Raises
    ------
    InputError
        There is none.
    """
    if not pieces:
        raise InputError("no study is given; give the folder of one, or several.")
    if len(pieces) == 1:
        return pieces[0]
    pieces = _with_different_names(pieces)
    pairs = [set(piece.networks[[*PAIR]].itertuples(index=False, name=None)) for piece in pieces]
    issues, tables = DataIssues(), []
    for i, piece in enumerate(pieces):
        shared = pairs[i] & set().union(*pairs[:i], *pairs[i + 1 :])
        table = piece.networks
        also_elsewhere = pd.MultiIndex.from_frame(table[[*PAIR]]).isin(shared)
        issues.add(
            piece.name,
            "model",
            int(also_elsewhere.sum()),
            "networks of a dataset and model that another study has too",
            "the study's name added to the model's: no group holds both, but neither model is unseen to the other",
        )
        tables.append(table.assign(model=table["model"].where(~also_elsewhere, table["model"] + f" ({piece.name})")))
    layers = [piece.layers for piece in pieces if piece.layers is not None]
    return Evidence(
        ", ".join(piece.name for piece in pieces),
        pd.concat(tables, ignore_index=True),
        pd.concat(layers, ignore_index=True) if len(layers) == len(pieces) else None,
        pd.concat([*(piece.data_issues for piece in pieces), issues.table()], ignore_index=True),
        studies={name: path for piece in pieces for name, path in piece.studies.items()},
        settings="\n".join(f"# {piece.name}\n{piece.settings}" for piece in pieces if piece.settings),
        undefined={column: reason for piece in pieces for column, reason in piece.undefined.items()},
        notes=tuple(f"{piece.name}: {note}" for piece in pieces for note in piece.notes),
    )


def _with_different_names(pieces: Sequence[Evidence]) -> list[Evidence]:
    """The pieces, those of one name called by the folder above too, and by a number where that is not enough."""

    def longer(piece: Evidence) -> str:
        if piece.folder is None:
            return piece.name
        folder = piece.folder.resolve()
        return f"{(folder.parent if folder.name == piece.name else folder).name}/{piece.name}"

    for naming in (longer, None):
        counts = Counter(piece.name for piece in pieces)
        numbers: Counter[str] = Counter()
        renamed = []
        for piece in pieces:
            numbers[piece.name] += 1
            name = piece.name
            if counts[name] > 1:
                name = naming(piece) if naming else f"{name} {numbers[name]}"
            renamed.append(_renamed(piece, name))
        pieces = renamed
    return list(pieces)


def _renamed(piece: Evidence, name: str) -> Evidence:
    if name == piece.name:
        return piece
    networks = piece.networks.assign(study=name) if piece.studies else piece.networks
    issues = piece.data_issues.assign(file=piece.data_issues["file"].replace(piece.name, name))
    studies = dict(zip([name], piece.studies.values(), strict=False))
    return replace(piece, name=name, networks=networks, studies=studies, data_issues=issues)


def _table(file: Path) -> pd.DataFrame:
    if file.suffix not in (".csv", ".parquet"):
        raise InputError(f"{file} is neither a .parquet nor a .csv file nor a study's folder.")
    return read_table(file)


def _recorded_reasons(table: pd.DataFrame) -> dict[str, str]:
    """Reasons of undefined metrics by column.

    They come from the column `undefined`: texts ``"metric, metric: reason; ..."`` or JSON objects.
    """
    recorded = table.attrs.get("undefined")
    reasons: dict[str, str] = dict(recorded) if isinstance(recorded, dict) else {}
    if "undefined" not in table.columns:
        return reasons
    columns = set(table.columns)
    for text in table["undefined"].dropna().astype(str).unique():
        if text.startswith("{"):
            try:
                reasons = {name: str(reason) for name, reason in json.loads(text).items()} | reasons
            except (ValueError, RecursionError) as error:
                raise InputError(f"column 'undefined' of the results table holds broken JSON: {error}.") from error
            continue
        names: list[str] = []
        for piece in text.split("; "):
            head, _, reason = piece.partition(": ")
            named = head.split(", ")
            if set(named) <= columns:
                names = [n for n in named if n not in reasons]
                reasons.update(dict.fromkeys(names, reason))
            else:  # a reason that holds the separator itself
                reasons.update({n: f"{reasons[n]}; {piece}" for n in names})
    return reasons
