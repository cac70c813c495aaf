"""Many files of masks of one model to one table, in threads; what is finished is kept when a run is stopped."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..dag import Dag, trace
from ..dag.example import Example, example_arguments, sample_shapes
from ..encoding import ENCODINGS, encoding_options
from ..errors import InputError
from ..masks import Masks
from ..progress import progress
from ..safe_files import require_file
from ..validation import one_of
from .controls import compared_columns, measure_controls, standard_scores
from .engines import ENGINES, choices_said_once
from .kept_rows import KeptRows
from .measurement import column_names, measure
from .parallel import in_threads
from .registry import select

__all__ = ["find_mask_files", "fitting_masks", "measure_mask_files", "passed_over"]

logger = logging.getLogger(__name__)


def find_mask_files(places: Iterable[str | Path]) -> list[Path]:
    """The files of masks that are meant by files, folders and patterns, each once.

    Parameters
    ----------
    places
        Files; folders, for the ``.safetensors`` files in them; patterns such as ``"masks/**/snip*.safetensors"``.

    Returns
    -------
    list
        Paths, those of a folder or a pattern by name.

    Raises
    ------
    InputError
        When one of them is or finds nothing.
    """
    found: dict[Path, None] = {}
    for place in map(Path, places):
        if place.is_dir():
            files = sorted(place.glob("*.safetensors"))
        elif place.exists():
            files = [place]
        else:
            files = [Path(name) for name in sorted(glob.glob(str(place), recursive=True)) if Path(name).is_file()]
        if not files:
            what = "a folder without .safetensors files" if place.is_dir() else "no file, no folder, and finds no file"
            raise InputError(f"{place} is {what}; give files of masks, folders of them or patterns such as 'm/*.s*'.")
        found |= dict.fromkeys(files)
    return list(found)


def passed_over(places: Iterable[str | Path], output: Path | None = None) -> list[Path]:
    """The files in folders that `find_mask_files` takes for no masks, by their names.

    Parameters
    ----------
    places
        As for `find_mask_files`.
    output
        The table that is written, which may lie in such a folder and counts as no such file.

    Returns
    -------
    list
        Paths, hidden files left out.
    """
    own = "" if output is None else str(output.absolute())
    files = (file for place in map(Path, places) if place.is_dir() for file in sorted(place.iterdir()))
    return [
        file
        for file in files
        if file.is_file() and file.suffix != ".safetensors" and not file.name.startswith(".")
        if not own or not str(file.absolute()).startswith(own)
    ]


def fitting_masks(dag: Dag, file: str | Path) -> Masks:
    """The masks of a file, which must be for this network.

    Parameters
    ----------
    dag
        The network.
    file
        What `topo.Masks.save` has written.

    Returns
    -------
    Masks
        As saved.

    Raises
    ------
    InputError
        When they are for another network, or the file is none of masks.
    """
    masks = Masks.load(file)
    if dag.model is not None:
        masks.check(dag.model)
    return masks


def measure_mask_files(
    model: nn.Module | Dag,
    files: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    example: Example | None = None,
    encoding: str = "multipartite",
    options: Mapping[str, Any] | None = None,
    metrics: str | Iterable[str] | None = None,
    engine: str = "auto",
    device: str | torch.device = "auto",
    controls: int = 0,
    seed: int = 0,
    name: str | None = None,
    n_jobs: int | None = None,
    verbose: bool | None = None,
) -> pd.DataFrame:
    """The metrics of a model under the masks of many files: one row a file.

    Parameters
    ----------
    model, example, encoding, options
        As for `topo.encode`.
    files
        What `topo.Masks.save` has written.
    output
        A ``.csv`` or ``.parquet`` file for the table. Rows that it has already, of masks of the same content under the
        same options, are not measured again, and rows of other files stay. What is finished is kept beside it while
        it runs, so that a run that was stopped goes on. None for none of this.
    metrics, engine, device
        As for `topo.measure`. The column ``engine`` says which engine measured a row.
    controls, seed
        How many random masks to take z-scores against, as in `topo.z_scores`, as columns ``<metric>_z``; 0 for none.
    name
        What the column ``model`` says; the name of the model's class unless given.
    n_jobs
        Threads; None is one, -1 one a core. As many measure at once as fit into memory.
    verbose
        Whether to show how far it has come; None where there is a terminal.

    Returns
    -------
    DataFrame
        The columns `topo.features.kept_rows.IDENTITY`, then those of the metrics. Masks that cannot be measured have
        the status ``"failed"``, a reason and no numbers, and are tried again the next time.

    Raises
    ------
    InputError
        When an option is wrong, or `output` holds something else.

    Examples
    --------
    >>> import tempfile, topo
    >>> net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = [Path(folder) / f"{seed}.safetensors" for seed in (0, 1)]
    ...     for seed, file in enumerate(files):
    ...         _ = topo.prune(net, "er", sparsity=0.9, seed=seed).save(file)
    ...     table = measure_mask_files(net, files, example=(1, 8, 8), metrics=["nodes"])
    >>> table[["pruner", "sparsity", "seed", "nodes"]].to_numpy().tolist()
    [['er', 0.9, 0.0, 170.0], ['er', 0.9, 1.0, 170.0]]
    """
    metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    layers = bool(ENCODINGS.entry(encoding).info["layers"])
    columns = column_names(metrics, layers=layers)
    if controls:
        columns += [f"{column}_z" for column in compared_columns(metrics, layers=layers)]
    chosen = encoding_options(encoding, options or {})
    one_of("engine", engine, ENGINES)
    dag = trace(model, example)
    name = name or type(dag.model).__name__
    identity = (name, encoding, sorted(chosen.items()), columns, controls, seed, engine)
    what = _digest_of_options(dag, example, identity, metrics)
    keys = {str(file): f"{what}-{_digest(Path(file))}" for file in files}
    kept = KeptRows(output, what, columns)
    missing = list(dict.fromkeys(key for key in keys.values() if key not in kept.rows))
    first = {key: file for file, key in reversed(keys.items())}
    measured = {"encoding": encoding, "options": chosen, "engine": engine, "device": device}
    compute = partial(_row, dag, measured, metrics, (controls, seed))
    with choices_said_once(), progress("files", len(missing), logger, shown=verbose) as advance:
        for number, row in in_threads(compute, [first[key] for key in missing], n_jobs):
            kept.add({"model": name, **row, "key": missing[number]})
            advance()
    return kept.finish(keys)


def _row(
    dag: Dag, settings: dict[str, Any], metrics: str | list[str] | None, controls: tuple[int, int], file: str
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    try:
        masks = Masks.load(file)
        counts = masks.counts()
        row |= {
            "pruner": masks.algorithm,
            "sparsity": masks.asked_sparsity,
            "reached_sparsity": masks.reached(masks.sparsity_of),
        }
        row |= {"seed": masks.seed, "kept_weights": int(counts["kept"].sum())}
        row |= {"total_weights": int(counts["total"].sum())}
        if dag.model is not None:
            masks.check(dag.model)
        measured = measure(dag, masks, **settings, metrics=metrics, on_failure="undefined")
        row["engine"] = measured.attrs["engine"]
        values = measured.to_dict()
        reasons: dict[str, str] = dict(measured.attrs["undefined"])
        n, seed = controls
        if n:
            how = settings | {"engine": row["engine"]}
            scores = standard_scores(measured, measure_controls(dag, masks, metrics=metrics, n=n, seed=seed, **how))
            values |= scores["z"].add_suffix("_z").to_dict()
            reasons |= scores.loc[scores["z"].isna(), "reason"].add_suffix("_z").to_dict()
    except MemoryError as error:
        return row | {"status": "failed", "reason": f"out of memory: {error}".rstrip(": ")}
    except Exception as error:
        why = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return row | {"status": "failed", "reason": " ".join(why.split())}
    by_reason: dict[str, list[str]] = {}
    for column, reason in reasons.items():
        by_reason.setdefault(reason, []).append(column)
    undefined = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
    return row | {"status": "finished", "undefined": undefined, **values}


# Keys


def _digest(file: Path) -> str:
    """Of what is in a file; of its name where it cannot be read, of which its row says why."""
    if not os.path.lexists(file):
        raise InputError(f"{file} does not exist.")
    try:
        return sha256(require_file(file).read_bytes()).hexdigest()[:16]
    except (InputError, OSError):
        return f"unread-{sha256(str(file).encode(errors='surrogateescape')).hexdigest()[:16]}"


def _digest_of_options(dag: Dag, example: Example | None, options: tuple[Any, ...], metrics: Any) -> str:
    """Of all that decides what a file's row is, but for the file."""
    digest = sha256(repr(options).encode())
    for entry in select(metrics, layers=bool(ENCODINGS.entry(options[1]).info["layers"])):
        digest.update(f"{entry.name} {entry.source.digest}".encode())
    args, kwargs = example_arguments(dag.example if example is None else example)
    digest.update(repr(sample_shapes(kwargs or args)).encode())
    for name, tensor in dag.state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12]
