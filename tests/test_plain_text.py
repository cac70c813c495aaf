from __future__ import annotations

import logging
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topo.plain_text import plain
from topo.progress import progress

EVIL = {
    "\x1b[31mred\x1b[0m": "red",
    "\x1b]0;title\x07name": "name",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
    "\x9b2Jgone": "gone",
    "a\rb\nc\td": "a b c d",
    "a\x08\x08b": "ab",
    "abc\u202edef\u2066": "abcdef",
    "\ufeffa\u200bb": "ab",
    "half \udc80": "half \ufffd",
    "\x1b": "",
    "\x1b[": "",
    "\x1b]never ends": "",
    "größer ≤ 3 日本 👩‍🔬 [b]": "größer ≤ 3 日本 👩‍🔬 [b]",
}


@pytest.mark.parametrize("text", EVIL)
def test_what_terminals_obey_is_left_out(text: str):
    assert plain(text) == EVIL[text]


def test_lines_may_stay():
    assert plain("a\n\x1b[1mb\r\n", lines=True) == "a\nb\n"


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.text(st.sampled_from("ab[];?m0\x07\\\x1b\x9b\x9d\x00\n\r\t\u202e\u2028\udcff é"), max_size=20))
def test_nothing_is_left_that_is_not_shown(text: str):
    shown = plain(text)
    assert plain(shown) == shown
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert "\u202e" not in shown
    shown.encode()


def test_the_bar_shows_what_it_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("[/b] mag [global] :smile:\x1b]0;x\x07", 1, logging.getLogger("topo")) as advance:
        advance()
    shown = capsys.readouterr().err
    assert "[/b] mag [global] :smile: " in shown and "\x1b]" not in shown
