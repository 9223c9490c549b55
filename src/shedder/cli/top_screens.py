"""The screens of `shedder top`: what the pages show, and the acts of the pages with the same preview and receipt.

Redis is read and asked in threads beside the screen, so that it answers keys while Redis does not.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.coordinate import Coordinate
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ContentSwitcher, DataTable, OptionList, Static
from textual.widgets.option_list import Option

from shedder.cli import top_views as views
from shedder.cli.top_acts import ActScreen, Clerk
from shedder.errors import ShedderError
from shedder.lanes import lanes_of_target
from shedder.web.actions import ACTS, Desk
from shedder.web.board import LaneRow, bar_of, lane_row
from shedder.web.flows import DrainRow, JournalLine, drains_of, journal_of
from shedder.web.reading import GOOD_FOR_SECONDS, Readings, SharedReading
from shedder.web.site import Visitor
from shedder.wording import counted

if TYPE_CHECKING:
    from textual.events import Resize

    from shedder import Shedder
    from shedder.cli.top_views import Column
    from shedder.web.board import Board

LANES, DRAINS, JOURNAL, LANE = "lanes", "drains", "journal", "lane"
VIEWS = (LANES, DRAINS, JOURNAL)

FEW_LINES = 20
"""In a terminal of fewer lines the table comes first, and what is known of its chosen row is left out."""

KEYS = "p pause  r resume  d divert  g drain  s stop  u undo  a acts  ? help  q quit"

HELP = """\
1 2 3, Tab   lanes, drains and retries, journal
Up, Down     choose; Enter shows one lane, Escape goes back
f            show the quiet queues without jobs too, or fold them

p            pause: no job starts until it is resumed; jobs stay in place
r            resume
d            divert: jobs go to the backlog, none is deleted
g            drain the backlog at a rate, or change that rate
s            stop the drain or retry; lift the limit on starts
u            undo: the chosen line of the journal, or the lane's newest change
a            all acts: flags, limits, failed and stale work, the incident

An act shows what it would do, asks why, and is done when y says so.
!  in trouble    =  held back by somebody's decision    -  not known
in, out and fail are jobs a second, lately; times are UTC.

q, Ctrl-C    quit; what was confirmed stands
Any key closes this."""


@dataclass
class Fresh(Message):
    """What was read just now.

    Attributes:
        reading: Of all lanes.
        hand: Of the lane that is shown alone; None while none is.
    """

    reading: SharedReading
    hand: views.InHand | None


class Rows(DataTable[Text]):
    """A table of which a row is chosen, by its key, and stays so while the others move."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name, cursor_type="row", cell_padding=0)
        self.keys: tuple[str, ...] = ()
        self._columns: tuple[Column, ...] = ()

    @property
    def chosen(self) -> str:
        """The key of the row that is chosen; empty where there is none."""
        return self.keys[self.cursor_row] if self.cursor_row < len(self.keys) else ""

    def fill(self, columns: tuple[Column, ...], rows: Mapping[str, Sequence[Text]]) -> None:
        """Show `rows`, by key."""
        if columns != self._columns or tuple(rows) != self.keys:
            self._fill_anew(columns, rows)
            return
        for number, cells in enumerate(rows.values()):
            for place, cell in enumerate(cells):
                where = Coordinate(number, place)
                if self.get_cell_at(where) != cell:
                    self.update_cell_at(where, cell)

    def _fill_anew(self, columns: tuple[Column, ...], rows: Mapping[str, Sequence[Text]]) -> None:
        chosen, at, top = self.chosen, self.cursor_row, self.scroll_y
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for each in columns:
                self.add_column(each.cell(each.title), width=each.width)
            for key, cells in rows.items():
                self.add_row(*cells, key=key)
            self.keys, self._columns = tuple(rows), columns
            row = self.keys.index(chosen) if chosen in rows else min(at, max(len(rows) - 1, 0))
            self.move_cursor(row=row, scroll=False)
        # what was in sight stays there, with what is chosen
        self.call_after_refresh(self.scroll_to, y=top, animate=False)


class Room(Screen[None]):
    """How it is, and the lanes, the drains, the journal or one lane below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"view('{name}')") for number, name in enumerate(VIEWS, start=1)),
        Binding("tab", "next_view", priority=True),
        Binding("escape", "back"),
        Binding("f", "fold"),
        Binding("p", "act('pause')"),
        Binding("r", "act('resume')"),
        Binding("d", "act('divert')"),
        Binding("g", "drain"),
        Binding("s", "stop"),
        Binding("u", "undo"),
        Binding("a", "acts"),
        Binding("question_mark,h", "help"),
        Binding("q", "app.quit"),
    ]

    def __init__(self, *, address: str, by: str, open_act: Callable[..., None]) -> None:
        super().__init__()
        self.address, self.by, self.open_act = address, by, open_act
        self.view, self.lane, self.is_unfolded = LANES, "", False
        self.reading: SharedReading | None = None
        self.hand: views.InHand | None = None
        self.lanes: dict[str, LaneRow] = {}
        self.drains: dict[str, DrainRow] = {}
        self.lines: dict[str, JournalLine] = {}

    def compose(self) -> ComposeResult:
        """From the top: what is known of all, the view, what is known of the row that is chosen, the keys."""
        for name in ("place", "fresh", "incident", "verdict", "numbers", "views"):
            yield Static(id=name, markup=False)
        with ContentSwitcher(initial=LANES):
            for name in VIEWS:
                yield Rows(name)
            with VerticalScroll(id=LANE):
                yield Static(id="one", markup=False)
        yield Static(id="detail", markup=False)
        yield Static(id="said", markup=False)
        yield Static(KEYS, id="keys", markup=False)

    def on_mount(self) -> None:
        """The lanes get the keys."""
        self.query_one("#verdict", Static).update("Reading ...")
        self.query_one(f"#{LANES}").focus()

    def on_resize(self, _event: Resize) -> None:
        """What fits is another now."""
        self.show()

    def take(self, fresh: Fresh) -> None:
        """Show what was read."""
        self.reading = fresh.reading
        if fresh.hand is not None and fresh.hand.target == self.lane:
            self.hand = fresh.hand
        self.show()

    # what is shown

    def show(self) -> None:
        """Show the last reading again, as it is looked at now."""
        reading = self.reading
        if reading is None or not self.query("#keys"):  # it ends
            return
        width = self.size.width
        board = views.board_in(reading)
        self._tell("place", self.place())
        self._tell("fresh", views.fresh_line(reading, datetime.now(UTC)))
        bar = bar_of(reading.incident, reading.policy, reading.at)
        self._tell("incident", views.incident_line(bar, reading.at) if bar else Text())
        self._tell("verdict", views.verdict_text(board.verdict) if reading.is_known else Text())
        self._tell("numbers", views.looked_text(board) if reading.is_known else Text())
        self._fill(reading, board, width - 1)
        self._show_views(board)
        self.show_chosen()

    def place(self) -> Text:
        """What is run here and on which server, for the first line of a screen."""
        reading, width = self.reading, self.size.width
        return views.place_line(reading, address=self.address, by=self.by, width=width) if reading else Text()

    def _fill(self, reading: SharedReading, board: Board, width: int) -> None:
        rows = views.rows_in(board, is_unfolded=self.is_unfolded)
        self.lanes = {row.name: row for row in rows}
        columns = views.lane_columns(board, width, names=[row.name for row in rows])
        self._rows(LANES).fill(columns, {row.name: views.lane_cells(row, columns) for row in rows})
        self.drains = {row.order: row for row in drains_of(reading.status, reading.samples)}
        columns = views.drain_columns(width)
        self._rows(DRAINS).fill(columns, {key: views.drain_cells(row, columns) for key, row in self.drains.items()})
        lines = journal_of(reading.events, reading.samples, reading.incident, reading.at)
        self.lines = {line.id: line for line in lines}
        columns = views.journal_columns(width)
        self._rows(JOURNAL).fill(columns, {line.id: views.journal_cells(line, columns) for line in lines})

    def _show_views(self, board: Board) -> None:
        folded = len(board.lanes) + len(board.quiet) - len(self.lanes)
        counts = {LANES: len(self.lanes), DRAINS: len(self.drains), JOURNAL: len(self.lines)}
        titles = {LANES: "Lanes", DRAINS: "Drains", JOURNAL: "Journal"}
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, name in enumerate(VIEWS, start=1):
            style = "bold reverse" if name == self.view else ""
            line.append(f" {number} {titles[name]} {counts[name]} ", style).append(" ")
        if self.view == LANE:
            line.append(f" {views.tamed(self.lane)} ", "bold reverse").append("  Escape goes back")
        elif folded:
            line.append(f" {counted(folded, 'quiet queue')} without jobs folded: f")
        self._tell("views", line)

    def show_chosen(self) -> None:
        """Show what is known of the row that is chosen, or of the lane that is shown alone."""
        reading = self.reading
        if reading is None:
            return
        detail = Text()
        if self.view == LANE:
            self._show_lane(reading)
        elif self.view == LANES and (row := self.lanes.get(self._rows(LANES).chosen)):
            detail = views.lane_detail(row, reading.at)
        elif self.view == DRAINS:
            drain = self.drains.get(self._rows(DRAINS).chosen)
            detail = views.drain_detail(drain, reading.at) if drain else Text("Nothing is diverted or comes back.")
        elif self.view == JOURNAL:
            line = self.lines.get(self._rows(JOURNAL).chosen)
            detail = views.journal_detail(line, reading.at) if line else Text("The journal is empty.")
        self._tell("detail", detail)

    def _show_lane(self, reading: SharedReading) -> None:
        wanted = lanes_of_target(self.lane)
        names = {lane.name for lane in wanted}
        queue = wanted[0].queue
        rows = {each.lane: lane_row(each, reading.status, reading.policy, reading.samples.get(each.lane, ()))
                for each in reading.status.lanes if each.queue == queue}  # fmt: skip
        row = next((row for name, row in rows.items() if name in names and row.target == self.lane),
                   next((row for name, row in rows.items() if name in names), None))  # fmt: skip
        told = (
            Text("It is empty now, and nothing stands on it.") if row is None else
            views.lane_text(row, list(rows.values()), self.hand, reading.at, width=self.size.width)
        )  # fmt: skip
        self.query_one("#one", Static).update(told)

    def _tell(self, name: str, text: Text) -> None:
        found = self.query_one(f"#{name}", Static)
        is_left_out = self.size.height < FEW_LINES and name in ("numbers", "detail")
        found.display = bool(text.plain) and not is_left_out
        found.update(text)

    def _rows(self, name: str) -> Rows:
        return self.query_one(f"#{name}", Rows)

    def say(self, text: str) -> None:
        """One line above the keys, until the next key."""
        self._tell("said", Text(text, "bold"))

    def on_key(self) -> None:
        """What was said is read."""
        self._tell("said", Text())

    # where one goes

    def on_data_table_row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        """Another row was chosen."""
        self.show_chosen()

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        """Enter: one lane, alone."""
        targets = self._targets()
        if self.view in (LANES, DRAINS) and targets:
            self.lane, self.hand = targets[0], None
            self._go(LANE)

    def action_view(self, name: str) -> None:
        """Show the lanes, the drains or the journal."""
        self._go(name)

    def action_next_view(self) -> None:
        """Show what comes next."""
        at = VIEWS.index(self.view) if self.view in VIEWS else -1
        self._go(VIEWS[(at + 1) % len(VIEWS)])

    def action_back(self) -> None:
        """Back to the lanes."""
        self._go(LANES)

    def action_fold(self) -> None:
        """Show quiet queues without jobs too, or no more."""
        self.is_unfolded = not self.is_unfolded
        self.show()

    def _go(self, name: str) -> None:
        self.view = name
        self.query_one(ContentSwitcher).current = name
        self.query_one(f"#{name}").focus()
        self.show()
        if name == LANE:
            self.app.wake()  # type: ignore[attr-defined]

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(Help())

    # acts

    def _targets(self) -> tuple[str, ...]:
        """What is chosen, as commands name it."""
        if self.view == LANE:
            return (self.lane,)
        if self.view == LANES:
            row = self.lanes.get(self._rows(LANES).chosen)
            return (row.target,) if row else ()
        if self.view == DRAINS:
            drain = self.drains.get(self._rows(DRAINS).chosen)
            return drain.targets if drain else ()
        line = self.lines.get(self._rows(JOURNAL).chosen)
        return line.targets if line and line.lanes else ()

    def _order(self) -> DrainRow | None:
        """The order that is chosen: by itself, or of the lane."""
        if self.view == DRAINS:
            return self.drains.get(self._rows(DRAINS).chosen)
        wanted = set(self._targets())
        found = [row for row in self.drains.values() if wanted & {*row.targets}]
        return next((row for row in found if not row.is_limit), next(iter(found), None))

    def action_act(self, name: str) -> None:
        """Ask for what an act needs, for what is chosen."""
        self.open_act(name, target=self._targets())

    def action_drain(self) -> None:
        """Drain what is chosen, or change the rate of its drain or limit."""
        order = self._order()
        if order is not None and order.is_limit:
            said = [each.strip() for each in order.bounds.split(",")]
            most = [each.removesuffix(" at once") for each in said if each.endswith(" at once")]
            self.open_act("limit-starts", target=order.targets, rate=(order.rate,), most=tuple(most), focus="rate")
        else:
            self.open_act("drain", target=self._targets(), rate=(order.rate,) if order else (), focus="rate")

    def action_stop(self) -> None:
        """Stop the drain or the retry that is chosen, or lift the limit."""
        order = self._order()
        name = "stop-retry" if order and order.is_retry else "lift-limit" if order and order.is_limit else "stop-drain"
        self.open_act(name, target=order.targets if order else self._targets())

    def action_undo(self) -> None:
        """Undo the event that is chosen, or the newest change of what is chosen."""
        if self.view == JOURNAL:
            line = self.lines.get(self._rows(JOURNAL).chosen)
        else:
            lanes = {lane.name for each in self._targets() for lane in lanes_of_target(each)}
            line = next((each for each in self.lines.values() if each.can_undo and lanes & {*each.lanes}), None)
        if line is None or not line.can_undo:
            where = "it" if self.view == JOURNAL else f"any of the last {len(self.lines)} changes of it"
            self.say(f"There is no way back from {where}.")
            return
        self.open_act("undo", event=(line.id,))

    def action_acts(self) -> None:
        """Choose among all acts."""
        self.app.push_screen(AllActs(), self._chosen_act)

    def _chosen_act(self, name: str | None) -> None:
        if name:
            self.open_act(name, target=self._targets())


class Help(Screen[None]):
    """The keys."""

    def compose(self) -> ComposeResult:
        """Their text."""
        yield Static("The keys of shedder top", classes="title", markup=False)
        with VerticalScroll():
            yield Static(HELP, markup=False)

    def on_key(self) -> None:
        """Any key closes it, once."""
        if self.is_current:
            self.dismiss(None)


class AllActs(Screen[str]):
    """All acts, to choose one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave")]

    def compose(self) -> ComposeResult:
        """A line for each act."""
        yield Static("All acts", classes="title", markup=False)
        width = max(len(each.title) for each in ACTS.values())
        yield OptionList(
            *(Option(Text.assemble((f"{each.title:<{width}}", "bold"), f"  {each.help}", no_wrap=True,
                                   overflow="ellipsis"), id=name) for name, each in ACTS.items()),
            compact=True, markup=False,
        )  # fmt: skip
        yield Static("Enter chooses  Escape goes back", classes="keys", markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """That one."""
        if self.is_current:
            self.dismiss(event.option.id)

    def action_leave(self) -> None:
        """None of them."""
        if self.is_current:
            self.dismiss(None)


class Top(App[None]):
    """The program: reads once a second, and shows.

    Args:
        shedder: What is read and called.
        by: Who acts.
        address: Where Redis is, as people read it.
        server: What a command line must say of the server.

    Attributes:
        failure: What went wrong and ended it; None as long as nothing did.
        is_interrupted: Ctrl-C ended it.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "interrupt", priority=True),
        Binding("ctrl+z", "suspend_process", priority=True),
    ]
    CSS = """
    Screen { layout: vertical; }
    Static { height: auto; }
    #fresh, #said { text-style: bold; }
    #verdict { max-height: 4; }
    #detail { max-height: 7; border-top: solid ansi_default; }
    ContentSwitcher, ContentSwitcher > VerticalScroll, .body { height: 1fr; }
    DataTable { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    DataTable > .datatable--header { background: ansi_default; color: ansi_default; text-style: underline; }
    DataTable > .datatable--cursor, DataTable:focus > .datatable--cursor {
        background: ansi_default; color: ansi_default; text-style: reverse; }
    DataTable > .datatable--hover { background: ansi_default; }
    DataTable > .datatable--even-row, DataTable > .datatable--odd-row { background: ansi_default; }
    VerticalScroll { scrollbar-size-vertical: 1; }
    OptionList { height: 1fr; border: none; scrollbar-size-vertical: 1; }
    OptionList > .option-list--option-highlighted, OptionList:focus > .option-list--option-highlighted {
        background: ansi_default; color: ansi_default; text-style: reverse; }
    .title { text-style: bold reverse; width: 100%; padding: 0 1; }
    #keys, .keys { dock: bottom; height: 1; text-style: reverse; width: 100%; }
    """

    def __init__(self, shedder: Shedder, *, by: str, address: str, server: str = "") -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.shedder, self.address, self.by = shedder, address, by
        # nothing leaves this process that has to be believed elsewhere
        desk = Desk(shedder, secrets.token_bytes(32), lambda *_: None)
        self.clerk = Clerk(desk, Visitor(by, may_act=True), server)
        self.readings = Readings(shedder.store.connection)
        self.failure: Exception | None = None
        self.is_interrupted = False
        self.room = Room(address=address, by=by, open_act=self.open_act)
        self._ends, self._woken = threading.Event(), threading.Event()

    async def on_mount(self) -> None:
        """Begin to read; end well when somebody says so from outside."""
        with suppress(RuntimeError, ValueError, NotImplementedError):  # not in the main thread, or on Windows
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, self.action_interrupt)
            for each in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(each, self.exit)
        await self.push_screen(self.room)
        self.run_worker(self._read_on, thread=True, exit_on_error=True)

    def on_unmount(self) -> None:
        """Read no more."""
        self._ends.set()
        self._woken.set()

    def wake(self) -> None:
        """Read now, if the last reading is old enough."""
        self._woken.set()

    def _read_on(self) -> None:
        while not self._ends.is_set():
            reading = self.readings.read()
            self.post_message(Fresh(reading, self._in_hand(reading)))
            self._woken.wait(GOOD_FOR_SECONDS)
            self._woken.clear()

    def _in_hand(self, reading: SharedReading) -> views.InHand | None:
        room = self.room
        target = room.lane if room.view == LANE else ""
        # this client is patient; the readings say that Redis is away, and are not
        if not target or reading.trouble:
            return None
        try:
            return views.InHand(target, self.shedder.running(target), self.shedder.workers(target))
        except ShedderError:
            return None

    def on_fresh(self, fresh: Fresh) -> None:
        """Show what was read."""
        self.room.take(fresh)

    def open_act(self, name: str, *, focus: str = "", **given: Sequence[str]) -> None:
        """Ask for what an act needs."""
        said = {key: tuple(values) for key, values in given.items()}
        self.push_screen(ActScreen(self.clerk, ACTS[name], said, place=self.room.place(), focus=focus), self._acted)

    def _acted(self, undo: str | None) -> None:
        self.wake()
        if undo:
            self.open_act("undo", event=(undo,))

    def action_interrupt(self) -> None:
        """Ctrl-C."""
        self.is_interrupted = True
        self.exit()

    def _fatal_error(self) -> None:
        # Textual would print the values of all variables, passwords among them
        self.failure = getattr(self._exception, "error", self._exception)
        self._close_messages_no_wait()
