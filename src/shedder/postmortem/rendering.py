"""How do facts become Markdown and HTML? With templates that a team may replace."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shedder.errors import ShedderError
from shedder.postmortem.facts import PostMortem
from shedder.postmortem.plots import Plot
from shedder.sentences import moment, pace, spoken

if TYPE_CHECKING:
    from jinja2 import Environment

MARKDOWN, HTML = "postmortem.md.j2", "postmortem.html.j2"
BUILT_IN = Path(__file__).parent / "templates"


class TemplateBroken(ShedderError):
    """A template cannot be used; the message says which, where and why.

    Attributes:
        template: Name of its file.
    """

    def __init__(self, template: str, *, line: int | None, why: str) -> None:
        self.template = template
        where = f", line {line}" if line else ""
        super().__init__(
            f"the template {template}{where}: {why}; correct it, or delete it for the built-in one"
        )


def rendered(
    found: PostMortem, plots: Sequence[Plot], *, folder: str | None = None
) -> dict[str, str]:
    """The text of the document by template; what is in `folder` is used instead of the built-in.

    Raises:
        TemplateBroken: one cannot be used.
        ShedderError: Jinja2 is not installed, or there is no such folder.
    """
    environment = environment_for(folder)
    values = {"it": found, "plots": plots, "picture": picture}
    return {name: render(environment, name, values) for name in (MARKDOWN, HTML)}


def environment_for(folder: str | None) -> Environment:
    """Where templates come from, and what they may use.

    Raises:
        ShedderError: Jinja2 is not installed, or there is no such folder.
    """
    if folder and not Path(folder).is_dir():
        raise ShedderError(
            f"there is no folder {folder} with templates; correct incident.templates"
        )
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
        raise TemplateBroken(
            error.name or name, line=error.lineno, why=str(error.message)
        ) from error
    except Exception as error:
        # what a template of a user's may raise is his, whatever it is
        why = f"{type(error).__name__}: {error}"
        raise TemplateBroken(name, line=_line_of(error, name), why=why) from error


def picture(plot: Plot) -> str:
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


def _number(value: float) -> str:
    return f"{value:,.0f}"


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
    "number": _number,
    "pace": _per_second,
    "pace_to": _pace_to,
    "spoken": _spoken,
    "utc": _utc,
}
