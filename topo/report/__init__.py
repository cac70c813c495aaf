"""One self-contained HTML file from studies, a results table or the published tables."""

from .page import write_report

__all__ = ["write_report"]
