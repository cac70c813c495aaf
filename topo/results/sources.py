"""Whose tables the toolkit shows: who made them, where they are published, and under which licence."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED_TABLES", "TableSource"]


@dataclass(frozen=True)
class TableSource:
    """Where tables come from.

    Attributes
    ----------
    authors, title, year
        Of the paper that they belong to.
    identifier
        Of the paper.
    repository
        Where the files lie.
    licence
        Of the repository.
    """

    authors: str
    title: str
    year: int
    identifier: str
    repository: str
    licence: str

    def citation(self) -> str:
        """Who made the tables, and under which licence, in one sentence.

        Examples
        --------
        >>> PUBLISHED_TABLES.citation().startswith("The published tables are those of Cunegatti, Bucur & Iacca")
        True
        """
        return (
            f"The published tables are those of {self.authors}, “{self.title}” ({self.identifier}, {self.year}): files "
            f"of the repository {self.repository}, licence {self.licence}. Their values are shown as published; all "
            "figures and statistics here were computed from them anew."
        )


PUBLISHED_TABLES = TableSource(
    authors="Cunegatti, Bucur & Iacca",
    title="Peeking inside Sparse Neural Networks using Multi-Partite Graph Representations",
    year=2023,
    identifier="arXiv 2305.16886",
    repository="github.com/eliacunegatti/mge-snn",
    licence="Apache-2.0",
)
