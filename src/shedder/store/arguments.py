"""Arguments of public methods, compared with their annotations before anything is sent to Redis.

A value of a wrong type may be stored as well as a right one, and then stands for ever, or stops the
next list that reads it. The annotations are read as text, so that no module is loaded for a type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache, wraps
from inspect import Parameter, isfunction, signature
from typing import Any, TypeVar

from shedder.errors import InvalidInput

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

LONGEST_TEXT = 65_536
"""Characters of one argument; the journal is read whole pages at once."""

_MADE_BY_CALLERS = frozenset({
    "Rate", "Selection", "Policy", "Rule", "Defaults", "Mitigation", "IncidentPolicy", "WebPolicy",
})  # fmt: skip
"""Records whose fields are checked, too."""

LARGEST_INT = 2**53
"""Whole numbers from here on are not exact in a script."""

Test = tuple[Callable[[Any], bool], str]
"""Whether a value is of a kind, and how an error calls this kind."""


def checks_arguments(kind: C) -> C:
    """A class decorator: the public methods of `kind` refuse what is not of their annotations.

    They raise `InvalidInput`, before they do anything.
    """
    for name, found in [*vars(kind).items()]:
        if isfunction(found) and not name.startswith("_"):
            setattr(kind, name, checked(found))
    return kind


def checked(function: F) -> F:
    """A decorator: `function` refuses arguments that are not of their annotations, with `InvalidInput`."""

    @wraps(function)
    def checks(*args: Any, **options: Any) -> Any:
        _check(function, args, options)
        return function(*args, **options)

    return checks  # type: ignore[return-value]  # of the same signature


def _check(function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    try:
        given = _signature(function).bind(*args, **options).arguments
    except TypeError:  # the call says it better
        return
    for name, (is_many, annotation) in _parameters(function).items():
        if name in given:
            for value in given[name] if is_many else (given[name],):
                _check_value(name, value, annotation)


def _check_value(name: str, value: Any, annotation: str) -> None:
    tests = _tests(annotation)
    if not any(is_of_kind(value) for is_of_kind, _ in tests):
        raise InvalidInput(name=name, value=value, accepted=" or ".join(said for _, said in tests))
    for each in value if isinstance(value, list | tuple) else (value,):
        if type(each).__name__ in _MADE_BY_CALLERS and is_dataclass(each):
            for one in fields(each):
                _check_value(f"{name}.{one.name}", getattr(each, one.name), str(one.type))


_signature = cache(signature)


@cache
def _parameters(function: Callable[..., Any]) -> dict[str, tuple[bool, str]]:
    """By name whether a parameter takes any number of values, and the annotation of each."""
    return {
        each.name: (each.kind is Parameter.VAR_POSITIONAL, each.annotation)
        for each in _signature(function).parameters.values()
        if isinstance(each.annotation, str) and each.kind is not Parameter.VAR_KEYWORD
    }


@cache
def _tests(annotation: str) -> tuple[Test, ...]:
    return tuple(map(_test, _split(annotation, "|")))


def _split(text: str, by: str) -> list[str]:
    """The parts of `text` between `by`, but for those in brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == by and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _test(kind: str) -> Test:
    if kind in _PLAIN:
        return _PLAIN[kind]
    outer, _, inner = kind.removesuffix("]").partition("[")
    if outer in ("tuple", "Sequence", "Collection"):
        return _test_of_items(_split(inner, ",")[0])
    if outer == "Mapping":
        return _test_of_mapping(*_split(inner, ","))
    if outer == "Callable":
        return _CALLABLE
    return _test_of_class(outer.rpartition(".")[2])


def _test_of_items(item: str) -> Test:
    tests = _tests(item)

    def is_of_kind(value: Any) -> bool:
        return isinstance(value, list | tuple) and all(any(is_one(each) for is_one, _ in tests) for each in value)

    return is_of_kind, f"a tuple, each item {' or '.join(said for _, said in tests)}"


def _test_of_mapping(key: str, item: str) -> Test:
    tests, (is_key, said_of_key) = _tests(item), _test(key)

    def is_of_kind(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            is_key(name) and any(is_one(each) for is_one, _ in tests) for name, each in value.items()
        )

    return is_of_kind, f"a mapping, each key {said_of_key}, each value {' or '.join(said for _, said in tests)}"


def _test_of_class(name: str) -> Test:
    if re.fullmatch("[A-Z]", name):  # of a caller's own type
        return _PLAIN["Any"]
    return (lambda value: any(each.__name__ == name for each in type(value).__mro__)), f"a value of the class {name}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_INT


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) and value.utcoffset() is not None


_CALLABLE = (callable, "a function")

_PLAIN: Mapping[str, Test] = {
    "Any": (lambda _: True, "anything"),
    "object": (lambda _: True, "anything"),
    "None": (lambda value: value is None, "None"),
    "str": (_is_text, f"text of at most {LONGEST_TEXT:,} characters"),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "int": (_is_int, "a whole number"),
    "float": (_is_number, "a finite number"),
    "datetime": (_is_time, "a datetime with its time zone"),
    "timedelta": (lambda value: isinstance(value, timedelta), "a timedelta"),
    "Decide": _CALLABLE,
    "Progress": _CALLABLE,
}
