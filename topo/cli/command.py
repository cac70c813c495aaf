"""What all commands have in common."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from ..errors import InputError

__all__ = ["Command"]


class Command(TyperCommand):
    """A command that takes an option with one value once, and never only the last of several."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        several = {
            option.name for option in order if getattr(option, "multiple", False) or getattr(option, "count", False)
        }
        given = [option for option in order if option.param_type_name == "option" and option.name not in several]
        for option in dict.fromkeys(given):
            if given.count(option) > 1:
                raise InputError(f"{option.opts[0]} is given {given.count(option)} times and takes one value.")
        return super().parse_args(ctx, args)
