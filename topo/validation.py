"""Checks of the settings that a caller gives, in one clear sentence, and what the settings of a function are."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import InputError, nearest, unknown_name

__all__ = [
    "Setting",
    "check_settings",
    "check_type",
    "check_values",
    "flag",
    "one_of",
    "real_number",
    "settings_of",
    "share",
    "whole_number",
]

T = TypeVar("T")


def whole_number(name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """Check that a setting is a whole number within bounds, which both belong to what is allowed.

    Parameters
    ----------
    name
        What the error calls the setting.
    value
        The value to check; ``True`` and ``False`` are no numbers, and 2.0 is not whole.
    minimum, maximum
        The smallest and the largest allowed value; no bound when None.

    Returns
    -------
    int
        The value.

    Raises
    ------
    InputError
        When it is something else.

    Examples
    --------
    >>> whole_number("rounds", 3, minimum=1)
    3
    >>> whole_number("rounds", 0, minimum=1)
    Traceback (most recent call last):
    topo.errors.InputError: rounds must be a whole number of at least 1, not 0.
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        raise InputError.of_setting(name, f"{name} must be a whole number{_bounds(minimum, maximum)}, not {value!r}.")
    return number


def real_number(
    name: str,
    value: Any,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    infinite: bool = False,
) -> float:
    """Check that a setting is a number within bounds.

    Parameters
    ----------
    name
        What the error calls the setting.
    value
        The value to check; ``True``, ``False`` and NaN are no numbers.
    minimum, maximum
        The smallest and the largest allowed value; no bound when None.
    above, below
        Bounds that are themselves not allowed; no bound when None.
    infinite
        Whether infinity is allowed.

    Returns
    -------
    float
        The value.

    Raises
    ------
    InputError
        When it is something else.

    Examples
    --------
    >>> real_number("damping", 1, minimum=0)
    1.0
    >>> real_number("rate", 1.5, above=0, below=1)
    Traceback (most recent call last):
    topo.errors.InputError: rate must be a number above 0 and below 1, not 1.5.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    finite = number and (math.isfinite(value) or (infinite and not math.isnan(value)))
    if (
        not finite
        or (minimum is not None and value < minimum)
        or (maximum is not None and value > maximum)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    ):
        kind = "finite number" if number and not finite and not infinite else "number"
        is_share = {maximum, below} & {1} and {minimum, above} & {0}
        percent = f"; {value:g}% is {value / 100:g}" if finite and is_share and 5 <= value <= 100 else ""
        wanted = f"{name} must be a {kind}{_bounds(minimum, maximum, above, below)}"
        raise InputError.of_setting(name, f"{wanted}, not {value!r}{percent}.")
    return float(value)


def share(name: str, value: Any) -> float:
    """Check that a setting is a number from 0 to 1.

    Parameters
    ----------
    name
        Name of the setting, for the message.
    value
        What was given.

    Returns
    -------
    float
        `value`.

    Examples
    --------
    >>> share("drop_fraction", 0.3)
    0.3
    >>> share("drop_fraction", 30)
    Traceback (most recent call last):
    topo.errors.InputError: drop_fraction must be a number from 0 to 1, not 30; 30% is 0.3.
    """
    return real_number(name, value, minimum=0, maximum=1)


def flag(name: str, value: Any) -> bool:
    """Check that a setting is ``True`` or ``False``.

    Parameters
    ----------
    name
        Name of the setting, for the message.
    value
        What was given.

    Returns
    -------
    bool
        `value`.

    Raises
    ------
    InputError
        When it is anything else, 0 and 1 included.

    Examples
    --------
    >>> flag("augment", "yes")
    Traceback (most recent call last):
    topo.errors.InputError: augment must be true or false, not 'yes'.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, not {value!r}.")
    return value


def one_of(name: str, value: T, options: Iterable[str]) -> T:
    """Check that a setting is one of some names; the error suggests the nearest ones.

    Parameters
    ----------
    name
        Name of the setting, for the message.
    value
        What was given.
    options
        The names that are allowed.

    Returns
    -------
    object
        `value`.

    Examples
    --------
    >>> one_of("growth", "random", ["gradient", "random"])
    'random'
    >>> one_of("growth", "randm", ["gradient", "random"])
    Traceback (most recent call last):
    topo.errors.InputError: unknown value of growth 'randm'; did you mean 'random'? Known: gradient, random.
    """
    names = list(options)
    if value not in names:
        shown = value if isinstance(value, str) else repr(value)
        raise InputError.of_setting(name, str(unknown_name(f"value of {name}", shown, names)))
    return value


@dataclass(frozen=True)
class Setting:
    """A keyword-only parameter of a function, as its signature and its docstring have it.

    Attributes
    ----------
    name, type
        As in the signature; the type as text, empty when it is not annotated.
    default
        `inspect.Parameter.empty` when the setting must be given.
    text
        What the section "Parameters" of the docstring says of it; empty when it says nothing.
    """

    name: str
    type: str
    default: Any
    text: str


def settings_of(function: Callable[..., Any]) -> list[Setting]:
    """The settings of a function: its keyword-only parameters, with their types, defaults and documentation.

    Parameters
    ----------
    function
        A function; or a class or an object to be called, whose settings its base classes may document.

    Returns
    -------
    list
        One `Setting` each, in the order of the signature.

    Examples
    --------
    >>> settings_of(whole_number)[0]
    Setting(name='minimum', type='int | None', default=None, text='The smallest and the largest allowed value; no ...')
    """
    texts: dict[str, str] = {}
    classes = inspect.getmro(function if isinstance(function, type) else type(function))
    for documented in (function, *classes):
        texts = {**_documented_parameters(documented), **texts}
    return [
        Setting(parameter.name, _as_text(parameter.annotation), parameter.default, texts.get(parameter.name, ""))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]


def check_settings(
    function: Callable[..., Any], settings: Iterable[str], owner: str, *, caller: Callable[..., Any] | None = None
) -> None:
    """Refuse settings that are not keyword-only parameters of `function`.

    Parameters
    ----------
    function
        The function that will receive the settings.
    settings
        The names that were given.
    owner
        What the error says that they were given to, such as ``"pruner 'snip'"``.
    caller
        The function that was called with the settings, whose own arguments the error suggests, too.

    Raises
    ------
    InputError
        Names the first unknown setting, its `owner` and the nearest right names.

    Examples
    --------
    >>> def build(shape, *, width=1): ...
    >>> check_settings(build, ["width"], "model 'net'")
    >>> check_settings(build, ["widht"], "model 'net'")
    Traceback (most recent call last):
    topo.errors.InputError: unknown setting of model 'net' 'widht'; did you mean 'width'? Known: width.
    """
    known = [setting.name for setting in settings_of(function)]
    arguments = [] if caller is None else list(inspect.signature(caller).parameters)
    for name in settings:
        if not known and not nearest(name, arguments):
            raise InputError(f"{owner} takes no settings, but {name!r} was given; leave it out.")
        if name not in known:
            raise unknown_name(f"setting of {owner}", name, known, also=arguments)


def check_values(function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Refuse settings whose values are of another type than the keyword-only parameters of `function`.

    Parameters
    ----------
    function
        The function that will receive the settings.
    settings
        Name -> value.

    Raises
    ------
    InputError
        Names the first that does not fit.

    Examples
    --------
    >>> def build(shape, *, width: int = 1): ...
    >>> check_values(build, {"width": "a"})
    Traceback (most recent call last):
    topo.errors.InputError: width must be a whole number, not 'a'.
    """
    hints = _hints(function)
    for setting in settings_of(function):
        if setting.name in settings:
            check_type(setting.name, settings[setting.name], hints.get(setting.name) or _type_of(setting))


def check_type(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of a type.

    Parameters
    ----------
    name
        What the error calls it.
    value
        What was given.
    hint
        A type as annotations have it; others than numbers, texts, truths, choices and lists of them are not checked.

    Raises
    ------
    InputError
        When it is of another type.

    Examples
    --------
    >>> check_type("widths", [8, 4], Sequence[int])
    >>> check_type("widths", [8, "a"], Sequence[int])
    Traceback (most recent call last):
    topo.errors.InputError: every number of widths must be a whole number, not 'a'.
    """
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        one_of(name, value, parts)
    elif kind in (Union, UnionType):
        if value is None and NoneType in parts:
            return
        options = [part for part in parts if part is not NoneType]
        for option in options[:-1]:
            with suppress(InputError):
                return check_type(name, value, option)
        check_type(name, value, options[-1])
    elif hint is bool:
        flag(name, value)
    elif hint is int:
        if not -(2**63) <= whole_number(name, value) < 2**63:
            raise InputError(f"{name} must be a whole number of at most 64 bits.")
    elif hint is float:
        real_number(name, value, infinite=True)
    elif hint is str:
        if not isinstance(value, str):
            raise InputError(f"{name} must be text, not {value!r}.")
    elif kind in (list, tuple, Sequence):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(f"{name} must be a list, not {value!r}.")
        inner = {part for part in parts if part is not Ellipsis}
        for each in value if len(inner) == 1 else ():
            check_type(f"every number of {name}", each, *inner)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters; none where what it is annotated with cannot be found."""
    try:
        return get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    except Exception:  # annotations of others may be anything
        return {}


def _type_of(setting: Setting) -> Any:
    """The type of a setting by what a signature that was put together says of it, else by its default."""
    simple = {"bool": bool, "int": int, "float": float, "str": str, "None": None}
    if setting.type:
        parts = [part.strip() for part in setting.type.split("|")]
        return Union[*(simple[part] for part in parts)] if set(parts) <= set(simple) else None
    return {bool: bool, int: float, float: float, str: str}.get(type(setting.default))


def _documented_parameters(documented: object) -> dict[str, str]:
    """Parameter name -> its text in the numpydoc section "Parameters" of a docstring."""
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", inspect.cleandoc(documented.__doc__ or ""), re.S | re.M
    )
    texts: dict[str, str] = {}
    if section:
        for heading, text in re.findall(r"^(\S[^\n]*)\n((?:^(?:[ ]+[^\n]*)?(?:\n|\Z))*)", section[1], re.M):
            for name in heading.partition(" : ")[0].split(","):
                texts[name.strip().lstrip("*")] = " ".join(text.split())
    return texts


def _as_text(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _bounds(
    minimum: float | None, maximum: float | None, above: float | None = None, below: float | None = None
) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:g} to {maximum:g}"
    parts = [
        text.format(bound)
        for text, bound in (
            ("of at least {:g}", minimum),
            ("above {:g}", above),
            ("of at most {:g}", maximum),
            ("below {:g}", below),
        )
        if bound is not None
    ]
    return f" {' and '.join(parts)}" if parts else ""
