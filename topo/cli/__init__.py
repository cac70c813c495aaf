"""The command line: ``topo --help``. Every command is a few lines over the public interface."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from ..errors import InputError
from . import listing, networks, publishing, report, study, weights
from .command import Command
from .output import LogFormatter, say

__all__ = ["app", "main", "show_warning"]


class _Group(TyperGroup):
    """A group of commands that answers bad input with one sentence and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            if ctx.find_root().params.get("debug"):
                raise
            say(f"topo: {error}", err=True, color="red")
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        say(f"topo {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Prune neural networks, encode what remains as graphs, measure the graphs, relate them to accuracy.

    A study does it all at once, for many networks; start with one:

    \b
      topo study run examples/digits.yaml      a grid of networks
      topo study status studies/digits         how far it has come
      topo report studies/digits               one HTML file of what came out

    Each step also works alone, on a network by name and a checkpoint of yours:

    \b
      topo list pruners
      topo prune resnet20 -p synflow -s 0.95 -o masks.safetensors
      topo encode resnet20 --masks masks.safetensors
      topo measure graph.safetensors -o row.csv

    What you wrote yourself has a name, too, with --import my_code.py on any command.
    Every command explains itself: topo COMMAND --help.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(message)s"))
    logger = logging.getLogger("topo")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    context.call_on_close(lambda: logger.removeHandler(handler))


app.command("list", cls=Command)(listing.list_names)
app.command(cls=Command)(networks.prune)
app.command(cls=Command)(networks.encode)
app.command(cls=Command)(networks.measure)
app.command(cls=Command)(weights.weights)
app.command("report", cls=Command)(report.report)
app.command(cls=Command)(publishing.cite)
app.command(cls=Command)(publishing.methods)
app.command(cls=Command)(publishing.latex)
app.add_typer(study.app, name="study", cls=_Group)


def main() -> None:
    """The command ``topo``."""
    warnings.showwarning = show_warning
    app(prog_name="topo")


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show what a command has to say beside its result in one line, without the place in the code.

    Parameters
    ----------
    message, category, filename, lineno, file, line
        As for `warnings.showwarning`.
    """
    where = "" if category is UserWarning else f" ({category.__name__} in {filename}:{lineno})"
    say(f"topo: {message}{where}", err=True, color="yellow")
