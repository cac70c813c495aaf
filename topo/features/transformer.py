"""`Topometrics`: batches of graphs or sparse networks to a table, as a scikit-learn transformer."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from torch import nn

from ..dag import Dag
from ..dag.example import Example
from ..encoding import ENCODINGS, encoding_options
from ..encoding.graph import LayerGraphs, MultipartiteGraph
from ..errors import InputError, counted, warn
from ..progress import progress
from ..validation import flag, one_of
from .engines import ENGINES, choices_said_once
from .measurement import column_names, measure
from .parallel import in_threads
from .ramanujan import IMDB_RULES

__all__ = ["Topometrics"]

logger = logging.getLogger(__name__)


class Topometrics(TransformerMixin, BaseEstimator):
    """Measures graphs, or sparse networks that it encodes first, one row each.

    Parameters
    ----------
    encoding
        How networks are encoded, as in `topo.encode`; graphs passed in must be of that kind:
        multipartite graphs for ``"multipartite"``, layer graphs for the bipartite encodings.
    metrics
        As in `topo.measure`.
    example
        The models' input, as in `topo.encode`; needed when networks are passed that are not traced.
    encode_options
        Further options of `topo.encode`.
    engine, device
        Of networks, as in `topo.measure`.
    imdb_rule
        As in `topo.measure`.
    errors
        ``"raise"``: a network that cannot be encoded or measured raises; ``"nan"``: it becomes a row of NaN, and a
        warning says how many did. What is no network and no graph of the right kind is refused in either case.
    n_jobs
        Threads, as in joblib; None is one, -1 one a core. As many networks are measured at once as fit into memory.
    verbose
        Whether to show how far it has come, with the time left.

    Notes
    -----
    Nothing is learnt from data, so `fit` only checks the parameters. `transform` returns a float64
    DataFrame whose index are the names of the items, or their numbers where they have none;
    ``table.attrs["undefined"]`` maps each row to its reasons of NaN by column, ``table.attrs["engine"]`` each row to
    the engine that measured it, and ``table.attrs["failed"]`` the rows that failed to the error's message. A model is
    traced once for all its masks.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> graphs = {f"{n} pairs": BipartiteGraph(sparse.csr_array(np.eye(n, dtype=np.float32))) for n in (2, 3)}
    >>> Topometrics(metrics=["nodes", "cut_edges"]).fit_transform(graphs)
             nodes  cut_edges  cut_edges_norm
    2 pairs    4.0        2.0             1.0
    3 pairs    6.0        3.0             1.0
    """

    def __init__(
        self,
        encoding: str = "multipartite",
        *,
        metrics: str | Iterable[str] | None = None,
        example: Example | None = None,
        encode_options: Mapping[str, Any] | None = None,
        engine: str = "auto",
        device: str | torch.device = "auto",
        imdb_rule: str = "mean_degree",
        errors: str = "raise",
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.encoding = encoding
        self.metrics = metrics
        self.example = example
        self.encode_options = encode_options
        self.engine = engine
        self.device = device
        self.imdb_rule = imdb_rule
        self.errors = errors
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Iterable[Any], y: Any = None) -> Topometrics:
        """Check the parameters; the graphs are not looked at.

        Parameters
        ----------
        X, y
            Not used; there for scikit-learn.

        Returns
        -------
        Topometrics
            Itself.
        """
        self._check()
        return self

    def transform(self, X: Iterable[Any]) -> pd.DataFrame:
        """One row a graph, or a (model, masks) pair.

        Parameters
        ----------
        X
            Graphs, or pairs of a model and its masks; or a dict or pandas Series of them, whose keys name the rows.

        Returns
        -------
        DataFrame
            float64.

        Raises
        ------
        InputError
            When `X` is not a collection of these, before any is measured (of an iterator, when its turn comes); when a
            parameter is wrong; or when an item fails with ``errors="raise"``.
        """
        self._check()
        names, batch = _named(X)
        items: Iterable[tuple[str, Any]] = self._checked(batch, names)
        if isinstance(batch, Collection):
            items = list(items)
        settings = {
            "encoding": self.encoding,
            "example": self.example,
            "options": self.encode_options,
            "engine": self.engine,
            "device": self.device,
        }
        kwargs = {"metrics": self.metrics, "imdb_rule": self.imdb_rule}
        measured = partial(_measured, settings=settings, kwargs=kwargs, strict=self.errors == "raise")
        rows = {}
        total = len(items) if isinstance(items, list) else None
        with choices_said_once(), progress("graphs", total, logger, shown=None if self.verbose else False) as advance:
            for number, row in in_threads(measured, items, self.n_jobs):
                rows[number] = row
                advance()
        index = pd.RangeIndex(len(rows)) if names is None else names
        found = [rows[number] for number in range(len(rows))]
        table = pd.DataFrame(
            [{} if isinstance(row, str) else row.to_dict() for row in found],
            index=index,
            columns=self.get_feature_names_out(),
            dtype="float64",
        )
        named = list(zip(index, found, strict=True))
        for what in ("undefined", "engine"):
            there = {name: row.attrs[what] for name, row in named if isinstance(row, pd.Series)}
            table.attrs[what] = {name: value for name, value in there.items() if value}
        table.attrs["failed"] = {name: row for name, row in named if isinstance(row, str)}
        _warn_of(table.attrs["failed"], len(table))
        return table

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The columns that `transform` returns; `input_features` is ignored.

        Parameters
        ----------
        input_features
            Not used; there for scikit-learn.

        Returns
        -------
        array
            Of column names.
        """
        return np.array(column_names(self.metrics, layers=ENCODINGS.entry(self.encoding).info["layers"]), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        return tags

    def _check(self) -> None:
        ENCODINGS.entry(self.encoding)
        encoding_options(self.encoding, self.encode_options or {})
        one_of("engine", self.engine, ENGINES)
        if self.engine == "structure" and self.encoding != "multipartite":
            raise InputError(f"engine='structure' measures the encoding 'multipartite', not {self.encoding!r}.")
        one_of("errors", self.errors, ("nan", "raise"))
        flag("verbose", self.verbose)
        one_of("imdb_rule", self.imdb_rule, IMDB_RULES)
        self.get_feature_names_out()

    def _checked(self, batch: Any, names: pd.Index | None) -> Iterator[tuple[str, Any]]:
        """What to call each item, and the item, refused when it is neither a graph of the right kind nor a network."""
        if isinstance(batch, str | Mapping | MultipartiteGraph | nn.Module | Dag) or not isinstance(batch, Iterable):
            raise InputError(f"pass a list of graphs or of (model, masks) pairs, not one {type(batch).__name__}.")
        if isinstance(batch, tuple) and len(batch) == 2 and _is_network(batch):
            raise InputError("pass a list of (model, masks) pairs, not one pair: [(model, masks)].")
        kind = LayerGraphs if ENCODINGS.entry(self.encoding).info["layers"] else MultipartiteGraph
        for position, item in enumerate(batch):
            name = f"item {position}" if names is None else repr(names[position])
            if isinstance(item, MultipartiteGraph | LayerGraphs):
                if not isinstance(item, kind):
                    raise InputError(
                        f"{name} is a {type(item).__name__}, but encoding {self.encoding!r} makes "
                        f"{kind.__name__}; set encoding to match the graphs."
                    )
                if self.engine == "structure":
                    raise InputError(f"{name} is a graph; engine='structure' is for (model, masks) pairs.")
            elif not isinstance(item, tuple) or len(item) != 2 or not _is_network(item):
                raise InputError(
                    f"{name} is {_described(item)}; give graphs that topo.encode returns, or (model, masks) "
                    "pairs, where masks may be None."
                )
            elif self.example is None and not isinstance(item[0], Dag):
                raise InputError(
                    f"the model of {name} is not traced, so that Topometrics needs example=, an input of the "
                    "models or its shape, such as (3, 32, 32)."
                )
            yield name, item


def _named(batch: Any) -> tuple[pd.Index | None, Any]:
    """The names of the items, where they have names, and the items."""
    if isinstance(batch, pd.Series):
        return batch.index, list(batch)
    if isinstance(batch, Mapping) and not isinstance(batch, LayerGraphs):
        return pd.Index(list(batch)), list(batch.values())
    return None, batch


def _warn_of(failed: Mapping[Any, str], total: int) -> None:
    """Say how many items have no row of numbers, and why the first of them has none."""
    if failed:
        name, why = next(iter(failed.items()))
        warn(
            f"{len(failed)} of {counted(total, 'item')} failed, a row of NaN each; {name!r}: {why} All reasons are in "
            'table.attrs["failed"].',
            RuntimeWarning,
        )


def _is_network(pair: tuple[Any, Any]) -> bool:
    """Whether a pair is a model and masks for it."""
    model, masks = pair
    return isinstance(model, nn.Module | Dag) and (masks is None or isinstance(masks, Mapping))


def _described(item: Any) -> str:
    if isinstance(item, tuple):
        return f"a tuple of {', '.join(type(part).__name__ for part in item) or 'nothing'}"
    return f"a {type(item).__name__}"


def _measured(
    named: tuple[str, Any], settings: dict[str, Any], kwargs: dict[str, Any], strict: bool
) -> pd.Series | str:
    """An item's row; or the message of its failure."""
    name, item = named
    try:
        if isinstance(item, tuple):
            model, masks = item
            return measure(model, masks, **settings, **kwargs)
        if isinstance(item, MultipartiteGraph):
            # The columns are those of a multipartite graph, also where the graph happens to be bipartite.
            kwargs = {**kwargs, "metrics": kwargs["metrics"] or column_names()}
        return measure(item, **kwargs)
    except InputError as error:
        if strict:
            raise InputError(f"{name}: {error}") from error
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        if strict:
            error.add_note(f"while {name} was measured")
            raise
        return f"{type(error).__name__}: {error}"
