"""What `shedder top` shows, as text for a terminal: made of what the pages show, without Textual and Redis.

A state has a word and a mark beside its colour. Colours are those of the terminal, so that they can be
read on a light one and on a dark one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from shedder.cli import output
from shedder.queues.samples import paces_of
from shedder.web.board import HELD_BACK, QUIET, TROUBLE, WORKS, board_of
from shedder.wording import counted, moment, named, pace, spoken

if TYPE_CHECKING:
    from shedder import RunningJob, WorkerSeen
    from shedder.queues.samples import Sample
    from shedder.web.actions import Done, Preview
    from shedder.web.board import Board, BoardVerdict, ControlLine, IncidentBar, LaneRow
    from shedder.web.flows import DrainRow, JournalLine
    from shedder.web.reading import SharedReading

UNKNOWN = "-"
"""What stands for a number that is not known."""

BAD, STANDS, GOOD, DIM, STRONG = "bold red", "bold yellow", "bold green", "dim", "bold"

LEVELS = {
    "OK": ("OK", GOOD), "UNKNOWN": ("NOT KNOWN", STANDS), "WARNING": ("WARNING", STANDS), "CRITICAL": ("TROUBLE", BAD),
}  # fmt: skip
"""What stands before the verdict, as `shedder check` counts."""

MARKS = {TROUBLE: ("!", BAD), HELD_BACK: ("=", STANDS)}
"""What stands before a lane that is in trouble, or that somebody holds back."""

COLOURS = {"orange": "yellow", "violet": "magenta", "grey": "white"}
"""Those colours of the policy that have another name in a terminal."""

SPARKS = "▁▂▃▄▅▆▇█"

MOST_RUNNING = 8
NARROW = 76
"""In fewer columns than a table of lanes should have, it does without how many jobs arrive."""

WIDE = 104
"""From so many columns on a lane has its last ten minutes in the table."""

SPARK_COLUMNS = 20


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: What stands above it.
        width: Of what it shows; the gap before the next one is part of it.
        is_number: It is set to the right.
    """

    title: str
    width: int
    is_number: bool = False

    def cell(self, text: str | Text) -> Text:
        """What it shows of `text`."""
        found = text.copy() if isinstance(text, Text) else Text(text)
        room = self.width - 1
        found.truncate(room, overflow="ellipsis")
        if self.is_number:
            found.align("right", room)
        return found


def tamed(text: str) -> str:
    """What a person or a job called something, in one line and without power over the terminal."""
    return output.one_line(text)


def figure(number: float) -> str:
    """`41,200`, and `2.05M` where that would be too long."""
    return f"{number:,.0f}" if number < 1_000_000 else f"{number / 1_000_000:.2f}M"


def rate(per_second: float | None) -> str:
    """`60/s`; a dash where it is not known."""
    return UNKNOWN if per_second is None else pace(per_second)


def age_or_dash(length: timedelta | None) -> str:
    """`9 min`; a dash where there is none."""
    return UNKNOWN if length is None else spoken(length)


def to_the_second(when: datetime) -> str:
    """`14:32:10`, UTC."""
    return when.astimezone(UTC).strftime("%H:%M:%S")


def since(when: datetime, now: datetime) -> str:
    """`since 14:20 (12 min)`."""
    return f"since {moment(when, now)} ({spoken(max(now - when, timedelta()))})"


def as_lines(lines: Iterable[Text]) -> Text:
    """The lines below one another."""
    return Text("\n").join(lines)


# above all views


def place_line(reading: SharedReading, *, address: str, by: str, width: int) -> Text:
    """What is run here, on which server, who looks, and when it was read."""
    line = Text(no_wrap=True)
    web = reading.policy.web
    if web.name:
        colour = COLOURS.get(web.colour, web.colour)
        line.append(f" {tamed(web.name)} ", f"bold reverse {colour}".strip())
        line.append(" ")
    line.append(f"Redis at {tamed(address)}, by {tamed(by)}", DIM)
    at = f"{to_the_second(reading.at)} UTC" if reading.is_known else ""
    line.truncate(max(width - len(at) - 1, 0), overflow="ellipsis", pad=True)
    return line.append(f" {at}")


def fresh_line(reading: SharedReading, now: datetime) -> Text:
    """That Redis does not answer, since when, and of when the rest is; empty while it answers."""
    if not reading.trouble:
        return Text()
    when = reading.since or now
    known = (
        f" What stands below is of {to_the_second(reading.at)} UTC." if reading.is_known else " Nothing is known yet."
    )
    said = f"NOT FRESH since {to_the_second(when)} UTC ({spoken(max(now - when, timedelta()))})"
    return Text(f"{said}: {tamed(reading.trouble)}{known}", BAD)


def verdict_text(verdict: BoardVerdict) -> Text:
    """How it is, why, and what else is wrong."""
    word, style = LEVELS[verdict.level]
    line = Text.assemble((word, style), "  ", (f"{tamed(verdict.sentence)}.", STRONG))
    if verdict.because:
        line.append(f" {tamed(verdict.because).rstrip('.')}.")
    others = len(verdict.others) + verdict.more
    if others:
        first = tamed(verdict.others[0].text).partition(". ")[0].partition("; ")[0].rstrip(".")
        line.append(f" Also: {first}{f'; and {others - 1} more' if others > 1 else ''}.", DIM)
    for each in verdict.unknown:
        line.append(f" Not known: {tamed(each)}.", DIM)
    return line


def looked_text(board: Board) -> Text:
    """All lanes in numbers, and what the verdict was told from."""
    numbers = (
        f"{figure(board.waiting)} waiting, {figure(board.backlog)} in backlogs, {figure(board.running)} running, "
        f"out {rate(board.completions)}, fail {rate(board.failing)}"
    )
    memory = "" if board.memory_used is None else f", memory {board.memory_used:.0%}"
    return Text(f"{numbers}{memory}", DIM, no_wrap=True, overflow="ellipsis")


def incident_line(bar: IncidentBar, now: datetime) -> Text:
    """The open incident in a line."""
    line = Text.assemble(
        (f"INCIDENT {tamed(bar.id)}", BAD), f" severity {bar.severity}, {bar.state} {since(bar.since, now)}: ",
        tamed(bar.title), no_wrap=True, overflow="ellipsis",
    )  # fmt: skip
    line.append(f"; {f'commander {tamed(bar.commander)}' if bar.commander else 'no commander'}")
    if bar.left is not None:
        due = f"update overdue by {spoken(-bar.left)}" if bar.is_overdue else f"next update in {spoken(bar.left)}"
        line.append(f"; {due}", BAD if bar.is_overdue else "")
    return line


# lanes


def lane_columns(board: Board, width: int, *, names: Iterable[str]) -> tuple[Column, ...]:
    """The columns of the table of lanes in `width` columns."""
    fails = [Column("fail", 7, is_number=True)] if board.failing else []
    arrives = [Column("in", 7, is_number=True)] if width >= NARROW else []
    numbers = [
        Column("waiting", 8, is_number=True), Column("backlog", 8, is_number=True), Column("run", 6, is_number=True),
        *arrives, Column("out", 7, is_number=True), *fails, Column("oldest", 10, is_number=True),
    ]  # fmt: skip
    sparks = [Column("ten minutes", SPARK_COLUMNS + 1)] if width >= WIDE else []
    rest = width - 2 - sum(each.width for each in (*numbers, *sparks))
    longest = max((len(name) for name in names), default=4) + 1
    lane = max(min(longest, rest - (26 if width >= WIDE else 11 if width >= NARROW else 8)), 8)
    return (Column("", 2), Column("lane", lane), *numbers, *sparks, Column("how", max(rest - lane, 4)))


def lane_cells(row: LaneRow, columns: Sequence[Column]) -> list[Text]:
    """What the table says of one lane."""
    mark, style = MARKS.get(row.state, ("", ""))
    values: dict[str, str | Text] = {
        "": Text(mark, style),
        "lane": Text(tamed(row.name), DIM if row.state == QUIET else ""),
        "waiting": figure(row.waiting), "backlog": figure(row.backlog), "run": figure(row.running),
        "in": rate(row.arrivals), "out": rate(row.completions), "fail": rate(row.failing),
        "oldest": Text(age_or_dash(row.oldest), BAD if row.is_late else ""),
        "ten minutes": spark_line([each.waiting + each.backlog for each in row.samples], SPARK_COLUMNS),
        "how": Text(how(row), style),
    }  # fmt: skip
    return [each.cell(values[each.title]) for each in columns]


def how(row: LaneRow) -> str:
    """How a lane is, in words: `late, paused`."""
    words = ["late"] if row.is_late else ["may be late"] if row.may_be_late else []
    words += ["fails"] if row.state == TROUBLE and row.failing else []
    words += dict.fromkeys(each.words for each in row.controls)
    words += ["no worker"] if _waits_for_nobody(row) else []
    return ", ".join(words or (["see below"] if row.state == TROUBLE else []))


def _waits_for_nobody(row: LaneRow) -> bool:
    return bool(row.waiting or row.backlog) and not (row.workers or row.stock_workers)


def rows_in(board: Board, *, is_unfolded: bool) -> list[LaneRow]:
    """Trouble first, the verdict's lane before others; quiet queues without jobs only where they are wanted."""
    loud = sorted(board.lanes, key=lambda row: (row.state != TROUBLE, row.name != board.verdict.lane))
    return [*loud, *(row for row in board.quiet if is_unfolded or not board.is_folded or row.state == WORKS)]


def lane_detail(row: LaneRow, now: datetime) -> Text:
    """Below the table: what a person should know of the lane that is chosen."""
    tolerated = f"; tolerated: {spoken(row.tolerance)}" if row.tolerance else ""
    workers = named([*([counted(row.workers, "worker")] if row.workers else []),
                     *([counted(row.stock_workers, "stock worker")] if row.stock_workers else [])])  # fmt: skip
    head = Text.assemble((tamed(row.name), STRONG), f": {workers or 'no worker'}{tolerated}")
    lines = [head, *(control_text(each, now) for each in row.controls)]
    return as_lines([*lines, *(Text(f"! {tamed(each)}", BAD) for each in row.warnings)])


def control_text(control: ControlLine, now: datetime) -> Text:
    """A decision that stands: who, since when, until when, why."""
    until = f", until {moment(control.until, now)}" if control.until else ""
    detail = f" [{tamed(control.detail)}]" if control.detail else ""
    return Text.assemble(
        ("= ", STANDS), (control.words, STANDS),
        f" by {tamed(control.by)} {since(control.since, now)}{until}: {tamed(control.why)}{detail}",
    )  # fmt: skip


def spark_line(values: Sequence[float], columns: int) -> str:
    """The values as a line of at most `columns` bars; the highest fills its bar."""
    step = max(-(-len(values) // columns), 1)
    shown = [max(values[at : at + step]) for at in range(0, len(values), step)]
    top = max(shown, default=0)
    return "".join(SPARKS[round(each / top * (len(SPARKS) - 1))] if top > 0 else SPARKS[0] for each in shown)


@dataclass(frozen=True, slots=True)
class InHand:
    """What is read for one lane only.

    Attributes:
        target: Of which.
        running: The jobs that run.
        workers: The workers that serve it.
    """

    target: str
    running: Sequence[RunningJob] = ()
    workers: Sequence[WorkerSeen] = ()


def lane_text(row: LaneRow, siblings: Sequence[LaneRow], hand: InHand | None, now: datetime, *, width: int) -> Text:
    """One lane: numbers, the last ten minutes, what stands on it, what runs, who serves it."""
    mark, style = MARKS.get(row.state, ("", ""))
    lines = [
        Text.assemble((f"{mark} {tamed(row.target)}".strip(), style or STRONG), f"  {how(row)}"),
        Text(f"waiting {figure(row.waiting)}, backlog {figure(row.backlog)}, running {figure(row.running)}; "
             f"in {rate(row.arrivals)}, out {rate(row.completions)}, fail {rate(row.failing)}"),
        Text(f"oldest {age_or_dash(row.oldest)}, tolerated {age_or_dash(row.tolerance)}", BAD if row.is_late else ""),
        *(Text(f"! {tamed(each)}", BAD) for each in row.warnings),
        *(control_text(each, now) for each in row.controls),
        Text(),
        *_curves(row.samples, width),
    ]  # fmt: skip
    others = [f"{tamed(each.target)} {figure(each.waiting)} waiting, {figure(each.backlog)} in the backlog"
              for each in siblings if each.name != row.name and (each.waiting or each.backlog)]  # fmt: skip
    lines += [Text(f"Other lanes of the queue: {'; '.join(others)}")] if others else []
    return as_lines([*lines, Text(), *_hand_lines(hand, now)])


def _curves(samples: Sequence[Sample], width: int) -> Iterator[Text]:
    if not samples:
        yield Text("No sample of the last ten minutes: workers of ours take them.", DIM)
        return
    room = max(width - 44, 10)
    depth = [float(each.waiting + each.backlog) for each in samples]
    paces = paces_of(samples)
    yield _curve("not started", depth, room, figure)
    yield _curve("started", [each.starts for each in paces], room, pace)
    yield _curve("oldest", [float(each.oldest) for each in samples], room, lambda it: spoken(timedelta(seconds=it)))


def _curve(name: str, values: Sequence[float], room: int, told: Callable[[float], str]) -> Text:
    if not values:
        return Text(f"{name:<12}{UNKNOWN}")
    bars = spark_line(values, room)
    return Text(f"{name:<12}{bars}  now {told(values[-1])}, most {told(max(values))}")


def _hand_lines(hand: InHand | None, now: datetime) -> Iterator[Text]:
    if hand is None:
        yield Text("What runs is not known yet.", DIM)
        return
    yield Text(f"Running: {counted(len(hand.running), 'job')}", STRONG)
    for job in hand.running[:MOST_RUNNING]:
        long = f" for {spoken(max(now - job.since, timedelta()))}" if job.since else ""
        unsure = "" if job.is_certain else " (not certain: not heard of since)"
        yield Text(f"  {tamed(job.function) or 'unreadable'} {tamed(job.job_id)}{long}, {tamed(job.worker)}{unsure}")
    if len(hand.running) > MOST_RUNNING:
        yield Text(f"  and {len(hand.running) - MOST_RUNNING:,} more", DIM)
    stock = sum(each.is_stock for each in hand.workers)
    yield Text(f"Workers: {len(hand.workers) - stock} of shedder, {stock} stock (they obey no control)",
               STANDS if stock else "")  # fmt: skip


# drains and retries


def drain_columns(width: int) -> tuple[Column, ...]:
    """The columns of the table of backlogs."""
    numbers = (Column("rate", 9, is_number=True), Column("done", 8, is_number=True), Column("left", 8, is_number=True),
               Column("fail", 6, is_number=True))  # fmt: skip
    rest = width - 2 - 14 - sum(each.width for each in numbers)
    what = max(min(rest * 2 // 5, 30), 10)
    return (Column("", 2), Column("lanes", what), Column("state", 14), *numbers, Column(" end", max(rest - what, 6)))


def drain_cells(row: DrainRow, columns: Sequence[Column]) -> list[Text]:
    """What the table says of the backlogs of one order."""
    is_bad = row.state == "halted" or not row.is_served
    mark = ("!", BAD) if is_bad else ("=", STANDS) if row.state == "stands" else ("", "")
    idle = "stopped" if row.is_retry else "diverted"
    state = idle if row.state == "stands" else row.state
    what = "limit" if row.is_limit else f"retry {state}" if row.is_retry else state
    values: dict[str, str | Text] = {
        "": Text(*mark), "lanes": tamed(", ".join(row.targets)), "state": Text(what, mark[1]),
        "rate": row.rate.replace("/second", "/s") or UNKNOWN, "done": figure(row.released), "left": figure(row.left),
        "fail": figure(row.failed), " end": f" {tamed(row.bounds if row.is_limit else row.end)}",
    }  # fmt: skip
    return [each.cell(values[each.title]) for each in columns]


def drain_detail(row: DrainRow, now: datetime) -> Text:
    """What a person should know of the backlogs that are chosen."""
    whole = f"{tamed(', '.join(row.targets))}: {tamed(row.words)}"
    lines = [Text.assemble((whole, STRONG), f", by {tamed(row.by)} {since(row.since, now)}: {tamed(row.why)}")]
    if row.state == "draining" and not row.is_limit:
        bar = "█" * round(row.share_done * 20)
        lines.append(Text(f"{bar:░<20} {row.share_done:.0%} done, end: {tamed(row.end)}"))
    if row.skipped:
        lines.append(Text(f"skipped: {', '.join(f'{jobs:,} {tamed(cause)}' for cause, jobs in row.skipped.items())}"))
    if row.halted is not None:
        failed = f"{row.halted.failed} of its last {counted(row.halted.ended, 'job')} failed"
        lines.append(Text(f"! halted {since(row.halted.since, now)}: {failed}; what is left waits in order", BAD))
    if not row.is_served:
        lines.append(Text("! no worker serves it", BAD))
    return as_lines(lines)


# the journal


def journal_columns(width: int) -> tuple[Column, ...]:
    """The columns of the journal."""
    rest = width - 10 - 17
    verb = max(rest // 2, 16)
    return (Column("UTC", 10), Column("who", 17), Column("what", verb), Column("why", max(rest - verb, 10)))


def journal_cells(line: JournalLine, columns: Sequence[Column]) -> list[Text]:
    """What the table says of one event."""
    what = f"{'undo ' if line.is_undo else ''}{line.verb} {', '.join(line.targets)}"
    style = DIM if line.is_undone else ""
    undone = " (undone)" if line.is_undone else ""
    values = {
        "UTC": to_the_second(line.at),
        "who": tamed(line.by),
        "what": f"{tamed(what)}{undone}",
        "why": tamed(line.why),
    }
    return [each.cell(Text(values[each.title], style)) for each in columns]


def journal_detail(line: JournalLine, now: datetime) -> Text:
    """What a person should know of the event that is chosen."""
    role = f" ({line.role})" if line.role else ""
    when = f"{moment(line.at, now)}, {age_or_dash(now - line.at)} ago"
    head = f"{tamed(line.by)}{role} {tamed(line.what)}, {when}: {tamed(line.why)}"
    lines = [Text(head, STRONG)]
    lines += [Text(tamed(each)) for each in (line.numbers, line.effect) if each]
    way = "u undoes it" if line.can_undo else "it was undone" if line.is_undone else "there is no way back"
    return as_lines([*lines, Text(f"{line.id}: {way}", DIM)])


# acts


def preview_text(seen: Preview, *, reason: str, command: str) -> Text:
    """What an act would do, what comes of it, who else was there, and what the journal will get."""
    lines = [Text(f"! {tamed(each)}", BAD) for each in seen.others]
    lines += [Text(tamed(each), STRONG if number == 0 else "") for number, each in enumerate(seen.sentences)]
    lines += [Text(tamed(each)) for each in seen.outlook]
    lines += [Text(f"{name}: {tamed(text)}") for name, text in seen.extra.items() if text]
    journal = seen.lines or ("nothing",)
    told = [Text(f"The journal gets: {tamed(each)}") for each in journal]
    said = [Text(f"Reason: {tamed(reason)}")] if reason and not seen.lines else []
    return as_lines([*lines, Text(), *told, *said, Text(f"The same: {tamed(command)}", DIM)])


def receipt_text(done: Done, *, command: str) -> Text:
    """What an act did, and the way back."""
    lines = [Text(tamed(each), STRONG if number == 0 else "") for number, each in enumerate(done.sentences)]
    told = [Text(f"The journal has: {tamed(each)}") for each in done.lines]
    back = [Text(f"To take it back: u here, or {tamed(done.undo)}; {tamed(done.undo_does)}")] if done.undo else []
    return as_lines([*lines, Text(), *told, *back, Text(f"The same: {tamed(command)}", DIM)])


def board_in(reading: SharedReading) -> Board:
    """The lanes of a reading."""
    return board_of(reading.status, reading.policy, reading.samples)
