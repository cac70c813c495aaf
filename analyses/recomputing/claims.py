"""Sentences whose numbers and words are compared with values that were computed anew."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Any", "Claim", "Range", "near", "p_range"]

NUMBER = re.compile(r"(?<![\w.])[+−-]?(?:\d[\d,]*)?\.?\d+%?")
# Numbers that are settings of the questions and no results.
CONSTANTS = ("95% interval", "95% confidence", "5% false-discovery rate", "80% probability", "80% of cases", "mean |ρ|")
WORDS = {"none": 0.0, "no": 0.0, "one": 1.0}


@dataclass(frozen=True)
class Range:
    """A number known to lie between two others, where chance was drawn anew."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True)
class Any:
    """One of several texts, where they are as good as equal."""

    of: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(self.of)


def near(value: float, tolerance: float) -> Range:
    """The values that differ from one by at most a tolerance."""
    return Range(value - tolerance, value + tolerance)


def p_range(p: float, draws: int) -> Range:
    """Where the p-value of as many other random permutations lies: three standard errors of both around this one."""
    error = 3 * (2 * max(p, 1 / draws) * (1 - p) / draws) ** 0.5
    return Range(max(p - error, 0.0), min(p + error, 1.0))


@dataclass
class Claim:
    """One sentence, and what came of computing it anew."""

    place: str
    text: str
    agrees: int = 0
    differs: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    _seen: list[tuple[int, int]] = field(default_factory=list)

    def says(self, template: str, **values: object) -> bool:
        """Compare a part of the sentence with values: ``{name}`` in the template stands for what the text has there.

        Parameters
        ----------
        template
            The sentence's own words, with names in braces.
        **values
            What was computed, by name: a number (in hundredths where the text has a percent sign), a `Range`, a text,
            or `Any`; None for what is not computed.

        Returns
        -------
        bool
            Whether the sentence has such a part.
        """
        pieces = re.split(r"\{(\w+)\}", template)
        pattern = "".join(
            f"(?P<{piece}>{'.+?' if pieces[-1] else '.+'})" if i % 2 else re.escape(piece)
            for i, piece in enumerate(pieces)
        )
        found = re.search(pattern, self.text)
        if not found:
            self.differs.append(f"no such words: {template!r}")
            return False
        self._seen.append(found.span())
        for name, value in values.items():
            said = found[name]
            if value is None:
                self.unknown.append(f"{said} ({name})")
            elif agree(said, value):
                self.agrees += 1
            else:
                self.differs.append(f"{name}: said {said}, is {shown(value)}")
        return True

    def says_pattern(self, pattern: str, value: object, text: str | None = None, second: object = None) -> bool:
        """As `says`, by a regular expression whose first group (and second one) are compared.

        Parameters
        ----------
        pattern
            The expression.
        value, second
            What was computed.
        text
            The end of the sentence in which it is looked for.
        """
        start = len(self.text) - len(text) if text else 0
        found = re.compile(pattern).search(self.text, start)
        if not found:
            self.differs.append(f"no such words: {pattern!r}")
            return False
        self._seen.append(found.span())
        for place, expected in ((1, value), (2, second)):
            if expected is None:
                continue
            if agree(found[place], expected):
                self.agrees += 1
            else:
                self.differs.append(f"{found[0]!r}: is {shown(expected)}")
        return True

    def leave(self, template: str, why: str) -> None:
        """Note that a part of the sentence is not computed anew, and why."""
        if self.says(template):
            self.unknown.append(f"{template[:40]}…: {why}")

    def skip(self, why: str) -> None:
        """Note that the whole sentence is not computed anew, and why."""
        self._seen.append((0, len(self.text)))
        self.unknown.append(why)

    def holds(self, what: str, true: bool) -> None:
        """Compare a statement in words."""
        if true:
            self.agrees += 1
        else:
            self.differs.append(f"not so: {what}")

    def lines(self) -> list[str]:
        """What to print: the verdict on the sentence, and what differs or is left."""
        marked = list(self.text)
        for start, end in self._seen:
            marked[start:end] = " " * (end - start)
        left = "".join(marked)
        for constant in CONSTANTS:
            left = left.replace(constant, "")
        missing = NUMBER.findall(left)
        unknown = [*self.unknown, *([f"numbers {', '.join(missing)}"] if missing else [])]
        state = "DIFFERS" if self.differs else "not recomputed" if not self.agrees else "agrees"
        head = f"{self.place}: {state} ({self.agrees} compared)"
        return [head, f"    {self.text}", *(f"    ! {d}" for d in self.differs), *(f"    ? {u}" for u in unknown)]


def agree(said: str, value: object) -> bool:
    """Whether a text says a value, to the digits that it has."""
    if isinstance(value, Any):
        return said in value.of
    if isinstance(value, str):
        return said == value
    text = said.strip().replace("−", "-").replace(",", "").removeprefix("p ").removeprefix("= ")
    below = re.fullmatch(r"≤ (\.\d+)", text)
    low, high = (value.low, value.high) if isinstance(value, Range) else (float(value), float(value))  # type: ignore[arg-type]
    if below:
        return low <= float(below[1])
    percent = text.endswith("%")
    text = text.removesuffix("%")
    try:
        number = WORDS[text] if text in WORDS else float(text)
    except ValueError:
        return False
    digits = len(text.partition(".")[2])
    scale = 100 if percent else 1
    half = 0.5000001 * 10.0**-digits
    return low * scale - half <= number <= high * scale + half


def shown(value: object) -> str:
    """A value as a message writes it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counts(claims: Iterable[Claim]) -> str:
    """How many sentences and numbers agree, differ, or are left."""
    claims = list(claims)
    bad = [c for c in claims if c.differs]
    left = [c for c in claims if not c.differs and not c.agrees]
    return (
        f"{len(claims)} sentences, {sum(c.agrees for c in claims)} numbers and words that agree; {len(bad)} sentences "
        f"differ ({sum(len(c.differs) for c in bad)} places); {len(left)} were not recomputed at all."
    )
