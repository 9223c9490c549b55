"""Functions, classes and modules that are loaded when they are first used.

A command needs one feature of all that `Shedder` has, and loading the others, or what draws bars
and plots, would take longer than the command. Type checkers see the same names imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def later(names: Iterable[tuple[str, str]]) -> dict[str, Later]:
    """What stands for each of `names`, by name: a module or a package, and what is imported of it."""
    return {name: Later(module, name) for module, listed in names for name in listed.split()}


class Later:
    """What `from module import name` gives, imported when it is called or asked for an attribute."""

    def __init__(self, module: str, name: str) -> None:
        self._home = module, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Import it, and call it."""
        return self._imported()(*args, **options)

    def __getattr__(self, attribute: str) -> Any:
        """Import it for an attribute."""
        return getattr(self._imported(), attribute)

    def _imported(self) -> Any:
        module, name = self._home
        return getattr(__import__(module, fromlist=(name,)), name)
