"""What a paper needs of a study: references, a paragraph of methods, tables in LaTeX."""

from .bibliography import Reference, cite, references
from .latex import accuracy_latex, correlation_latex
from .methods_text import methods

__all__ = ["Reference", "accuracy_latex", "cite", "correlation_latex", "methods", "references"]
