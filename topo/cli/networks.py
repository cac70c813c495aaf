"""``topo prune``, ``topo encode`` and ``topo measure``: each step alone, on a network by name or on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, counted, listed
from ..validation import one_of, whole_number
from .network import NamedNetwork
from .options import (
    Checkpoint,
    Classes,
    DataFolder,
    DatasetName,
    Encoding,
    EncodingOptions,
    Example,
    Imports,
    MaskFile,
    MaskFiles,
    Model,
    ModelSettings,
    PrunerSettings,
    Seed,
    parsed_settings,
)
from .output import say

if TYPE_CHECKING:
    import pandas as pd

    from ..encoding import LayerGraphs, MultipartiteGraph

__all__ = ["encode", "measure", "prune"]

SHOWN = 10
NOT_GIVEN = {
    "data": "needs data; give --dataset, such as --dataset digits",
    "recipe": "trains the network; give --dataset and --recipe, such as --dataset digits --recipe digits",
}
"""What to give where a pruner has not what it needs; an example of the input it always has."""


def prune(
    model: Model,
    pruner: Annotated[str, typer.Option("--pruner", "-p", help="See topo list pruners.")],
    sparsity: Annotated[float, typer.Option("--sparsity", "-s", help="Share of weights to remove, in [0, 1).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The masks file.")] = Path("masks.safetensors"),
    weights: Annotated[
        Path | None,
        typer.Option(help="Also write the pruned network's weights, trained ones too, to this .safetensors file."),
    ] = None,
    checkpoint: Checkpoint = None,
    dataset: DatasetName = None,
    data: DataFolder = None,
    example: Example = None,
    classes: Classes = None,
    seed: Seed = 0,
    recipe: Annotated[str | None, typer.Option(help="How a pruner that trains does it; see topo list recipes.")] = None,
    loss: Annotated[
        str | None, typer.Option(help="What is minimised, see topo list losses; else as the targets tell.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    model_set: ModelSettings = None,
    settings: PrunerSettings = None,
    imports: Imports = None,
) -> None:
    """Find which weights of a network to keep, and write them as masks.

    \b
      topo prune resnet20 -p synflow -s 0.95
      topo prune digits-cnn -p snip -s 0.9 --dataset digits -o snip.safetensors
      topo prune resnet20 -p magnitude -s 0.9 --checkpoint trained.safetensors
      topo prune conv6 -p synflow -s 0.98 --set rounds=20
      topo prune digits-cnn -p rigl -s 0.9 --dataset digits --recipe digits --weights trained.safetensors
      topo prune my-net -p er -s 0.9 --example 3,64,64 --import my_code.py
    """
    from .. import pruning
    from ..checkpoint import save_checkpoint
    from ..pruning.needs import NotGiven

    if weights is not None and weights.suffix != ".safetensors":
        raise InputError(f"--weights {weights} must end in .safetensors.")
    network = NamedNetwork(model, checkpoint, dataset, data, example, classes, seed, model_set)
    try:
        masks = pruning.prune(
            network.model,
            pruner,
            sparsity=sparsity,
            data=network.dataset,
            example=network.example,
            recipe=recipe,
            loss=loss,
            seed=seed,
            device=device,
            **parsed_settings(settings, pruning.prune),
        )
    except NotGiven as error:
        raise InputError(f"pruner {pruner!r} {NOT_GIVEN[error.needs]}.") from error
    masks.save(output)
    empty = masks.empty_layers()
    say(f"{output}: sparsity {masks.reached(masks.sparsity_of):.6g} over {counted(len(masks), 'layer')} by {pruner}.")
    if weights is not None:
        save_checkpoint(masks.install(network.model), weights)
        say(f"{weights}: the weights, for --checkpoint.")
    elif masks.state is not None:
        say(f"{output} holds masks alone; {pruner} changed the weights too, which --weights FILE keeps.")
    if empty:
        say(f"No weight is left in {', '.join(empty)}.", err=True, color="yellow")


def encode(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The graph file; for layer-wise encodings, a folder.")
    ] = Path("graph.safetensors"),
    encoding: Encoding = "multipartite",
    checkpoint: Checkpoint = None,
    masks: MaskFile = None,
    dataset: DatasetName = None,
    data: DataFolder = None,
    example: Example = None,
    classes: Classes = None,
    seed: Seed = 0,
    model_set: ModelSettings = None,
    settings: EncodingOptions = None,
    imports: Imports = None,
) -> None:
    """Encode a sparse network as a graph, and write it.

    \b
      topo encode resnet20 --masks masks.safetensors
      topo encode digits-mlp --dataset digits --checkpoint sparse.safetensors -o mlp.safetensors
      topo encode conv6 --masks masks.safetensors -e rolled -o layers
      topo encode resnet20 --masks masks.safetensors --set skips=projection --set padding=nodes
    """
    network = NamedNetwork(model, checkpoint, dataset, data, example, classes, seed, model_set)
    graph = network.graph(masks, encoding, settings)
    graph.save(output)
    say(f"{output}: {graph!r}")


def measure(
    source: Annotated[str, typer.Argument(metavar="GRAPH|MODEL", help="What topo encode wrote, or a network's name.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the row to this .csv, .json or .parquet file; of many masks, the table to a .csv or .parquet.",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics", "-m", help="Metrics or categories, see topo list metrics, with commas or several times."
        ),
    ] = None,
    controls: Annotated[
        int,
        typer.Option(
            help="Also z-scores against so many random masks with as many weights in every layer, such as 20."
        ),
    ] = 0,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Print what each metric costs in place of its value; of many masks the mean."),
    ] = False,
    engine: Annotated[
        str, typer.Option(help="auto, edges, or structure: without building edges, for networks with billions of them.")
    ] = "auto",
    encoding: Encoding = "multipartite",
    checkpoint: Checkpoint = None,
    masks: MaskFiles = None,
    dataset: DatasetName = None,
    data: DataFolder = None,
    example: Example = None,
    classes: Classes = None,
    seed: Seed = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads for many masks; one a core unless given.")] = None,
    model_set: ModelSettings = None,
    settings: EncodingOptions = None,
    imports: Imports = None,
) -> None:
    """Measure a graph, or a network encoded on the way: one row, printed or written; or one row a file of masks.

    \b
      topo measure graph.safetensors
      topo measure resnet20 --masks masks.safetensors -o row.csv
      topo measure digits-mlp --dataset digits --checkpoint sparse.safetensors -m local,strength
      topo measure digits-mlp --dataset digits --masks masks.safetensors --controls 20
      topo measure resnet20 --masks masks.safetensors --profile
      topo measure resnet20 --masks folder --profile
      topo measure resnet20 --masks folder -m local,paths -o table.parquet
      topo measure resnet20 --masks "runs/**/masks.safetensors" -o table.csv

    A table of many masks goes on where it was stopped.
    """
    from ..encoding import ENCODINGS, MultipartiteGraph
    from ..encoding import encode as encode_graph
    from ..features import column_names, z_scores
    from ..features import measure as measure_graph
    from ..features import profile as measured_costs
    from ..features.engines import ENGINES
    from ..features.mask_files import find_mask_files, passed_over
    from ..features.preparation import prepare_kernels
    from ..features.profiling import profile_mask_files

    names = [name for text in metrics or [] for name in text.split(",") if name] or None
    if output is not None and output.suffix not in (".csv", ".json", ".parquet"):
        raise InputError(f"{output} must end in .csv, .json or .parquet.")
    if controls:
        whole_number("--controls", controls, minimum=2)
    if profile and (controls or output is not None):
        raise InputError("--profile prints what metrics cost and measures nothing; leave out --controls and --output.")
    one_of("--engine", engine, ENGINES)
    if not source.endswith(".py") and (Path(source).exists() or "/" in source or "." in source):
        if controls:
            raise InputError("--controls needs a network and its masks, not a graph: give its name, and --masks FILE.")
        if masks or engine != "auto":
            raise InputError(f"--masks and --engine are for a network by name, not for a graph; {source} is a file.")
        graph = _load_graph(Path(source))
        column_names(names, layers=not isinstance(graph, MultipartiteGraph))  # unknown names are said first
        prepare_kernels()
        if profile:
            _print_profile(measured_costs(graph, metrics=names), repr(graph))
            return
        row = measure_graph(graph, metrics=names)
    else:
        network = NamedNetwork(source, checkpoint, dataset, data, example, classes, seed, model_set)
        network.check()
        column_names(names, layers=bool(ENCODINGS.entry(encoding).info["layers"]))
        several = masks if masks and (len(masks) > 1 or any(map(_means_several, masks))) else None
        if several and not profile and (output is None or output.suffix == ".json"):
            raise InputError("many masks become a table: give --output FILE that ends in .csv or .parquet.")
        how: dict[str, Any] = {
            "encoding": encoding,
            "options": parsed_settings(settings, encode_graph, z_scores),
            "metrics": names,
            "engine": engine,
        }
        prepare_kernels()
        if several:
            files = find_mask_files(several)
            _say_passed_over(passed_over(several, output))
            if profile:
                table = profile_mask_files(network.model, files, example=network.example, **how)
                _print_profile(table, f"{source}, the mean over {counted(table.attrs['networks'], 'file')} of masks")
                _end_with_failures(table.attrs["failed"], len(files))
            else:
                _measure_files(network, files, output, workers, controls, how)
            return
        loaded = network.masks(masks[0]) if masks else None
        if profile:
            _print_profile(measured_costs(network.model, loaded, example=network.example, **how), source)
            return
        row = measure_graph(network.model, loaded, example=network.example, **how)
        if controls:
            how["engine"] = row.attrs["engine"]
            row = _with_z_scores(row, network.z_scores(loaded, controls, how))
    if output is not None:
        _write_row(row, output)
        say(f"{output}: {counted(row.notna().sum(), 'value')}, {row.isna().sum()} undefined.")
        return
    width = max(map(len, row.index))
    undefined = row.attrs.get("undefined", {})
    for name, value in row.items():
        say(f"{name:<{width}}  " + (f"undefined: {undefined[name]}" if name in undefined else f"{value:.8g}"))


def _print_profile(table: pd.DataFrame, what: str) -> None:
    """A line a metric, the dearest first, and their sum."""
    unit, edges, engine = (table.attrs[name] for name in ("seconds_product", "edges", "engine"))
    table = table.sort_values("seconds", ascending=False, kind="stable")
    say(
        f"{what}: {edges:,.0f} edges, engine {engine}; a product, the unit of the last column, takes "
        f"{1e3 * unit:.3g} ms."
    )
    table.loc["all"] = table.sum()
    width = max(map(len, table.index))
    say(f"{'':<{width}}  {'seconds':>10}  {'products':>10}")
    for row in table.itertuples():
        say(f"{row.Index:<{width}}  {row.seconds:>10.4f}  {row.products:>10.1f}")


def _say_passed_over(files: list[Path]) -> None:
    """Name the first files that a folder of masks holds beside them."""
    if files:
        were = counted(len(files), "file", "was", "were")
        say(f"{were} passed over, not ending in .safetensors: {listed([str(file) for file in files])}.", err=True)


def _means_several(path: Path) -> bool:
    return path.is_dir() or (not path.exists() and any(character in str(path) for character in "*?["))


def _measure_files(
    network: NamedNetwork,
    files: list[Path],
    output: Path | None,
    workers: int | None,
    controls: int,
    how: dict[str, Any],
) -> None:
    """A row for every file of masks, in one table; the exit status says whether all have one."""
    from ..features import measure_mask_files

    try:
        table = measure_mask_files(
            network.model,
            files,
            output,
            example=network.example,
            controls=controls,
            seed=network.seed,
            name=network.name,
            n_jobs=workers or -1,
            **how,
        )
    except KeyboardInterrupt:
        say(f"Stopped; finished rows are kept. The same command goes on, into {output}.", err=True)
        raise typer.Exit(130) from None
    failed = table[table["status"] == "failed"]
    say(f"{output}: {len(table) - len(failed)} of {counted(len(table), 'file')} measured, {len(failed)} failed.")
    _end_with_failures(dict(zip(failed["file"], failed["reason"], strict=True)), len(table))


def _end_with_failures(failed: dict[str, str], total: int) -> None:
    """Name the files that have no row, if there are any, and end with exit status 1."""
    for file, reason in list(failed.items())[:SHOWN]:
        say(f"{file}: {reason}", err=True, color="red")
    if len(failed) > SHOWN:
        say(f"... and {len(failed) - SHOWN} more of {total}.", err=True, color="red")
    if failed:
        raise typer.Exit(1)


def _with_z_scores(row: pd.Series, scores: pd.DataFrame) -> pd.Series:
    """A row of metrics with their z-scores, and why either is undefined."""
    import pandas as pd

    scores = scores.add_suffix("_z", axis="index")
    both = pd.concat([row, scores["z"]])
    both.attrs["undefined"] = row.attrs["undefined"] | scores.loc[scores["z"].isna(), "reason"].to_dict()
    return both


def _load_graph(path: Path) -> MultipartiteGraph | LayerGraphs:
    from ..encoding import LayerGraphs, MultipartiteGraph

    return LayerGraphs.load(path) if path.is_dir() else MultipartiteGraph.load(path)


def _write_row(row: pd.Series, path: Path) -> None:
    from ..safe_files import replacing
    from ..tables import write_table

    if path.suffix != ".json":
        write_table(path, row.to_frame().T)
        return
    values = {key: None if value != value else value for key, value in row.items()}
    content = {"metrics": values, "undefined": row.attrs.get("undefined", {})}
    with replacing(path) as name:
        Path(name).write_text(json.dumps(content, indent=1), encoding="utf-8")
