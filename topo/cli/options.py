"""Options that several commands have."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from ..dag.example import Example as ExampleInput

__all__ = [
    "Checkpoint",
    "Classes",
    "DataFolder",
    "DataRoot",
    "DatasetName",
    "Encoding",
    "EncodingOptions",
    "Example",
    "Imports",
    "MaskFile",
    "Model",
    "ModelSettings",
    "PrunerSettings",
    "Seed",
    "parsed_example",
    "parsed_settings",
]


def import_own_code(context: typer.Context, sources: list[str] | None) -> list[str] | None:
    """Import the files and modules of ``--import`` before any name is looked up."""
    from ..own_code import import_code

    if sources and not context.resilient_parsing:  # as it is for shell completion
        if os.getcwd() not in sys.path:  # where `python -m topo` would find modules, too
            sys.path.append(os.getcwd())
        for source in sources:
            import_code(source)
    return sources


Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="FILE|MODULE",
        help="Python file or module of your own, imported first: it registers pruners, metrics, models...; "
        "may be repeated.",
        callback=import_own_code,
        is_eager=True,
    ),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A network's name; see topo list models.")]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Its weights (.safetensors, or a state dict in .pt); else fresh ones by --seed.")
]
MaskFile = Annotated[Path | None, typer.Option("--masks", help="Masks written by topo prune; else non-zero weights.")]
MaskFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--masks",
        help="Masks written by topo prune, else non-zero weights; a folder of them, a quoted pattern, or several.",
    ),
]
DatasetName = Annotated[str | None, typer.Option("--dataset", help="Gives data, input shape and number of classes.")]
DataFolder = Annotated[Path | None, typer.Option("--data", help="Folder of the dataset's files.")]
DataRoot = Annotated[str | None, typer.Option(help="Folder that holds each dataset in a folder of its name.")]
Example = Annotated[
    list[str] | None,
    typer.Option(
        "--example",
        metavar="SHAPE|NAME=SHAPE|FILE",
        help="The network's input: the shape of one sample such as 3,32,32, once for each input; NAME=SHAPE for "
        "inputs by keyword; or a .safetensors file of tensors.",
    ),
]
Classes = Annotated[int | None, typer.Option("--classes", min=1, help="Outputs of the network; 10 unless given.")]
Seed = Annotated[int, typer.Option(help="Of fresh weights and of every random choice.")]
ModelSettings = Annotated[list[str] | None, typer.Option("--model-set", help="A setting of the network, KEY=VALUE.")]
PrunerSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting of the pruner, KEY=VALUE, see topo list pruners NAME; or include, exclude (patterns on names) "
        "or sparsity_of. May be repeated.",
    ),
]
Encoding = Annotated[str, typer.Option("--encoding", "-e", help="See topo list encodings.")]
EncodingOptions = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of the encoding, KEY=VALUE; may be repeated. See topo list encodings."),
]


# Arguments of `topo.prune` that the command takes as settings.
NO_OPTION = {"include", "exclude", "sparsity_of", "allow_empty_layers"}


def parsed_settings(settings: list[str] | None, *functions: Callable[..., Any]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as a dict, the values read as in a study file.

    Parameters
    ----------
    settings
        The texts; None for none. Hyphens in keys become underscores.
    functions
        What takes the settings; their own arguments are none, for which the command has arguments or options.

    Returns
    -------
    dict
        Key -> value.

    Raises
    ------
    InputError
        When a text has no key or no ``=``, its key is no setting, or its value is not YAML.

    Examples
    --------
    >>> parsed_settings(["rounds=20", "widths=[64, 32]"])
    {'rounds': 20, 'widths': [64, 32]}
    """
    from ..study.yaml_file import parse_value

    reserved = {name for function in functions for name in signature(function).parameters} - NO_OPTION
    parsed = {}
    for text in settings or []:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise InputError(f"setting {text!r} is not of the form KEY=VALUE.")
        name = key.replace("-", "_")
        if name in reserved:
            raise InputError(f"{key!r} is no setting; the command has an argument or an option for it (see --help).")
        parsed[name] = parse_value(value)
    return parsed


def parsed_example(texts: list[str]) -> ExampleInput:
    """What the values of ``--example`` stand for, in the forms that `topo.trace` takes.

    Parameters
    ----------
    texts
        The values in the order given: shapes such as ``"3,32,32"``, ``"NAME=SHAPE"``, or one ``.safetensors`` file.

    Returns
    -------
    tuple or dict
        The shape of one sample, a tuple of shapes, a dict of shapes, or the tensors of the file.

    Raises
    ------
    InputError
        When one of them is neither a shape nor a file, or forms are mixed.

    Examples
    --------
    >>> parsed_example(["3,32,32"]), parsed_example(["4", "2"]), parsed_example(["x=4", "y=2"])
    ((3, 32, 32), ((4,), (2,)), {'x': (4,), 'y': (2,)})
    """
    if any(text.endswith(".safetensors") for text in texts):
        if len(texts) > 1:
            raise InputError("--example takes either one file of tensors or shapes, not both.")
        return _tensors(Path(texts[0]))
    named = [text.partition("=") for text in texts]
    if all(equals for _, equals, _ in named):
        return {name: _shape(shape) for name, _, shape in named}
    if any(equals for _, equals, _ in named):
        raise InputError("--example takes either shapes or NAME=SHAPE, not both.")
    shapes = tuple(_shape(text) for text in texts)
    return shapes[0] if len(shapes) == 1 else shapes


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise InputError(f"--example {text!r} is not a shape such as 3,32,32.") from None


def _tensors(path: Path) -> ExampleInput:
    """Tensors of a file: arguments in their order where they are named 0, 1, ..., else keyword arguments."""
    import torch

    from ..safe_files import read_arrays

    tensors = {name: torch.from_numpy(array) for name, array in read_arrays(path)[0].items()}
    if not tensors:
        raise InputError(f"{path} holds no tensors.")
    if sorted(tensors) == sorted(map(str, range(len(tensors)))):
        return tuple(tensors[str(i)] for i in range(len(tensors)))
    return tensors
