from __future__ import annotations

import pytest

from topo.errors import InputError
from topo.validation import check_settings


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
