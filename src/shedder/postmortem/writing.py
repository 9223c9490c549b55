"""How does a post-mortem get into a folder, as a whole or not at all?"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from shedder.errors import ShedderError
from shedder.postmortem.compute import mark_times
from shedder.postmortem.facts import PostMortem
from shedder.postmortem.plots import Plot, plots_of
from shedder.postmortem.rendering import HTML, MARKDOWN, rendered
from shedder.samples import Sample

SCHEMA = "shedder.postmortem/1"
NAMES = {MARKDOWN: "postmortem.md", HTML: "postmortem.html"}


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """What was written.

    Attributes:
        folder: Where it is.
        files: The names of its files, the one to open first.
        filled: The share of the document's parts in which something stands, 0 to 1.
        missing: The parts that are empty.
    """

    folder: str
    files: tuple[str, ...]
    filled: float
    missing: tuple[str, ...]


def write_files(
    found: PostMortem, folder: Path, *, templates: str | None = None, with_plots: bool = True
) -> WrittenFiles:
    """Write the document and its plots into `folder`, which is made.

    Everything is made before the first file is written, and each file appears whole.

    Raises:
        ShedderError: a template is broken, something is not installed, or the folder cannot be
            written; the first two leave no file.
    """
    plots = plots_of(found.samples, mark_times(found.timeline)) if with_plots else ()
    contents = contents_of(found, plots, templates=templates)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise ShedderError(f"{folder} cannot be written: {error.strerror or error}") from error
    missing = tuple(name for name, is_there in found.parts.items() if not is_there)
    return WrittenFiles(str(folder), tuple(contents), found.filled, missing)


def contents_of(
    found: PostMortem, plots: tuple[Plot, ...], *, templates: str | None = None
) -> dict[str, bytes]:
    """The files of the document by name, the page first."""
    texts = rendered(found, plots, folder=templates)
    files = {NAMES[name]: texts[name].encode("utf-8", "replace") for name in (HTML, MARKDOWN)}
    files["postmortem.json"] = f"{json.dumps(document_of(found), indent=1)}\n".encode()
    return files | {f"{plot.name}.png": plot.png for plot in plots}


def document_of(found: PostMortem) -> dict[str, Any]:
    """The document as plain values: times in ISO 8601 (UTC), durations in seconds."""
    plain: dict[str, Any] = _plain(found)
    return {"schema": SCHEMA, **plain, "filled": found.filled, "parts": dict(found.parts)}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it finds the old one or the new one, never a part.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    other = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        other.write_bytes(content)
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)


def folder_name(incident: str) -> str:
    """The folder for an incident's document when nobody names one."""
    return f"postmortem-{re.sub(r'[^0-9A-Za-z.-]', '_', incident)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Sample):
        return [value.at.timestamp(), *(getattr(value, name) for name in Sample.__slots__[1:])]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.value if isinstance(value, Enum) else value
