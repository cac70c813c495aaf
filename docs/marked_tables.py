"""Tables in a page that a program writes, each between ``<!-- name: how to write it -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """The page with each table in its place; `ValueError` unless each has one."""
    for name, table in tables.items():
        text, found = re.subn(
            rf"(<!-- {name}: .*? -->\n).*?(\n<!-- end -->)",
            lambda match, table=table: f"{match[1]}\n{table}\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"the page has {found} places for the table {name}")
    return text
