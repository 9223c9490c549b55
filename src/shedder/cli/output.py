"""Screen, text, tables, JSON; alone imports rich for results, inside its functions.

The shapes are in `shedder/schemas`, a file for each.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any, TextIO, get_type_hints

from shedder.later import later
from shedder.selection import Selection
from shedder.units import Rate, format_duration
from shedder.wording import counted, drives_terminals, named

if TYPE_CHECKING:
    from rich.cells import cell_len
    from rich.console import Console, RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    from shedder import Divert, Drain, Pause, PauseReceipt, RunningJob, Setting, StartsLimit, WorkerSeen
else:
    rich = later(
        (("rich.console", "Console"), ("rich.table", "Table"), ("rich.text", "Text"), ("rich.cells", "cell_len"))
    )
    Console, RichTable, RichText, cell_len = rich.values()


RUNNING_SHOWN = 10
WORKERS_SHOWN = 3


class Text:
    """A line of text, in parts with a style each, such as `bold yellow`.

    What is shown is made of these and of `Table`, so that only `Screen` needs rich, and only when
    there is something to show. What does not fit goes on below, at `indent`: two columns to the
    right of its beginning, if nothing is said.
    """

    def __init__(self, text: str = "", *, style: str = "", indent: int | None = None) -> None:
        self.style = style
        self.indent = len(text) - len(text.lstrip(" ")) + 2 if indent is None else indent
        self.spans = [(text, "")]

    @property
    def plain(self) -> str:
        """The text without its styles."""
        return "".join(text for text, _ in self.spans)

    def append(self, text: str, *, style: str = "") -> None:
        """Add a part at the end; its style comes on top of that of the line."""
        self.spans.append((text, style))


class Verbatim(Text):
    """Text to be copied, such as a file: it gets no line breaks of ours."""


class Table:
    """Rows under headings.

    Args:
        columns: The headings; one that begins with `>` holds numbers, to the right.
        gap: Spaces between two columns on a terminal.
    """

    def __init__(self, *columns: str, gap: int = 2) -> None:
        self.columns, self.gap = columns, gap
        self.rows: list[tuple[Text, ...]] = []


Parts = list[Text | Table]


def spaced(parts: Sequence[Text | Table]) -> Parts:
    """`parts` below an empty line, if there are any."""
    return [blank(), *parts] if parts else []


def headline(text: str, *, style: str = "bold") -> Text:
    """The fact, in plain words, with numbers."""
    return Text(text, style=style)


def plain(text: str) -> Text:
    """A line of text."""
    return Text(text)


def plain_once(lines: Iterable[str]) -> Parts:
    """Lines of text, each once: what several lanes have in common is said once."""
    return [plain(line) for line in dict.fromkeys(lines)]


def blank() -> Text:
    """An empty line."""
    return Text("")


def table(*columns: str, gap: int = 2) -> Table:
    """An empty table; a column whose heading begins with `>` holds numbers."""
    return Table(*columns, gap=gap)


def row(made: Table, *cells: str | Text) -> None:
    """Add a row; what is no `Text` is escaped."""
    made.rows.append(tuple(cell if isinstance(cell, Text) else Text(escaped(cell)) for cell in cells))


def lane_table(columns: Sequence[str], rows: Iterable[tuple[str, *tuple[int, ...]]]) -> Parts:
    """Lanes with their numbers, when more than one lane has something."""
    filled = [each for each in rows if any(each[1:])]
    if len(filled) < 2:
        return []
    made = table("lane", *(f">{column}" for column in columns))
    for name, *counts in filled:
        row(made, name, *map(number, counts))
    return [blank(), made]


def running_part(running: Sequence[RunningJob], now: datetime) -> Parts:
    """The jobs that still run."""
    if not running:
        return []
    made = table("still runs", ">for", "function", "worker")
    for job in running[:RUNNING_SHOWN]:
        mark = "" if job.is_certain else " ?"
        row(made, job.job_id, age(job.since, now) + mark, job.function or "-", job.worker or "-")
    parts: Parts = [blank(), made]
    if len(running) > RUNNING_SHOWN:
        parts.append(plain(f"and {counted(len(running) - RUNNING_SHOWN, 'more job')}"))
    uncertain = sum(not job.is_certain for job in running)
    if uncertain:
        passed = f"? {counted(uncertain, 'job')} passed the gate in a process that has not been heard of since"
        parts.append(plain(f"{passed}: if it was frozen, its job may still begin."))
    return parts


def workers_part(workers: Sequence[WorkerSeen], *, stock: str) -> Parts:
    """Who obeys, who does not, and what that means (`stock`)."""
    if not workers:
        return [blank(), plain("No worker serves this now.")]
    ours = [worker.name for worker in workers if not worker.is_stock]
    theirs = [worker.name for worker in workers if worker.is_stock]
    parts: Parts = [blank()]
    if ours:
        parts.append(plain(f"{counted(len(ours), 'worker obeys', 'workers obey')}: {_names(ours)}."))
    if theirs:
        do = counted(len(theirs), "stock RQ worker does", "stock RQ workers do")
        parts.append(Text(f"{do} not obey this: {_names(theirs)}. {stock}", style="yellow"))
    return parts


def commands_part(*commands: tuple[str, str]) -> Parts:
    """What to type next, if anything: what for, and the command."""
    width = max((len(purpose) for purpose, _ in commands), default=0)
    lines = [Text(f"{purpose:<{width}}  ", style="dim") for purpose, _ in commands]
    for made, (_, line) in zip(lines, commands, strict=True):
        made.append(line, style="not dim bold")
    return spaced(lines)


def _names(workers: Sequence[str]) -> str:
    return listed(workers, most=WORKERS_SHOWN)


_PIPE_WIDTH = 200


class Screen:
    """Results go to standard output, remarks and progress to standard error.

    Args:
        is_json: results are JSON, and nothing else goes to standard output.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        self.is_json = is_json

    @cached_property
    def out(self) -> Console:
        """The standard output."""
        return _console(sys.stdout)

    @cached_property
    def err(self) -> Console:
        """The standard error."""
        return _console(sys.stderr)

    @property
    def shows_progress(self) -> bool:
        """Whether somebody may be looking at standard error."""
        return not _is_free(sys.stderr) and self.err.is_terminal

    @property
    def is_watched(self) -> bool:
        """Whether a person looks at all that is printed."""
        is_free = self.is_json or _is_free(sys.stdout) or _is_free(sys.stderr)
        return not is_free and self.out.is_terminal and self.err.is_terminal

    def show(self, *parts: Text | Table) -> None:
        """Print results for a person; lines are broken where there is a width to fit into."""
        for part in parts:
            text = _plain(part) if _is_free(sys.stdout) else None
            if text is not None:
                sys.stdout.write(text)
                continue
            self.out.print(as_rich(part, _room(self.out)), soft_wrap=isinstance(part, Text))

    def emit(self, content: Mapping[str, Any], *, is_line: bool = False) -> None:
        """Print a JSON object."""
        sys.stdout.write(json_text(content, is_line=is_line) + "\n")
        sys.stdout.flush()

    def remark(self, text: str, *, style: str = "") -> None:
        """Print one line to standard error."""
        said = Text(one_line(text), style=style)
        if _is_free(sys.stderr):
            sys.stderr.write(f"{said.plain}\n")
            sys.stderr.flush()  # a stream that is no file, such as that of a test, may keep the line
        else:
            self.err.print(as_rich(said, _room(self.err)), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one line to standard error that a person should not miss."""
        self.remark(f"warning: {text}", style="yellow")


def as_rich(part: Text | Table, width: int | None = None) -> RenderableType:
    """`part` as rich prints it; text that is not verbatim in lines of at most `width`."""
    if isinstance(part, Table):
        return _rendered_table(part, _column_widths(part, width) if width else ())
    made = _rendered_text(part)
    breaks = [] if width is None or isinstance(part, Verbatim) else _breaks(part.plain, width, part.indent)
    if not breaks:
        return made
    first, *others = made.divide(breaks)
    for line in (first, *others):
        line.rstrip()
    for line in others:
        line.pad_left(part.indent)
    return RichText("\n").join([first, *others])


def fitted(text: str, stream: TextIO) -> str:
    """`text` in lines that fit into `stream`, if that is a terminal, without broken words."""
    if _is_free(stream):
        return text
    breaks = [0, *_breaks(text, shutil.get_terminal_size().columns, 2), len(text)]
    return "\n  ".join(text[start:end].rstrip() for start, end in pairwise(breaks)) if len(breaks) > 2 else text


_WORD = re.compile(r"`[^`]+`|(?<=: )shedder [^;]+|(?<=  )shedder .+|\S+")
"""What is not broken: a word, and a command that a person copies."""


def _breaks(text: str, width: int, indent: int) -> list[int]:
    """Where lines begin after the first, so that they fit into `width` with `indent` before them.

    A word that is longer than a line stays where it is: the terminal breaks it.
    """
    found: list[int] = []
    begin = 0
    for word in _WORD.finditer(text):
        is_first = not text[begin : word.start()].strip()
        is_too_long = cell_len(text[begin : word.end()]) > width - (indent if found else 0)
        if is_too_long and not is_first and cell_len(word.group()) <= width - indent:
            begin = word.start()
            found.append(begin)
    return found


def _room(console: Console) -> int | None:
    return None if console.width == _PIPE_WIDTH else console.width


def _rendered_text(text: Text) -> RichText:
    made = RichText(style=text.style)
    for said, style in text.spans:
        made.append(said, style or None)
    return made


def _rendered_table(table: Table, widths: Sequence[int] = ()) -> RichTable:
    made = RichTable(box=None, pad_edge=False, padding=(0, table.gap, 0, 0), header_style="dim")
    for column, width in zip_longest(table.columns, widths):
        name = column.removeprefix(">")
        if column != name:
            made.add_column(name, justify="right", no_wrap=True, width=width)
        else:
            made.add_column(name, overflow="fold", width=width)
    for cells in table.rows:
        made.add_row(*map(_rendered_text, cells))
    return made


def _column_widths(table: Table, width: int) -> list[int]:
    """Widths by which a table that is too wide fits without broken words; none when rich is to choose."""
    cells = [table.columns, *([cell.plain for cell in row] for row in table.rows)]
    columns = [[text.removeprefix(">") for text in column] for column in zip(*cells, strict=True)]
    wanted = [max(map(cell_len, column)) for column in columns]
    found = [max(cell_len(word) for text in column for word in (*text.split(), "")) for column in columns]
    spare = width - sum(found) - table.gap * (len(found) - 1)
    if sum(wanted) + table.gap * (len(found) - 1) <= width or spare < 0:
        return []
    by_need = sorted(range(len(found)), key=lambda at: wanted[at] - found[at])
    for place, at in enumerate(by_need):
        more = min(wanted[at] - found[at], spare // (len(by_need) - place))
        found[at], spare = found[at] + more, spare - more
    return found


def _console(stream: TextIO) -> Console:
    return Console(file=stream, width=_width(stream), markup=False, emoji=False, highlight=False, legacy_windows=False)


def _width(stream: TextIO) -> int | None:
    if _is_free(stream):
        return _PIPE_WIDTH
    # rich takes COLUMNS=0 for a width; this asks the terminal then
    return None if _is_set("COLUMNS") else shutil.get_terminal_size().columns


_FORCING = ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables by which a stream that is no terminal gets colours or a width from rich."""


def _is_free(stream: TextIO) -> bool:
    """Whether `stream` is no terminal, and so has neither colours nor a width."""
    return not stream.isatty() and not any(map(_is_set, _FORCING))


def _is_set(name: str) -> bool:
    # `docker exec` without a terminal says COLUMNS=0, which would hide all that is printed
    return name in os.environ and (name, os.environ[name]) != ("COLUMNS", "0")


def _plain(part: Text | Table) -> str | None:
    """`part` as rich prints it where no width is known, which is so spared; None for all else."""
    if isinstance(part, Text):
        return f"{part.plain}\n"
    rows = [
        [column.removeprefix(">") for column in part.columns],
        *([cell.plain for cell in cells] for cells in part.rows),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_simple = all(cell.isascii() for cells in rows for cell in cells)
    if not is_simple or not all(widths) or sum(widths) + 2 * len(widths) > _PIPE_WIDTH:
        return None
    return "".join(f"{_plain_row(part.columns, cells, widths)}\n" for cells in rows)


def _plain_row(columns: Sequence[str], cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        cell.rstrip().rjust(width) if column.startswith(">") else cell.ljust(width)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    )


def escaped(text: str) -> str:
    r"""`text` with all that could drive a terminal spelled out, such as `\x1b` or `\u202e`."""
    return "".join(_escaped(character) for character in text)


def number(count: float) -> str:
    """`41200` as `41,200`."""
    return f"{count:,}"


def per_second(pace: float | None) -> str:
    """A pace with as many digits as mean something; `-` when it is not known."""
    if pace is None:
        return "-"
    return number(round(pace)) if pace >= 100 else f"{pace:.1f}"


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, such as `38m`; `-` when nobody knows."""
    if since is None:
        return "-"
    return format_duration(max((now - since).total_seconds(), 0.0) // 1)


def clock(at: datetime, now: datetime) -> str:
    """`02:11 UTC`, with the date when it is not today's."""
    moment = at.astimezone(UTC)
    today = now.astimezone(UTC).date()
    return moment.strftime("%H:%M UTC" if moment.date() == today else "%Y-%m-%d %H:%M UTC")


def since_by(control: Pause | Divert | Drain | StartsLimit | Setting, now: datetime) -> str:
    """`since 02:11 UTC (38m) by oncall@ops`."""
    return f"since {clock(control.since, now)} ({age(control.since, now)}) by {escaped(control.by)}"


def why_and_who(control: Pause | Divert | Drain | StartsLimit | Setting, now: datetime) -> str:
    """`since 02:11 UTC (38m) by oncall@ops: database at 99 %`."""
    return f"{since_by(control, now)}: {escaped(control.why)}"


def until(control: Pause | PauseReceipt | Setting | None, now: datetime, *, lead: str = " ") -> str:
    """` until 02:41 UTC (30m)`, and nothing for what has no end."""
    if control is None or control.until is None:
        return ""
    return f"{lead}until {clock(control.until, now)} ({age(now, control.until)})"


def listed(names: Sequence[str], *, most: int = 3, others: str = "more") -> str:
    """`a`, `a and b`, `a, b, c and 4 more`; names are escaped."""
    shown = [escaped(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{number(len(names) - most)} {others}")
    return named(shown)


def is_are(names: Sequence[str]) -> str:
    """`mail is`, `mail and reports are`."""
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"


def command(verb: str, *words: str, options: Sequence[str] = (), server: str = "") -> str:
    """A command line for the shell, such as `shedder drain mail --stop`.

    `server` is the option that says which server, as this very call was told.
    """
    parts = [*words, *options]
    if any(word.startswith("-") for word in words):
        parts = [*options, "--", *words]
    quoted = [shlex.quote(part) for part in parts]
    return escaped(" ".join(["shedder", verb, *([server] if server else []), *quoted]))


def one_line(text: str) -> str:
    """`text` as one line that cannot drive a terminal."""
    return escaped(" ".join(text.split()))


def _escaped(character: str) -> str:
    if not drives_terminals(character):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def document(schema: str, record: Any, **more: Any) -> dict[str, Any]:
    """The object of `record`: its schema first, then its fields, then `more`."""
    return {"schema": f"shedder.{schema}", **jsonable(record), **jsonable(more)}


def jsonable(value: Any) -> Any:
    """`value` as JSON has it.

    Times are ISO 8601 in UTC, durations seconds, rates text. A record gives its fields, and those
    of its properties that are a number, a truth or a text.
    """
    if isinstance(value, Selection):
        return _selection(value)
    if isinstance(value, Rate):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_dataclass(value) and not isinstance(value, type):
        kind: type = type(value)
        names = [field.name for field in fields(value)] + [*plain_properties(kind)]
        return {name: jsonable(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def json_text(content: Mapping[str, Any], *, is_line: bool = False) -> str:
    """`content` as text in ASCII, on one line or indented for reading."""
    return json.dumps(content, indent=None if is_line else 2)


@lru_cache(maxsize=64)
def plain_properties(kind: type) -> Mapping[str, type]:
    """The properties of `kind` that are a number, a truth or a text, with their types."""
    found = {
        name: get_type_hints(member.fget)["return"]
        for name, member in vars(kind).items()
        if isinstance(member, property) and member.fget is not None
    }
    return {name: hint for name, hint in found.items() if hint in (bool, int, float, str)}


def _selection(selection: Selection) -> dict[str, Any]:
    return {
        "describes": selection.describe(),
        "functions": list(selection.functions),
        "meta": dict(selection.meta),
        "older_than_seconds": jsonable(selection.older_than),
        "any_of": [_selection(each) for each in selection.any_of],
    }
