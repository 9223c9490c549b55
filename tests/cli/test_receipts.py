"""A tired person can read the receipts, whatever is in them and however narrow the screen is."""

from __future__ import annotations

import io
import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from shedder.cli.divert import divert_preview, divert_receipt
from shedder.cli.drain import drain_end, drain_halted, drain_receipt, restore_receipt
from shedder.cli.events import event_line
from shedder.cli.health import audit_view
from shedder.cli.output import Screen, Verbatim, as_rich
from shedder.cli.pause import pause_receipt, resume_receipt
from shedder.cli.status import status_view
from shedder.engine.workers import WorkerSeen
from shedder.events import Event
from shedder.health.audit import AuditReport
from shedder.queues.claims import RunningJob
from shedder.queues.controls import Divert, Drain, HaltedDrain, Pause
from shedder.queues.divert import DivertedLane, DivertReceipt
from shedder.queues.drain import DrainingLane, DrainProgress, DrainReceipt
from shedder.queues.outcomes import Outcomes
from shedder.queues.pause import PausedLane, PauseReceipt, ResumedLane, ResumeReceipt
from shedder.queues.preview import DivertPreview, LanePreview
from shedder.queues.restore import RestoredLane, RestoreReceipt
from shedder.selection import Selection
from shedder.status.readings import LaneStatus, Status
from shedder.units import Rate

AT = datetime(2026, 11, 23, 2, 49, tzinfo=UTC)
SINCE = AT - timedelta(minutes=38)
NASTY = "ma[red]il\x1b[2J\x9b\u202e\n{task}"
WIDE = "郵便📬"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def shown(parts, *, width=80):
    """The parts as a terminal of this width gets them."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, markup=False, emoji=False, highlight=False)
    for part in parts:
        console.print(as_rich(part), soft_wrap=isinstance(part, Verbatim))
    return _COLOURS.sub("", stream.getvalue())


def paused(name, *, many=41_200):
    running = RunningJob("0b7c1b1e-6a52-4a70-8f4c-3b8f3c0f7c11", name, name, SINCE, f"app.{name}")
    return PauseReceipt(
        "1-0", AT, AT + timedelta(minutes=30),
        (PausedLane(name, many, Pause(name, name, name, SINCE)), PausedLane(f"{name}.low", 7)),
        (running, RunningJob("2", name, is_certain=False)),
        (WorkerSeen(name, (name,), is_stock=True), WorkerSeen("ours", (name,), is_stock=False)),
    )  # fmt: skip


def standing(name):
    pause = Pause(name, name, name, SINCE, AT + timedelta(minutes=5))
    drain = Drain(Rate(200), name, name, SINCE, released=12, skipped={"gone": 3})
    divert = Divert(name, "o", name, name, SINCE, Selection(), 5, drain, is_scanning=True)
    lane = LaneStatus(name, name, "normal", 41_200, 5, 3, 1, SINCE, SINCE, 8.21, 1200.0, pause,
                      (divert,), 1, 1, (f"{name} is full.",))  # fmt: skip
    return Status(AT, (lane,), memory_used=0.993, is_suspended=True, warnings=(f"{name}!",))


def everything(name):
    """All there is to show, with `name` wherever a name or a reason stands."""
    workers = (WorkerSeen(name, (name,), is_stock=True),)
    preview = DivertPreview(Selection(), (LanePreview(name, 3, 0),), (), ((name, 3),))
    draining = DrainingLane(name, "o", 41_200, Rate(100))
    progress = DrainProgress(name, "o", 5, 7, {name: 2}, (f"1 {name}",), is_done=False)
    halt = HaltedDrain("1-0", AT, 20, 50, 0.5, Rate(200), name, name)
    halted = replace(progress, failed=20, exception=name, halted=halt)
    return [
        *pause_receipt(paused(name)),
        *resume_receipt(ResumeReceipt("1-0", AT, (
            ResumedLane(name, 3, Pause(name, name, name, SINCE)), ResumedLane("b", 1, None)))),
        *divert_receipt(DivertReceipt("1-0", AT, Selection(), (DivertedLane(name, "o", 0, 3),),
                                      workers), preview=preview),
        *divert_preview(preview, now=AT, next_command=("do it", "x")),
        *drain_receipt(DrainReceipt("1-0", AT, Rate(200), (draining,), workers)),
        *drain_end((progress,), took=timedelta(seconds=3)),
        *drain_halted((halted,)),
        *restore_receipt(RestoreReceipt(("1-0",), AT, (RestoredLane(name, "o", 3),))),
        *status_view(standing(name), address=name),
        *audit_view(AuditReport(AT, 3, {name: 3}, (name,), ((name, (name, "b")),), (name,))),
        event_line(Event("1-0", AT, name, name, name, (name,), undoes=name)),
    ]  # fmt: skip


@given(st.text(min_size=1) | st.just(NASTY))
def test_no_name_drives_the_terminal(name):
    """Names, reasons and functions come from anywhere; what could move a cursor is spelled out."""
    text = shown(everything(name)).replace("\n", "")
    kinds = {unicodedata.category(each) for each in text if each not in "\u200c\u200d"}
    assert set() == kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_names_are_not_taken_for_markup():
    """Brackets and braces in a name are shown as they are."""
    assert r"ma[red]il\x1b[2J\x9b\u202e\n{task}" in shown(everything(NASTY), width=200)


@pytest.mark.parametrize("name", ["mail", WIDE, "a" * 300])
def test_eighty_columns_are_enough(name):
    """No line is wider than the screen, whatever the width of its letters."""
    parts = [part for part in everything(name) if not isinstance(part, Verbatim)]
    assert [] == [line for line in shown(parts).splitlines() if cell_len(line.rstrip()) > 80]


def test_eighty_columns_are_enough_where_jobs_fail():
    """All columns, with the numbers of a bad night, and no word is broken."""
    halted = HaltedDrain("1-0", SINCE, 25, 50, 0.5, Rate(1200), "oncall", "why")
    orders = (
        Divert("mail.critical", "a", "oncall", "why", SINCE, Selection(), 200_000, Drain(Rate(1200), "o", "w", SINCE)),
        Divert("mail.critical", "b", "oncall", "why", SINCE, Selection(), 7, halted=halted),
        Divert("mail.critical", "c", "oncall", "why", SINCE, Selection(), is_limit=True, most=40),
    )
    pause = Pause("mail.critical", "oncall", "why", SINCE)
    counted = Outcomes(failing=1200.0, ended_lately=360_000, failed_lately=360_000)
    lane = LaneStatus("mail.critical", "mail", "critical", 200_000, 200_007, 24, 1, SINCE, SINCE, 1200.0, 1200.0,
                      pause, orders, outcomes=counted)  # fmt: skip
    lines = shown(status_view(Status(AT, (lane,)), address="x")).splitlines()
    assert [] == [line for line in lines if cell_len(line.rstrip()) > 80]
    headings = ["lane", "waiting", "backlog", "running", "oldest", "in/s", "out/s", "fail/s", "control"]
    assert headings == lines[1].split()
    table = " ".join(" ".join(lines[2 : lines.index("")]).split())
    assert "mail.critical 200,000 200,007 24 38m 1,200 1,200 1,200 paused, limited to 40 at once, div" in table
    assert "diverted, draining 1,200/s, drain halted" in table


def test_columns_stay_straight_with_wide_letters():
    """Letters that take two cells move nothing."""
    lines = shown(status_view(standing(WIDE), address="x")).splitlines()
    heading, lane = lines[1], lines[2]
    end = heading.index("waiting") + len("waiting")
    cells = [cell_len(lane[: lane.index("41,200") + len("41,200")])]
    assert [end] == cells


def test_a_pause_tells_all_that_matters():
    """Numbers, what runs and since when, what is uncertain, who obeys, and the way back."""
    text = shown(pause_receipt(paused("mail")))
    head = "mail and mail.low are paused until 03:19 UTC (30m): 41,207 jobs wait, 2 still"
    assert head in " ".join(text.split())
    assert "This takes the place of the pause since 02:11 UTC (38m) by mail: mail" in text
    assert re.search(r"0b7c1b1e-6a52-4a70-8f4c-3b8f3c0f7c11 +38m +app.mail +mail", text)
    assert "? 1 job passed the gate in a process that has not been heard of since" in text
    assert "1 worker obeys: ours." in text
    assert "undo    shedder undo 1-0" in text


def test_long_lists_are_cut_and_counted():
    """Of forty running jobs ten are named, and the rest are counted."""
    running = tuple(RunningJob(str(each), "mail", since=SINCE) for each in range(40))
    text = shown(pause_receipt(PauseReceipt("1-0", AT, None, (), running, ())))
    assert "and 30 more jobs" in text


def test_a_server_that_is_nearly_full_is_told():
    """The share of the memory stands in the first line."""
    assert "memory 99%" in shown(status_view(standing("mail"), address="x")).splitlines()[0]


def test_lanes_that_a_queue_speaks_for_are_left_out():
    """Of a paused queue only lanes with jobs have a line; a lane with its own control has one."""
    pause = Pause("mail", "oncall", "why", SINCE)
    own = Pause("mail.high", "second", "other", SINCE)
    lanes = (
        LaneStatus("mail.critical", "mail", "critical", pause=pause),
        LaneStatus("mail.high", "mail", "high", pause=own),
        LaneStatus("mail", "mail", "normal", pause=pause),
    )
    text = shown(status_view(Status(AT, lanes), address="x"))
    assert ["mail.high", "mail"] == re.findall(r"^(mail\S*) +0 ", text, re.MULTILINE)
    assert "and 1 empty lane" in text


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    """NO_COLOR is respected."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    for part in pause_receipt(paused("mail")):
        console.print(as_rich(part))
    assert set() == set(_COLOURS.findall(stream.getvalue())) - {"\x1b[0m", "\x1b[1m", "\x1b[2m"}


@pytest.mark.parametrize("width", ["0", "", "none"])
def test_a_width_of_nothing_hides_nothing(monkeypatch, capsys, width):
    """Without a terminal `docker exec` sets COLUMNS to 0; the receipt is printed all the same."""
    monkeypatch.setenv("COLUMNS", width)
    Screen().show(*pause_receipt(paused("mail")))
    assert "mail.low are paused" in capsys.readouterr().out
