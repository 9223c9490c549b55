"""The shape of the source: names, imports, sizes, docstrings, and what pages say of it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import TOGETHER

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "shedder"
FILES = sorted(PACKAGE.rglob("*.py"))
INTERNALS = ROOT / "docs" / "explanation" / "internals.md"
PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]  # fmt: skip

LONGEST_BODY = 40
MOST_IMPORTS_IN_FUNCTIONS = 34
"""It only falls: an import in a function is for what is heavy or optional, as 12 of hosts and their servers are."""

NAMES_OF_SEVERAL = frozenset({
    # a subclass for a host has the name of its base
    "Queue", "Worker",
    # a verb of the command line has the name of what it calls
    "audit", "divert", "drain", "pause", "replay", "resume", "retry", "shed", "undo", "uninstall",
})  # fmt: skip

PATH = re.compile(r"`([\w.*-]+/[\w./*-]*|[\w*]+\.py)`")
DOTTED = re.compile(r"(?<![\w./-])((?:shedder|tests|benchmarks)(?:\.(?!py\b)\w+)+)(?![\w/-])")
IN_A_TREE = re.compile(r"^( *)([\w./]+?(?:/|\.py)) {2,}", re.MULTILINE)
FOLDERS = ("src/", "tests/", "docs/", "benchmarks/", "shedder/")
OF_A_USER = frozenset({
    "benchmarks/results/", "campaign.py", "jobs.py", "playground.py", "shedder.toml", "shedder.yml",
})  # fmt: skip
"""What a run makes, what a page makes, and what stands in a user's folder."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def short(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imports_of(path: Path) -> Iterator[Path]:
    """The files of the package that this one imports, in functions and for types too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from filter(None, (file_of(alias.name) for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from filter(None, (file_of(name) or file_of(node.module) for name in names))


@cache
def file_of(module: str) -> Path | None:
    first, *rest = module.split(".")
    base = (ROOT / "src" if first == "shedder" else ROOT).joinpath(first, *rest)
    candidates = (base.with_name(f"{base.name}.py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def test_no_public_name_stands_at_the_top_of_two_modules() -> None:
    """But those that mirror a verb or a base class on purpose."""
    places = defaultdict(list)
    for path in FILES:
        for node in tree_of(path).body:
            is_named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if is_named and not node.name.startswith("_"):
                places[node.name].append(short(path))
    several = {name: where for name, where in places.items() if len(where) > 1}
    assert {} == {name: several[name] for name in sorted(several.keys() - NAMES_OF_SEVERAL)}


def test_the_first_line_of_each_module_states_what_it_holds() -> None:
    """It ends with a full stop and asks nothing."""
    firsts = {short(path): (ast.get_docstring(tree_of(path)) or "").split("\n")[0] for path in FILES}
    wrong = {name for name, first in firsts.items() if "?" in first or not first.endswith(".")}
    assert set() == wrong


def test_imports_in_functions_do_not_grow() -> None:
    """Each is a cost that is paid later, and hides what a module needs."""
    found = {
        (path, node.lineno)
        for path in FILES
        for function in functions_of(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert len(found) <= MOST_IMPORTS_IN_FUNCTIONS


def test_no_files_import_one_another_in_a_circle() -> None:
    """However late or only for types they do it; the front door is left out."""
    files = [path for path in FILES if path != PACKAGE / "__init__.py"]
    graph = {path: {each for each in imports_of(path) if each in files} - {path} for path in files}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(map(short, error.args[1])))


def test_no_function_is_long() -> None:
    """Its docstring does not count."""
    sizes = {f"{short(path)}: {each.name}": lines_of(each) for path in FILES
             for each in functions_of(path)}  # fmt: skip
    assert {} == {name: size for name, size in sizes.items() if size > LONGEST_BODY}


def test_files_that_set_up_something_for_all_of_their_tests_are_run_by_one_process() -> None:
    """Or several processes would each set it up: build the package, play the demo, parse the source."""
    shared = re.compile(
        r'^@pytest\.fixture\(scope="module"|^pytestmark = needs_chromium|^@cache\ndef tree_of', re.MULTILINE
    )
    found = {path for path in (ROOT / "tests").rglob("test_*.py") if shared.search(path.read_text(encoding="utf-8"))}
    assert {str(path.relative_to(ROOT)) for path in found} == TOGETHER


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    """Paths are those of the repository, of the package or of the page's folder."""
    text = page.read_text(encoding="utf-8")
    paths = {name for name in PATH.findall(text) if is_of_ours(name)} | set(paths_in_tree(text))
    missing = {name for name in paths - OF_A_USER if not exists(name, page)}
    missing |= {name for name in set(DOTTED.findall(text)) - OF_A_USER if not is_defined(name)}
    assert set() == missing


def test_the_tree_of_the_internals_names_each_file_once() -> None:
    """And no other; the line of a folder is that of its `__init__.py`."""
    tree = INTERNALS.read_text(encoding="utf-8").partition("## The tree")[2].split("```")[1]
    modules = {short(path).replace("/__init__.py", "/") for path in FILES}
    others = {"lua/", "schemas/", "postmortem/templates/"}
    assert sorted(modules | others) == sorted(paths_in_tree(tree))


def is_of_ours(name: str) -> bool:
    return name.endswith((".py", ".lua", "/")) or name.startswith(FOLDERS)


def paths_in_tree(text: str) -> Iterator[str]:
    """Files below their folders, as `internals.md` draws them."""
    folder = ""
    for indent, name in IN_A_TREE.findall(text):
        yield f"{folder}{name}" if indent else name
        if not indent:
            folder = name if name.endswith("/") else ""


def exists(name: str, page: Path) -> bool:
    if "/" not in name:  # a name alone stands beside a folder that the sentence names
        return any(any((ROOT / top).rglob(name)) for top in ("src", "tests", "docs"))
    bases = (ROOT, ROOT / "src", PACKAGE, page.parent)
    return any(any(base.glob(name.rstrip("/"))) for base in bases)


def is_defined(name: str) -> bool:
    """Whether it is a module, stands in one, or is a method of an object `shedder`."""
    parts = name.split(".")
    for length in range(len(parts), 1, -1):
        if path := file_of(".".join(parts[:length])):
            return length == len(parts) or parts[length] in names_in(path)
    if ROOT.joinpath(*parts).is_dir():
        return True
    return parts[1] in names_in(PACKAGE / "__init__.py") | names_in(PACKAGE / "api" / "shedder.py")


@cache
def names_in(path: Path) -> frozenset[str]:
    nodes = list(ast.walk(tree_of(path)))
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(
        {node.name for node in nodes if isinstance(node, named)}
        | {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
        | {node.id for node in nodes if isinstance(node, ast.Name)}
        | {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    )
