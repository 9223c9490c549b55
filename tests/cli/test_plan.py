"""`shedder plan` tells what a person can act on, and nothing that it does not know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import all_keys, fill, start_worker
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.rq import Queue


@pytest.fixture
def clogged(mail: Queue) -> Queue:
    """Sixty jobs, two thirds of them of low priority, and nobody who does them."""
    fill(mail, receipts=17, newsletters=35)
    return mail


def test_before_anything_was_measured_no_time_is_told(invoke: Any, redis: Redis, clogged: Queue) -> None:
    """Nobody may take a guess for a plan: it says what is not known, and why."""
    before = all_keys(redis)
    done = invoke("plan")
    assert (0, "") == (done.code, done.err)
    assert done.lines[0] == ("60 jobs wait; 0 workers, how fast is not known: no job has ended in the last hour.")
    assert "2 more workers not known not known 0" in [" ".join(each.split()) for each in done.lines]
    assert "never" not in done.out
    assert before == all_keys(redis)


def test_a_server_without_jobs_has_nothing_to_plan(invoke: Any, redis: Redis) -> None:
    """It is over now, whoever works how fast."""
    done = invoke("plan")
    assert (0, True) == (done.code, done.lines[0].startswith("0 jobs wait"))
    assert [0.0, 0.0] == [each["gone_in"] for each in invoke("plan", "--json").json["forecasts"]]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nosuch",), 3, "there is no queue nosuch; known: mail"),
        (("mail", "nosuch.low"), 3, "there is no queue nosuch.low; known: mail"),
        (("--pause", "nosuch"), 3, "there is no lane in the plan that `pause nosuch` would change; known: mail"),
        (("--divert", "mail.high"), 3, "divert mail.high"),
        (("--limit", "nosuch=5/second"), 3, "limit nosuch"),
        (("--limit", "mail"), 2, "LANE=RATE: mail=50/second"),
        (("--limit", "mail=fast"), 2, "such as 200/second"),
        (("--pause", ""), 2, "a queue name such as mail"),
        (("--more", "0"), 2, "--more"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    invoke: Any, clogged: Queue, words: tuple[str, ...], code: int, said: str
) -> None:
    """An unknown queue is no queue that is empty: its end is not now."""
    done = invoke("plan", *words)
    assert (code, "", 1) == (done.code, done.out, len(done.err.splitlines()))
    assert said in done.err


def test_each_thing_that_could_be_done_has_its_line(invoke: Any, clogged: Queue) -> None:
    """What was asked for stands between doing nothing and more workers, with what it leaves."""
    done = invoke("plan", "mail", "--divert", "mail.low", "--limit", "mail=5/second", "--more", "4")
    assert 0 == done.code
    found = [(line.split("  ")[0], line.split()[-1]) for line in done.lines[4:8]]
    assert [
        ("do nothing", "0"), ("divert mail.low", "40"), ("limit mail to 5/second", "0"),
        ("4 more workers", "0"),
    ] == found  # fmt: skip


def test_the_arithmetic_is_told_and_is_that_of_json(invoke: Any, clogged: Queue) -> None:
    """With --explain each option has its phases; --json has the same numbers."""
    invoke("pause", "mail.low", "-r", "half")
    found = invoke("plan", "mail", "--json").json
    lanes = {each["lane"]: (each["depth"], each["is_closed"]) for each in found["lanes"]}
    assert ((20.0, False), (40.0, True)) == (lanes["mail"], lanes["mail.low"])
    assert [40.0] * len(found["forecasts"]) == [each["left"] for each in found["forecasts"]]
    told = invoke("plan", "mail", "--explain").lines
    assert "mail: 20 wait, 0.0/s start; mail.low: 40 wait, 0.0/s start" in " ".join(" ".join(told).split())
    phases = sum(len(each["phases"]) for each in found["forecasts"])
    assert phases == sum("from now for" in line for line in told)


def test_with_a_worker_the_pace_is_measured(invoke: Any, background: Any, redis: Redis, mail: Queue) -> None:
    """What a real worker does is what the times are told from; paused, what it did before."""
    fill(mail, receipts=4000)
    start_worker(background, redis, "mail")
    found: dict[str, Any] = {}

    def is_known() -> bool:
        found.update(invoke("plan", "mail", "--pause", "mail.low", "--json").json)
        return bool(found["is_pace_now"])

    wait_until(is_known, what="a pace, of two samples at least")
    lane = {each["lane"]: each for each in found["lanes"]}["mail"]
    assert (1, True, True) == (found["workers"], found["pace"] > 0, lane["depth"] > 0)
    assert (True, False) == (lane["is_urgent"], lane["is_closed"])
    nothing, paused, more = found["forecasts"]
    net = found["pace"] - lane["arrivals"]
    if net > 0:
        assert paused["gone_in"] == pytest.approx(lane["depth"] / net, rel=0.01)
        assert 5 == paused["left"]
        assert more["gone_in"] < nothing["gone_in"]
    told = r"[\d,]+ jobs wait; 1 worker: [\d.,]+ a second \(now\)\."
    assert re.fullmatch(told, invoke("plan", "mail").lines[0])
    assert 0 == invoke("pause", "mail", "-r", "r").code
    before = invoke("plan", "--json").json
    assert (False, True) == (before["is_pace_now"], before["pace"] > 0)
    assert invoke("plan").lines[0].endswith("a second (at best in the last hour).")
    assert "not known" not in invoke("plan").out


def rows(done: Any) -> dict[str, list[str]]:
    """By option what its row says, told apart by two spaces."""
    cells = [re.split(r"  +", line.strip()) for line in done.lines if re.search(r"  +[\d,]+$", line)]
    return {each[0]: each[1:] for each in cells}


def test_what_is_paused_or_put_aside_stays_so(invoke: Any, clogged: Queue) -> None:
    """Nothing of it is over now, and what is in a backlog is told as left."""
    invoke("pause", "mail.normal", "-r", "r")
    invoke("divert", "mail.low", "-r", "r")
    assert ["stays so", "stays so", "60"] == rows(invoke("plan"))["do nothing"]
    (found,) = {each["gone_never"] for each in invoke("plan", "--json").json["forecasts"]}
    assert "held" == found


def test_work_that_fails_is_not_done(invoke: Any, background: Any, redis: Redis, mail: Queue) -> None:
    """With a real worker: no time is told for what fails, and the pause of it is among the options."""
    from shedder.rq import Queue
    from tests.cli.jobs import lose_database

    fill(mail, newsletters=2000)
    charges = Queue("charges", connection=redis)
    charges.enqueue_many([Queue.prepare_data(lose_database, (each,)) for each in range(4000)])
    start_worker(background, redis, "charges", "mail")
    wait_until(lambda: invoke("plan", "--json").json["failing"], what="failures that are counted")
    wait_until(lambda: invoke("plan", "--json").json["is_pace_now"], what="a pace")
    done = invoke("plan")
    assert re.fullmatch(r"! [\d.]+/s of charges fail: .* jobs in 5m, most often ConnectionError\.", done.lines[1])
    found = rows(done)
    assert ["not while it fails", "0"] == found["do nothing"][1:]
    assert ["not while it fails", "0"] == found["2 more workers"][1:]
    paused = found["pause charges"]
    assert int(paused[2].replace(",", "")) > 1000
    assert re.fullmatch(r"(\d+h )?(\d+m ?)?(\d+s)?|now", paused[1])


def test_what_fills_the_lane_is_among_the_options(
    invoke: Any, background: Any, redis: Redis, mail: Queue, tmp_path: Path
) -> None:
    """Receipts behind newsletters in one lane: to put these aside brings those home, and it is told how many stay."""
    from tests.cli.jobs import send_newsletter

    file = tmp_path / "shedder.toml"
    file.write_text(
        "version = 1\n"
        '[[rules]]\nfunction = "*.send_receipt"\nlabel = "receipts"\ntolerance = "5m"\n'
        '[[rules]]\nfunction = "*.send_newsletter"\nlabel = "newsletters"\ntolerance = "2h"\n'
    )
    for first in range(0, 6000, 500):
        mail.enqueue_many([mail.prepare_data(send_newsletter, (each,)) for each in range(first, first + 500)])
    fill(mail, receipts=100)
    start_worker(background, redis, "mail")
    words = ("plan", "--policy", str(file))
    wait_until(lambda: invoke(*words, "--json").json["is_pace_now"], what="a pace")
    found = invoke(*words, "--json").json
    option = "divert send_newsletter of mail"
    told = {each["option"]: each for each in found["forecasts"]}
    depth = sum(each["depth"] for each in found["lanes"])
    assert depth * 0.9 < told[option]["left"] <= depth
    assert (told[option]["gone_in"] or 0) < told["do nothing"]["gone_in"]
    shown = invoke(*words)
    assert option in rows(shown)
    assert "shedder divert mail --function tests.cli.jobs.send_newsletter --dry-run" in shown.out
    preview = invoke(*told[option]["command"], "--dry-run", "--json").json
    assert preview["functions"][0][0].endswith("send_newsletter")
