"""What a report says before it is written: numbers of figures, words of verdicts, and what a page bears."""

from __future__ import annotations

import pytest

from topo.questions import Verdict
from topo.report import html
from topo.report.cells import summary_table
from topo.report.content import Part, Report, Said, Section, Shown, numbered
from topo.report.pictures import Picture


def drawn(name: str, size: int = 10) -> Picture:
    return Picture(name, f"title of {name}", f"alt of {name}", 400, 300, svg=f"<svg>{'x' * size}</svg>")


def report(size: int = 10) -> Report:
    more = Part("q-more", "More", pictures=(drawn("q2", size), drawn("q3", size)))
    said = Said(verdict=Verdict("yes", "Yes: so it is."), sentences=("a", "b", "c"), picture=drawn("q1"), more=more)
    parts = (Part("heat", "Heat maps", pictures=(drawn("h1", size), Picture("h2", missing="there is none"))),)
    shown = Shown("", "what was run", drawn("accuracy"), parts=parts)
    return numbered(Report("title", (shown,), (Section("q", 1, "Q", "is it so?", (said,)),)))


def test_figures_are_numbered_in_their_order_and_further_ones_by_letters():
    made = report()
    said = made.sections[0].said[0]
    assert said.picture is not None and said.more is not None
    numbers = [made.shown[0].accuracy, said.picture, *said.more.pictures, *made.shown[0].parts[0].pictures]
    assert [p.number for p in numbers] == ["1", "2", "2b", "2c", "3", ""]


@pytest.mark.parametrize(
    ("verdict", "chip", "line"),
    [
        (Verdict("yes", "Yes: so it is."), "Yes", "So it is."),
        (Verdict("no", "No, by .3 at most."), "No", "By .3 at most."),
        (Verdict("no", "No metric moves."), "No", "No metric moves."),
        (Verdict("open", "Can not tell: too few."), "Can not tell", "Too few."),
        (None, "Answer", "first"),
    ],
)
def test_the_chip_does_not_repeat_the_sentence(verdict: Verdict | None, chip: str, line: str):
    said = Said(verdict=verdict, sentences=("first", "second", "third"))
    assert (said.chip[0], said.line) == (chip, line)


def test_a_page_stays_light_and_says_where_its_figures_are(monkeypatch: pytest.MonkeyPatch):
    light = html.as_html(report(50_000), {"": ""})
    assert light.count("<figure ") == 5 and "too heavy" not in light
    monkeypatch.setattr(html, "LARGEST_PAGE", len(light) - 90_000)
    lighter = html.as_html(report(50_000), {"": ""})
    # Shown figures stay, and folded ones go from the end of the page.
    assert lighter.count("<figure ") == 3 and lighter.count("too heavy") == 2
    assert 'id="figure-q2" class' in lighter and len(lighter) < len(light) - 90_000


def test_numbers_of_a_column_have_as_many_decimals_and_stand_to_the_right():
    import pandas as pd

    table = pd.DataFrame({"name": ["a", "b"], "r": [0.1, -0.25], "share": ["9%", "–"], "n": [-0.0, 3.0]})
    made = summary_table("summary", table, {"r": "correlation."})
    assert made.rows == (("a", "0.10", "9%", "0"), ("b", "-0.25", "–", "3"))
    assert [c.number for c in made.columns] == [False, True, True, True]
    assert [c.meaning for c in made.meanings] == ["correlation"]
