"""A report from studies, a results table or the published tables: one HTML page, or Markdown."""

from .page import write_report

__all__ = ["write_report"]
