"""What a program imports from `shedder` itself."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args, get_type_hints

import pytest

import shedder
from shedder.api.policies import Policies
from shedder.incident.incidents import Incidents
from shedder.incident.review import Actions
from shedder.incident.roles import Roles

NAMES = sorted(set(shedder.__all__) - {"__version__"})
NEEDS_AN_EXTRA = ("shedder.__main__", "shedder.demo", "shedder.django", "shedder.flask")


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_that_of_its_home(name: str) -> None:
    """A name that `shedder` has is what its home defines, and no other thing of this name."""
    (home,) = [home for home, names in shedder._HOMES.items() if name in names.split()]
    found = getattr(shedder, name)
    kind = found if inspect.isclass(found) else type(found)
    assert home == kind.__module__
    assert name in dir(importlib.import_module(home))


@pytest.mark.parametrize("area", [shedder.Shedder, Incidents, Roles, Actions, Policies])
def test_each_record_that_a_method_returns_is_imported_from_shedder(area: type) -> None:
    """The records that methods return, and those in them, need no path of a module."""
    scope = all_names() | vars(shedder) | {"shedder": shedder}
    seen: set[type] = set()
    for name, method in inspect.getmembers(area, inspect.isfunction):
        if not name.startswith("_"):
            collect(get_type_hints(method, localns=scope)["return"], scope, seen)
    assert seen
    assert set() == {kind.__name__ for kind in seen} - set(NAMES)


def collect(hint: Any, scope: dict[str, Any], seen: set[type]) -> None:
    """Add to `seen` the records of ours that `hint` names, and those in their fields."""
    for inner in get_args(hint):
        collect(inner, scope, seen)
    is_ours = inspect.isclass(hint) and hint.__module__.startswith("shedder.")
    if is_ours and hint not in seen and (dataclasses.is_dataclass(hint) or issubclass(hint, Enum)):
        seen.add(hint)
        for inner in get_type_hints(hint, localns=scope).values():
            collect(inner, scope, seen)


def all_names() -> dict[str, Any]:
    """What the modules of the package define or import, which annotations may use."""
    return {name: value for module in modules() for name, value in vars(module).items()}


def modules() -> Iterator[Any]:
    """The modules that need no extra."""
    for found in pkgutil.walk_packages(shedder.__path__, "shedder."):
        if not found.name.startswith(NEEDS_AN_EXTRA):
            yield importlib.import_module(found.name)
