"""The oldest versions that we say we work with, one requirement a line.

`make test-oldest` installs these and runs the tests with them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
EXTRA = "all"

_REQUIREMENT = re.compile(r"(?P<name>[\w-]+)(\[(?P<extras>[\w,]+)\])?(>=(?P<floor>[\d.]+))?")


def oldest(project: dict[str, Any]) -> list[str]:
    """Each dependency at its floor, those of all extras that users may want too."""
    listed = [*project["dependencies"], *_of_extra(project, EXTRA)]
    return [_at_floor(requirement) for requirement in listed]


def _of_extra(project: dict[str, Any], extra: str) -> Iterator[str]:
    for requirement in project["optional-dependencies"][extra]:
        found = _REQUIREMENT.match(requirement)
        assert found, requirement
        if found["name"] != project["name"]:
            yield requirement
            continue
        for each in found["extras"].split(","):
            yield from _of_extra(project, each)


def _at_floor(requirement: str) -> str:
    found = _REQUIREMENT.match(requirement)
    assert found, requirement
    assert found["floor"], f"{requirement} has no floor"
    return f"{found['name']}=={found['floor']}"


if __name__ == "__main__":
    print("\n".join(oldest(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])))
