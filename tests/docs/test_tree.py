"""The tree on the page of the internals, and paths in pages, name what is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import DOCS, ROOT, pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "src" / "shedder"
INTERNALS = (DOCS / "explanation" / "internals.md").read_text(encoding="utf-8")
TREE = INTERNALS.partition("## The tree")[2].partition("```text\n")[2].partition("```")[0]

OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]

_LINE = re.compile(r"^( *)([\w/.]+) +(\S.*)$")
_PATH = re.compile(r"`([\w./-]{2,}/[\w.-]{2,}\.(?:py|lua|md|toml))`")
_DOTTED = re.compile(r"`(shedder(?:\.[a-z_]+)+)\.(\w+)(?:\(.*?\))?`")


def paths_in_tree() -> Iterator[str]:
    """The paths that the tree names; a folder ends with `/`."""
    folder = ""
    for line in TREE.splitlines():
        found = _LINE.match(line)
        assert found, line
        indent, name, _ = found.groups()
        if name.endswith("/"):
            folder = name
        yield f"{folder}{name}" if indent else name


def test_the_tree_names_each_file_and_no_other() -> None:
    """Each module stands in the tree once, with a line of its own, and so does each folder."""
    named = list(paths_in_tree())
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    expected = {path.replace("/__init__.py", "/") for path in modules}
    assert sorted(expected | {"lua/", "schemas/", "postmortem/templates/"}) == sorted(named)


@pytest.mark.parametrize("page", [*pages(), *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_a_page_exist(page: Path) -> None:
    """A path of the project that a page names is there, and so is what it names in a module."""
    text = page.read_text(encoding="utf-8")
    roots = (ROOT, PACKAGE, DOCS / "explanation")
    missing = [
        path for path in _PATH.findall(text) if not any((at / path).exists() for at in roots)
    ]
    assert [] == missing
    unknown = [
        f"{module}.{name}" for module, name in _DOTTED.findall(text) if not _has(module, name)
    ]
    assert [] == unknown


def _has(module: str, name: str) -> bool:
    """Whether the source of `module` has `name`; of a class in a module its module is read."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    for at in (path.with_suffix(".py"), path / "__init__.py", path.parent.with_suffix(".py")):
        if at.exists():
            return re.search(rf"\b{name}\b", at.read_text(encoding="utf-8")) is not None
    return False
