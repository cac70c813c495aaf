from __future__ import annotations

import math

import numpy as np
import pytest

from topo.errors import InputError
from topo.validation import check_settings, flag, one_of, real_number, share, whole_number


def plain(shape): ...


def rich(shape, *, width=1, depth=2): ...


def test_keyword_only_parameters_are_settings():
    check_settings(rich, ["width", "depth"], "net")
    check_settings(plain, [], "net")


def test_what_is_not_a_setting_is_refused():
    with pytest.raises(InputError, match="net 'widht'; did you mean 'width'"):
        check_settings(rich, ["widht"], "net")
    with pytest.raises(InputError, match="unknown setting"):
        check_settings(rich, ["shape"], "net")
    with pytest.raises(InputError, match="takes no settings, but 'width' was given"):
        check_settings(plain, ["width"], "net")


@pytest.mark.parametrize("value", [True, 2.0, "2", None, 0, 6, math.nan])
def test_what_is_no_whole_number_within_bounds_is_refused(value):
    with pytest.raises(InputError, match=r"^rounds must be a whole number from 1 to 5, not .*\.$"):
        whole_number("rounds", value, minimum=1, maximum=5)


def test_whole_numbers_of_numpy_are_taken_as_such():
    assert whole_number("rounds", np.int64(3)) == 3
    assert type(whole_number("rounds", np.int64(3))) is int


@pytest.mark.parametrize("value", [True, "0.5", None, -0.1, 1.1, math.nan, math.inf, 1j, [0.5]])
def test_what_is_no_share_is_refused(value):
    with pytest.raises(InputError, match=r"^part must be a (finite )?number from 0 to 1, not .*\.$"):
        share("part", value)


@pytest.mark.parametrize(
    ("bounds", "bad", "sentence"),
    [
        ({"minimum": 0}, -1, "x must be a number of at least 0, not -1."),
        ({"above": 0}, 0, "x must be a number above 0, not 0."),
        ({"above": 0}, math.inf, "x must be a finite number above 0, not inf."),
        ({"minimum": 0, "below": 1}, 1, "x must be a number of at least 0 and below 1, not 1."),
        ({"above": 0, "maximum": 0.5}, 0.6, "x must be a number above 0 and of at most 0.5, not 0.6."),
        ({}, "a", "x must be a number, not 'a'."),
        ({"minimum": 0, "below": 1}, 95, "x must be a number of at least 0 and below 1, not 95; 95% is 0.95."),
        ({"infinite": True}, math.nan, "x must be a number, not nan."),
    ],
)
def test_the_sentence_says_the_bounds(bounds, bad, sentence):
    with pytest.raises(InputError) as error:
        real_number("x", bad, **bounds)
    assert str(error.value) == sentence


def test_numbers_at_their_bounds_are_taken():
    assert real_number("x", np.float32(0.5), minimum=0.5, maximum=0.5) == 0.5
    assert real_number("x", math.inf, above=0, infinite=True) == math.inf
    assert type(real_number("x", 1)) is float


@pytest.mark.parametrize("value", [1, "true", None])
def test_what_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(InputError, match="augment must be true or false"):
        flag("augment", value)
    assert flag("augment", False) is False


@pytest.mark.parametrize("value", [None, ["random"], 3])
def test_an_option_that_is_no_name_is_refused_with_the_known_ones(value):
    with pytest.raises(InputError, match=r"unknown value of growth .* Known: gradient, random"):
        one_of("growth", value, {"random": 1, "gradient": 2})
