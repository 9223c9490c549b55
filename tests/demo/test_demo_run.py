from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import redis

from tests.demo.stagehand import Demo
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
JOBS = 5000
ELSEWHERE = {
    "SHEDDER_REDIS_URL": "redis://127.0.0.1:1/0",
    "RQ_REDIS_URL": "redis://127.0.0.1:1/0",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "RQ_CONFIG": "no_such_module",
    "RQ_QUEUE_CLASS": "no.such.Queue",
    "RQ_KEY_PREFIX": "{elsewhere}",
}


@dataclass
class KeptDemo:
    """A demo that has run to its end.

    Attributes:
        workers: How many workers there were when its story was told, before Ctrl-C.
    """

    run: Demo
    workers: int = 0


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptDemo]:
    """A small demo, with its summary as JSON, whose server is looked at before Ctrl-C ends it.

    What the environment says about another Redis must not matter to any part of it.
    """
    out = str(tmp_path_factory.mktemp("out"))
    with Demo("--jobs", str(JOBS), "--json", "--keep", "--out", out, **ELSEWHERE) as run:
        found = KeptDemo(run)
        run.wait_for("shedder events --follow")  # the whole story comes first
        if url := re.search(r"export SHEDDER_REDIS_URL=(\S+)", run.stderr):
            with redis.Redis.from_url(url[1], socket_timeout=PATIENCE_SECONDS) as client:
                found.workers = client.scard(f"{ELSEWHERE['RQ_KEY_PREFIX']}:workers")
            run.press_ctrl_c()
        run.wait()
        yield found


@pytest.fixture(scope="module")
def demo(kept: KeptDemo) -> Demo:
    """The program, which has ended."""
    return kept.run


@pytest.fixture(scope="module")
def summary(demo: Demo) -> dict[str, Any]:
    """The one object on its standard output."""
    content: dict[str, Any] = json.loads(demo.stdout)
    return content


def test_ends_well(demo: Demo) -> None:
    """A demo in which every job is accounted for exits with 0, whatever Redis others use."""
    assert 0 == demo.process.returncode, demo.stderr


def test_keep_leaves_the_server_up_until_ctrl_c(kept: KeptDemo) -> None:
    """With --keep the server and its workers can be played with, and Ctrl-C is the good end."""
    assert (4, 0) == (kept.workers, kept.run.process.returncode)


def test_summary_has_its_published_shape(summary: dict[str, Any]) -> None:
    """The summary is what the schema that ships with shedder says."""
    schema = json.loads((files("shedder") / "schemas" / "demo.json").read_text())

    jsonschema.validate(summary, schema)


def test_accounts_for_every_job(summary: dict[str, Any]) -> None:
    """Each id that was sent is in exactly one place, and the numbers add up."""
    accounts = summary["accounts"]
    places = ("run", "running", "claimed", "waiting", "backlog")
    charges = sum(step["sent"] for step in summary["waits"])

    assert JOBS + charges == accounts["sent"] == sum(accounts[place] for place in places)
    assert ([], [], [], []) == tuple(accounts[wrong] for wrong in ("missing", "twice", "run_again", "strangers"))
    assert (0, True, True) == (accounts["failed"], accounts["is_complete"], summary["is_good"])


def test_work_is_shed(summary: dict[str, Any]) -> None:
    """At the end some jobs have run and some are in the backlog: there was something to see."""
    assert summary["accounts"]["run"] > 0
    assert summary["accounts"]["backlog"] > 0


def test_what_failed_comes_back(summary: dict[str, Any]) -> None:
    """The dry run, the canary and the rest speak of the same failed mails, and all of them run in the end."""
    preview, canary, rest = (each["output"] for each in summary["commands"] if " retry " in each["command"])
    failed, ahead = (int(re.match(pattern, said)[1].replace(",", "")) for pattern, said in  # type: ignore[index]
                     ((r"([\d,]+) of ", preview), (r"([\d,]+) of ", canary)))  # fmt: skip

    assert (failed, 0) == (summary["accounts"]["came_back"], summary["accounts"]["failed"])
    assert f"{ahead} of {ahead} done." in canary
    assert rest.startswith(f"{failed - ahead} of {failed - ahead} failed jobs come back")


def test_nothing_starts_while_paused(summary: dict[str, Any]) -> None:
    """No job began after `shedder pause` had returned."""
    assert 0 == summary["started_while_paused"]


def test_uses_the_products_own_commands(summary: dict[str, Any]) -> None:
    """Each step is a command of shedder that succeeded and left a receipt."""
    words = [shlex.split(each["command"])[1:3] for each in summary["commands"]]
    verbs = [f"{verb} {deed}" if verb in ("incident", "policy") else verb for verb, deed, *_ in
             ([*each, ""] for each in words)]  # fmt: skip

    assert [
        "policy apply", "incident open", "incident take", "incident assign", "pause", "divert",
        "divert", "incident update", "resume", "status", "retry", "retry", "retry", "drain", "drain",
        "audit", "incident update", "incident resolve", "events", "incident postmortem",
    ] == verbs  # fmt: skip
    assert all(each["exit_code"] == 0 and each["output"] for each in summary["commands"])


def test_measures_each_step(summary: dict[str, Any]) -> None:
    """Waiting times of every step are measured, and the charges that waited have all started."""
    steps = [each["step"] for each in summary["waits"]]

    assert ["clogged", "paused", "resumed", "diverted", "draining", "draining faster"] == steps
    assert all(each["sent"] == each["started"] and each["p50"]["is_over"] for each in summary["waits"][:4])


def test_tells_the_story_beside_the_summary(demo: Demo) -> None:
    """With --json the narration goes to standard error, each receipt under its command."""
    assert "$ shedder pause mail -r 'database at 99 %'" in demo.stderr
    assert "mail is paused:" in demo.stderr
    unfolded = ("  undo  ", "/")  # commands and paths, to be copied
    lines = [line for line in demo.stderr.splitlines() if not any(each in line for each in unfolded)]
    assert all(len(line) <= 80 for line in lines)


def test_leaves_a_postmortem_with_its_plots(summary: dict[str, Any]) -> None:
    """A folder stays, with the page, the plots, and what was posted to the demo's own channel."""
    folder = Path(summary["postmortem"])
    want = {"postmortem.html", "postmortem.md", "postmortem.json", "depth.png", "oldest.png",
            "rates.png", "failing.png"}  # fmt: skip
    assert want == {each.name for each in folder.iterdir()}
    found = json.loads((folder / "postmortem.json").read_text())
    assert 2 == len(found["updates"])
    told = [each["output"] for each in summary["commands"] if "update" in each["command"]]
    assert all("sent to 1 place" in " ".join(each.split()) for each in told)


def test_leaves_nothing_behind(demo: Demo) -> None:
    """No process and no file but the post-mortem is left of a demo that has ended."""
    demo.assert_nothing_is_left()


@pytest.mark.long
def test_two_hundred_thousand_jobs_are_accounted_for(tmp_path: Path) -> None:
    """The demo as people run it: nothing is lost, nothing starts while paused, nothing is left behind."""
    with Demo("--json", "--out", str(tmp_path)) as demo:
        assert 0 == demo.wait(), demo.stderr
        found = json.loads(demo.stdout)
        assert (True, 0) == (found["is_good"], found["started_while_paused"])
        assert found["accounts"]["sent"] > 200_000
        demo.assert_nothing_is_left()
