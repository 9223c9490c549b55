"""The pages that there are, and what in them is run.

Python as it stands in a page, what stands in remarks (`<!--- invisible-code-block: python`), files
that the reader is told to write (`<!-- file: jobs.py -->`), and shell sessions (`console.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from tests.docs.console import play, sessions_in

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FILE = re.compile(r"^<!-- file: (?P<name>[\w.]+) -->\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """The README and all pages of the docs."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def examples_of(page: Path) -> Iterator[Example]:
    """What in `page` is to be run, in its order."""
    parsers = [_files, _sessions, _python, SkipParser()]
    return iter(Sybil(parsers=parsers, path=str(ROOT)).parse(page).examples())


def _files(document: Document) -> Iterator[Region]:
    for found in _FILE.finditer(document.text):
        yield Region(found.start(), found.end(), (found["name"], found["text"]), _write)


def _sessions(document: Document) -> Iterator[Region]:
    for session in sessions_in(document.text):
        yield Region(session.start, session.end, session, _play)


def _python(document: Document) -> Iterator[Region]:
    files = [range(*found.span()) for found in _FILE.finditer(document.text)]
    for region in PythonCodeBlockParser(future_imports=["annotations"])(document):
        if not any(region.start in file for file in files):
            yield region


def _write(example: Example) -> None:
    name, text = example.parsed
    text = re.sub(r"time\.sleep\(0\.", "time.sleep(0.00", text)  # nobody reads between two commands
    Path(name).write_text(text, encoding="utf-8")


def _play(example: Example) -> None:
    play(example.parsed, example.namespace["stage"].execute)
