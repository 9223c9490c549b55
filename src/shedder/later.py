"""Functions and classes whose modules are loaded when they are first called.

A command needs one feature of all that `Shedder` has, and loading the others, or what draws bars
and plots, would take longer than the command. Type checkers see the same names imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any


def later(names: Iterable[tuple[str, str]]) -> dict[str, Callable[..., Any]]:
    """A function by name for each of `names`: a module, and what is called of it."""
    return {name: _caller(module, name) for module, listed in names for name in listed.split()}


def _caller(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*args, **options)

    return call
