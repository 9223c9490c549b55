"""`shedder top`: what its screens show, what its keys do, and how it lives with a Redis that goes away.

Textual is loaded by the first of these tests, so that the processes of all others stay small.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.units import Rate
from tests.cli.programs import Terminal, environment
from tests.features.scene import Scene, numbered
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis
    from textual.pilot import Pilot

    from shedder.cli.top_screens import Room, Top
    from shedder.queues.controls import Pause
    from shedder.status.readings import LaneStatus
    from tests.cli.conftest import Run
    from tests.conftest import ServerFactory

WHY = "database at 99 %"
ACTS_IN_SIGHT = "pause", "resume", "divert", "drain", "stop", "undo", "help", "quit"


@pytest.fixture(autouse=True)
def _looks_often_and_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four looks at Redis in a second; a Redis is not away because the machine is busy."""
    for name in ("cli.top_screens.GOOD_FOR_SECONDS", "web.reading.GOOD_FOR_SECONDS"):
        monkeypatch.setattr(f"shedder.{name}", 0.25)
    monkeypatch.setattr("shedder.web.reading.PATIENCE_SECONDS", PATIENCE_SECONDS)


def is_form(screen: object) -> bool:
    """Whether it asks for a reason."""
    from shedder.cli.top_acts import ActScreen

    return isinstance(screen, ActScreen)


class Player:
    """A person before the screen."""

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot
        # a machine may stand still for longer than a pilot waits
        vars(pilot)["_wait_for_screen"] = partial(pilot._wait_for_screen, PATIENCE_SECONDS)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        """What stands on the screen, in one line."""
        return " ".join(" ".join(self.lines).split())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    def press_at_once(self, *keys: str) -> None:
        """Press keys faster than the screen follows."""
        for key in keys:
            self.app.simulate_key(key)

    async def type(self, text: str) -> None:
        await self.pilot.press(*(("space" if each == " " else each) for each in text))

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Return when `condition` holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n" + "\n".join(self.lines)
            await self.pilot.pause(0.02)

    async def see(self, *texts: str) -> None:
        """Return when all of `texts` stand on the screen."""
        await self.until(lambda: all(each in self.text for each in texts), repr(texts))

    async def choose(self, name: str) -> None:
        """Go to the row of a lane."""
        await self.until(lambda: name in self.room.lanes, name)
        while self.room._rows("lanes").chosen != name:
            await self.press("down")

    @property
    def room(self) -> Room:
        return self.app.room

    async def act(self, key: str, *, why: str = WHY, sees: str, done: str) -> None:
        """Open an act by its key, say why, look at the preview, and confirm it."""
        await self.press(key)
        await self.until(lambda: is_form(self.app.screen), "the form")
        await self.fill("reason", why)
        await self.press("enter")
        await self.see("what it would do", sees)
        await self.press("y")
        await self.see(": done", done)

    async def fill(self, name: str, text: str) -> None:
        screen = self.app.screen
        assert is_form(screen)
        screen._box(name).focus()
        await self.press("ctrl+a", "ctrl+k")
        screen._box(name).insert_text_at_cursor(text)  # as a terminal pastes it
        await self.pilot.pause()


Story = Callable[[Player], Awaitable[Any]]


def play(shedder: Shedder, story: Story, *, size: tuple[int, int] = (80, 24), by: str = "ana@desk") -> None:
    """Have the screen open on a terminal of `size` while `story` goes on."""

    from shedder.cli.top_screens import Top

    async def go() -> None:
        app = Top(shedder, by=by, address="redis.example:6379/0", server="-u redis://redis.example:6379/0")
        async with app.run_test(size=size) as pilot:
            await story(Player(app, pilot))

    asyncio.run(go())


@pytest.fixture
def stage(scene: Scene) -> Scene:
    """Jobs in three queues, one of which is paused and one diverted."""
    scene.fill("mail", *numbered("mail", 3))
    scene.fill("mail.low", *numbered("low", 4))
    scene.fill("reports", *numbered("report", 2))
    scene.fill("export", *numbered("export", 5))
    scene.shedder.pause("export", reason="nightly export", by="bob@desk")
    scene.shedder.divert("mail.low", reason="only receipts now", by="bob@desk")
    return scene


def status_of(scene: Scene, name: str) -> LaneStatus:
    return next(lane for lane in scene.shedder.status().lanes if lane.lane == name)


def pause_of(scene: Scene, name: str) -> Pause:
    pause = status_of(scene, name).pause
    assert pause is not None
    return pause


# what it shows


def test_the_lanes_fit_a_terminal_of_80_by_24_with_trouble_first(stage: Scene) -> None:
    """Server, person, verdict, lanes, what is known of the chosen one, and the keys are in sight."""

    async def story(player: Player) -> None:
        await player.see("redis.example:6379/0, by ana@desk", "10 waiting, 4 in backlogs")
        lines = player.lines
        assert 24 == len(lines)
        assert [] == [line for line in lines if len(line) > 80]
        assert all(word in lines[-1] for word in ACTS_IN_SIGHT)
        rows = [line.split()[:2] for line in lines if line[:1] in "!=" and line[1:2] == " " and "  " in line]
        assert [["!", "mail"], ["!", "reports"], ["=", "export"], ["=", "mail.low"]] == rows[:4]
        await player.choose("export")
        await player.see("= paused by bob@desk since", "nightly export")

    play(stage.shedder, story)


def test_one_lane_has_what_stands_on_it_what_runs_and_who_serves_it(stage: Scene) -> None:
    """Enter shows the chosen lane alone, Escape goes back."""
    stage.add_stock_worker("reports")
    stage.hands.start(stage.take("reports"))

    async def story(player: Player) -> None:
        await player.choose("reports")
        await player.press("enter")
        await player.see(
            "waiting 1, backlog 0, running 1", "Running: 1 job app.mail.send", "1 stock (they obey no control)"
        )
        await player.press("escape")
        await player.see("lane waiting backlog")

    play(stage.shedder, story)


def test_drains_say_how_far_they_are(stage: Scene) -> None:
    """A row for each order, and below it who ordered it, why, and when it ends."""
    stage.shedder.drain("mail.low", rate=Rate.parse("20/second"), reason="careful", by="eve@desk")

    async def story(player: Player) -> None:
        await player.press("2")
        await player.see("mail.low draining 20/s 0 4 0", "every job, by eve@desk since", "careful", "0% done, end:")

    play(stage.shedder, story)


def test_the_journal_says_who_did_what_and_whether_there_is_a_way_back(stage: Scene) -> None:
    """The newest change is the first line, and is chosen."""

    async def story(player: Player) -> None:
        await player.press("3")
        await player.see("bob@desk divert mail.low only receipts now", "bob@desk pause export", "u undoes it")
        assert player.text.index("divert mail.low") < player.text.index("pause export")

    play(stage.shedder, story)


def test_quiet_queues_without_jobs_are_folded_when_there_are_many(scene: Scene) -> None:
    """How many there are is said; f shows them."""
    for number in range(12):
        scene.fill(f"quiet{number}", f"job{number}")
        scene.redis.delete(f"rq:queue:quiet{number}")

    async def story(player: Player) -> None:
        await player.see("12 quiet queues without jobs folded: f")
        await player.press("f")
        await player.see("quiet11", "1 Lanes 12")

    play(scene.shedder, story)


def test_what_people_and_jobs_write_has_no_power_over_the_terminal(scene: Scene) -> None:
    """Control characters and those that turn text around are spelled out; markup is text."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="\x1b[31mred \u202eback [bold]", by="bob@desk")

    async def story(player: Player) -> None:
        await player.see(r"\x1b[31mred \u202eback [bold]")
        await player.press("3")
        await player.see(r"pause mail \x1b[31mred")

    play(scene.shedder, story)


@pytest.mark.parametrize("size", [(80, 24), (132, 43), (60, 12)], ids=str)
def test_each_screen_fits_each_terminal(stage: Scene, size: tuple[int, int]) -> None:
    """No line is wider than the terminal, and the keys stay in sight."""

    async def story(player: Player) -> None:
        await player.see("mail.low")
        for keys, last in ((("1",), "p pause"), (("2",), "p pause"), (("3",), "p pause"), (("1", "enter"), "p pause"),
                           (("escape", "p"), "Enter shows"), (("escape", "d"), "Enter shows"),
                           (("escape", "a"), "Enter chooses")):  # fmt: skip
            await player.press(*keys)
            await player.until(lambda last=last: last[:9] in player.lines[-1] or last in player.text, last)
            assert size[1] == len(player.lines)

    play(stage.shedder, story, size=size)


# how one acts


async def pauses(player: Player) -> None:
    await player.choose("mail")
    await player.act("p", sees="3 jobs wait and stay", done="The journal has: pause mail by ana@desk: database at 99 %")


async def resumes(player: Player) -> None:
    await player.choose("export")
    await player.act("r", sees="This ends the pause", done="export is resumed")


async def diverts(player: Player) -> None:
    await player.choose("reports")
    await player.act("d", sees="2 jobs go to the backlog", done="2 jobs went to the backlog")


async def drains(player: Player) -> None:
    await player.choose("mail.low")
    await player.press("g")
    await player.until(lambda: is_form(player.app.screen), "the form")
    await player.type("20/second")
    await player.press("enter")  # to the reason, which is missing
    await player.type("careful")
    await player.press("enter")
    await player.see("4 jobs leave the backlog of mail.low", "the backlog is empty at", "The journal gets: drain")
    await player.press("y")
    await player.see("mail.low drains at 20/second")
    await player.press("escape")
    await player.see("draining 20/s")


async def changes_the_rate(player: Player) -> None:
    await drains(player)
    await player.press("2", "g")
    await player.until(lambda: is_form(player.app.screen), "the form")
    await player.see("20/second")
    await player.fill("rate", "50/second")
    await player.fill("reason", "it goes well")
    await player.press("enter")
    await player.see("It drains at 20/second now, by ana@desk: careful.")
    await player.press("y")
    await player.see("mail.low drains at 50/second")


async def stops_the_drain(player: Player) -> None:
    await drains(player)
    await player.act("s", sees="The drain of mail.low stops: 4 jobs stay in the backlog", done="has stopped")


async def undoes(player: Player) -> None:
    await pauses(player)
    await player.press("u")  # from the receipt
    await player.see("Undo", "Event")
    await player.fill("reason", "it was the wrong one")
    await player.press("enter")
    await player.see("Undo: what it would do")
    await player.press("y")
    await player.see("Undo: done")


async def undoes_from_the_journal(player: Player) -> None:
    await player.press("3")
    await player.see("bob@desk divert mail.low")
    await player.act("u", sees="undo", done="The journal has")


@pytest.mark.parametrize(
    ("story", "verb", "holds"),
    [
        (pauses, "pause", lambda scene: "ana@desk" == pause_of(scene, "mail").by),
        (resumes, "resume", lambda scene: status_of(scene, "export").pause is None),
        (diverts, "divert", lambda scene: 2 == status_of(scene, "reports").backlog),
        (drains, "drain", lambda scene: "20/second" == rate_of(scene, "mail.low")),
        (changes_the_rate, "drain", lambda scene: "50/second" == rate_of(scene, "mail.low")),
        (stops_the_drain, "drain stopped", lambda scene: "" == rate_of(scene, "mail.low")),
        (undoes, "resume", lambda scene: status_of(scene, "mail").pause is None),
        (undoes_from_the_journal, "restore", lambda scene: 4 == status_of(scene, "mail.low").waiting),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_each_act_is_looked_at_and_confirmed(
    stage: Scene, story: Story, verb: str, holds: Callable[[Scene], bool]
) -> None:
    """What it would do is shown before, what it did after; the journal names the person."""
    play(stage.shedder, story)
    newest = stage.shedder.events(limit=1)[0]
    assert (verb, "ana@desk") == (newest.verb, newest.by)
    assert holds(stage)


def rate_of(scene: Scene, name: str) -> str:
    drains = [each.drain for each in status_of(scene, name).diverts if each.drain]
    return str(drains[0].rate) if drains else ""


def test_nothing_is_done_before_y_and_without_a_reason(stage: Scene) -> None:
    """Enter without a reason says so; the preview and Escape change nothing."""

    async def story(player: Player) -> None:
        await player.choose("mail")
        await player.press("p", "enter")
        await player.see("! say why: the journal keeps it")
        await player.type("why not")
        await player.press("enter")
        await player.see("what it would do", "shedder -u redis://redis.example:6379/0 pause mail")
        await player.press("enter", "escape")
        await player.see("Enter shows what it would do", "why not")
        await player.press("escape")
        await player.see("1 Lanes")

    before = stage.verbs()
    play(stage.shedder, story)
    assert before == stage.verbs()


def test_what_somebody_else_changed_meanwhile_is_shown_first(stage: Scene) -> None:
    """The act is refused with a new preview, which names the other person; then it can be confirmed."""

    async def story(player: Player) -> None:
        await player.choose("mail")
        await player.press("p")
        await player.fill("reason", WHY)
        await player.press("enter")
        await player.see("what it would do")
        stage.shedder.pause("mail", reason="a deploy", by="bob@desk")
        await player.press("y")
        await player.see("things have changed since you looked, so nothing was done", "bob@desk did 'pause mail'")
        assert "bob@desk" == pause_of(stage, "mail").by
        await player.press("y")
        await player.see("Pause: done")

    play(stage.shedder, story)
    assert ("ana@desk", WHY) == (pause_of(stage, "mail").by, pause_of(stage, "mail").why)


def test_a_key_that_is_pressed_twice_acts_once(stage: Scene) -> None:
    """Neither y nor what closes a screen does it again."""

    async def story(player: Player) -> None:
        await player.choose("mail")
        await player.press("p")
        await player.fill("reason", WHY)
        await player.press("enter")
        await player.see("what it would do")
        player.press_at_once("y", "y")
        await player.see("Pause: done")
        player.press_at_once("escape", "escape")
        await player.see("1 Lanes")
        await player.press("question_mark")
        await player.see("Any key closes this.")
        player.press_at_once("x", "x")
        await player.see("1 Lanes")

    play(stage.shedder, story)
    assert 1 == len([each for each in stage.shedder.events() if each.by == "ana@desk"])


def test_all_acts_of_the_pages_can_be_chosen(stage: Scene) -> None:
    """Such as the incident: it stands above the lanes from then on."""

    async def story(player: Player) -> None:
        await player.press("a")
        await player.see("All acts", "Pause", "Resume")
        await player.press("end")
        await player.see("Close the incident")
        screen = player.app.screen
        screen.query_one("OptionList").highlighted = screen.query_one("OptionList").get_option_index("incident-open")  # type: ignore[attr-defined]
        await player.press("enter")
        await player.see("Open an incident", "What happens")
        await player.fill("title", "receipts are late")
        await player.fill("severity", "2")
        await player.press("enter")
        await player.see("what it would do")
        await player.press("y")
        await player.see(": done")
        await player.press("enter")
        await player.see("INCIDENT", "severity 2", "receipts are late")

    play(stage.shedder, story)


def test_what_cannot_be_done_is_said_where_it_was_typed(stage: Scene) -> None:
    """The form stays as it was filled in."""

    async def story(player: Player) -> None:
        await player.choose("mail.low")
        await player.press("g")
        await player.fill("rate", "soon")
        await player.fill("reason", WHY)
        await player.press("enter")
        await player.see("! rate", "'soon'", WHY)

    play(stage.shedder, story)


# Redis that goes away


def test_it_says_since_when_redis_is_away_and_goes_on(server_factory: ServerFactory) -> None:
    """What was read last stands, with its time; an act says that Redis is away; all is well when it is back."""
    server = server_factory()
    with server.client() as client:
        scene = Scene(client)
        scene.fill("mail", *numbered("mail", 3))

        async def story(player: Player) -> None:
            await player.see("3 waiting")
            await asyncio.to_thread(server.kill)
            await player.see("NOT FRESH since", "What stands below is of", "3 waiting")
            await player.choose("mail")
            await player.press("p")
            await player.fill("reason", WHY)
            await player.press("enter")
            await player.see("cannot be reached", WHY)
            await asyncio.to_thread(server.restart)
            await player.press("escape")
            await player.until(lambda: "NOT FRESH" not in player.text and "1 Lanes" in player.text, "an answer")

        play(scene.shedder, story)


# how it begins and ends


@pytest.mark.parametrize(("how", "code"), [("\x03", 130), ("q", 0), ("SIGTERM", 0)], ids=["ctrl-c", "q", "sigterm"])
def test_it_leaves_a_good_terminal(stage: Scene, env: dict[str, str], how: str, code: int) -> None:
    """However it ends, the terminal shows what it showed before, and echoes what is typed."""
    with Terminal("top", env=env) as terminal:
        terminal.wait_for("p pause", "mail.low")
        if how == "SIGTERM":
            terminal.process.terminate()
        else:
            terminal.type(how)
        assert code == terminal.end()
        assert terminal.raw.rindex("\x1b[?1049l") > terminal.raw.rindex("\x1b[?1049h")
        assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")
        local = termios.tcgetattr(terminal._master)[3]
        assert local & termios.ECHO
        assert local & termios.ICANON


def test_without_colour_words_and_marks_say_all(stage: Scene, env: dict[str, str]) -> None:
    """With NO_COLOR no colour is sent to the terminal."""
    with Terminal("top", env={**env, "NO_COLOR": "1"}) as terminal:
        terminal.wait_for("p pause", "mail.low", "diverted")
        terminal.type("q")
        assert 0 == terminal.end()
        assert [] == re.findall(r"\x1b\[[0-9;]*\b(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])\b[0-9;]*m", terminal.raw)


def test_without_a_terminal_it_says_what_to_use(redis: Redis, invoke: Run) -> None:
    """One line, and nothing was tried."""
    done = invoke("top")
    assert 2 == done.code
    assert ["shedder: top needs a terminal; without one, see: shedder status --watch"] == done.err.splitlines()


def test_without_the_extra_it_says_how_to_get_it(redis: Redis, env: dict[str, str], tmp_path: Path) -> None:
    """One line, as for every extra."""
    (tmp_path / "textual.py").write_text("raise ImportError(\"No module named 'textual'\")")
    with Terminal("top", env={**env, "PYTHONPATH": f"{tmp_path}:{env['PYTHONPATH']}"}) as terminal:
        assert 1 == terminal.end()
        assert "pip install 'shedder[top]'" in " ".join(terminal.text.split())


def test_it_needs_nothing_of_what_the_pages_need() -> None:
    """The extra `top` is enough: Textual."""
    missing = ("jinja2", "markupsafe", "starlette", "uvicorn", "sse_starlette")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing!r})); import shedder.cli.top_screens"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
