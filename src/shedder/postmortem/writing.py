"""The files of a post-mortem: Markdown and HTML from templates, JSON and plots; all or none."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shedder.errors import ShedderError
from shedder.postmortem.facts import PostMortem
from shedder.postmortem.plots import Plot, plots_of
from shedder.queues.samples import Sample
from shedder.wording import moment, pace, spoken

if TYPE_CHECKING:
    from jinja2 import Environment


SCHEMA = "shedder.postmortem/1"


MARKDOWN, HTML = "postmortem.md.j2", "postmortem.html.j2"
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
    marks = [(each.mark, each.at) for each in found.timeline if each.mark]
    plots = plots_of(found.samples, marks, found.works) if with_plots else ()
    contents = contents_of(found, plots, templates=templates)
    with writing_into(folder):
        for name, content in contents.items():
            write_whole(folder / name, content)
    missing = tuple(name for name, is_there in found.parts.items() if not is_there)
    return WrittenFiles(str(folder), tuple(contents), found.filled, missing)


def contents_of(found: PostMortem, plots: tuple[Plot, ...], *, templates: str | None = None) -> dict[str, bytes]:
    """The files of the document by name, the page first."""
    texts = render_both(found, plots, folder=templates)
    files = {NAMES[name]: texts[name].encode("utf-8", "replace") for name in (HTML, MARKDOWN)}
    files["postmortem.json"] = f"{json.dumps(postmortem_document(found), default=_plain, indent=1)}\n".encode()
    return files | {f"{plot.name}.png": plot.png for plot in plots}


def postmortem_document(found: PostMortem) -> dict[str, Any]:
    """The parts of the document by name."""
    return {"schema": SCHEMA, **_plain(found), "filled": found.filled, "parts": dict(found.parts)}


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Writes files into `folder`, which is made.

    Raises:
        ShedderError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ShedderError(f"{folder} cannot be written: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that each reader finds the old one or the new one, never a part.

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
    """The folder for an incident's document when none is named."""
    return f"postmortem-{re.sub(r'[^0-9A-Za-z.-]', '_', incident)}"


def _plain(value: Any) -> Any:
    """What JSON does not know: times become ISO 8601 (UTC), durations seconds."""
    if isinstance(value, Sample):
        return [value.at.timestamp(), *(getattr(value, name) for name in Sample.__slots__[1:])]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return dict(value)
    return {each.name: getattr(value, each.name) for each in fields(value)}


BUILT_IN = Path(__file__).parent / "templates"


class TemplateBroken(ShedderError):
    """A template cannot be used; the message says which, where and why.

    Attributes:
        template: Name of its file.
    """

    def __init__(self, template: str, *, line: int | None, why: str) -> None:
        self.template = template
        where = f", line {line}" if line else ""
        super().__init__(f"the template {template}{where}: {why}; correct it, or delete it for the built-in one")


def render_both(found: PostMortem, plots: Sequence[Plot], *, folder: str | None = None) -> dict[str, str]:
    """The text of the document by template; what is in `folder` is used instead of the built-in.

    Raises:
        TemplateBroken: one cannot be used.
        ShedderError: Jinja2 is not installed, or there is no such folder.
    """
    environment = environment_for(folder)
    values = {"it": found, "plots": plots, "picture": _picture}
    return {name: render(environment, name, values) for name in (MARKDOWN, HTML)}


def environment_for(folder: str | None) -> Environment:
    """Where templates come from, and what they may use.

    Raises:
        ShedderError: Jinja2 is not installed, or there is no such folder.
    """
    if folder and not Path(folder).is_dir():
        raise ShedderError(f"there is no folder {folder} with templates; correct incident.templates")
    try:
        import jinja2
    except ImportError as error:
        raise ShedderError("this needs Jinja2; install shedder[incident]") from error
    folders = [folder, BUILT_IN] if folder else [BUILT_IN]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(each) for each in folders]),
        # Markdown has its own filter
        autoescape=jinja2.select_autoescape(enabled_extensions=("html", "html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(_FILTERS)
    return environment


def render(environment: Environment, name: str, values: dict[str, Any]) -> str:
    """The text that a template makes of `values`.

    Raises:
        TemplateBroken: it cannot be used.
    """
    import jinja2

    try:
        return environment.get_template(name).render(values)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateBroken(error.name or name, line=error.lineno, why=str(error.message)) from error
    except Exception as error:
        # the template of a user may raise anything
        raise TemplateBroken(name, line=_line_of(error, name), why=f"{type(error).__name__}: {error}") from error


def _picture(plot: Plot) -> str:
    """A picture as a URL that needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(plot.png).decode('ascii')}"


def _line_of(error: Exception, name: str) -> int | None:
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(name):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


_SPECIAL = str.maketrans({each: f"\\{each}" for each in "\\`*_{}[]<>#|"})


def _markdown(value: object) -> str:
    """Text that means nothing to Markdown, on one line."""
    return " ".join(str(value).split()).translate(_SPECIAL)


def _utc(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _clock(value: datetime, since: datetime | None = None) -> str:
    """The time, and the day with it where that is not the one of `since`."""
    at = value.astimezone(UTC)
    is_other = since is not None and at.date() != since.astimezone(UTC).date()
    return at.strftime("%m-%d %H:%M:%S" if is_other else "%H:%M:%S")


def _spoken(value: timedelta | None) -> str:
    return "not known" if value is None else spoken(value)


def _per_second(value: float | None) -> str:
    return "not known" if value is None else pace(value)


def _day(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d")


def _pace_to(before: float | None, after: float | None) -> str:
    known = before is not None or after is not None
    return f"{_per_second(before)} to {_per_second(after)}" if known else "not known"


_FILTERS: dict[str, Callable[..., Any]] = {
    "clock": _clock,
    "day": _day,
    "md": _markdown,
    "moment": moment,
    "number": "{:,.0f}".format,
    "pace": _per_second,
    "pace_to": _pace_to,
    "spoken": _spoken,
    "utc": _utc,
}
