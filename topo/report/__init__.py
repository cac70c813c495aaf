"""One self-contained HTML file from a study or a results table."""

from .page import write_report

__all__ = ["write_report"]
