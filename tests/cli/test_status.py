"""What `status` shows."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from shedder.rq import Queue, SimpleWorker, Worker
from tests.cli import jobs
from tests.cli.conftest import fill
from tests.cli.programs import Terminal, environment
from tests.servers import patient
from tests.workers import run_burst


def test_each_lane_has_a_line(invoke, mail):
    """Lanes with jobs are listed with their numbers; empty ones are only counted."""
    done = invoke("status")
    assert 0 == done.code
    lines = [line.split() for line in done.lines]
    assert ["lane", "waiting", "backlog", "running", "oldest", "in/s", "out/s", "control"] == lines[1]
    assert ["mail", "3", "0", "0"] == lines[2][:4]
    assert ["mail.low", "5", "0", "0"] == lines[3][:4]
    assert not re.search(r"mail\.(high|critical)", done.out)


def test_controls_tell_who_and_why(invoke, mail):
    """Each control has a line: where, since when, by whom, until when, why."""
    invoke("pause", "mail", "-r", "database at 99 %", "--by", "oncall@ops", "--for", "30m")
    invoke("divert", "mail.low", "-r", "only receipts", "--by", "second@ops")
    invoke("drain", "mail.low", "--rate", "2/second", "-r", "slowly", "--by", "eva@ops")
    out = invoke("status").out
    assert re.search(r"mail paused since .* by oncall@ops, until .*: database at 99 %", out)
    assert re.search(r"mail.low diverted since .* by second@ops: only receipts \[every job; 5 jobs", out)
    assert re.search(r"drains at 2/second since .* by eva@ops: slowly \[0 released\]", out)
    assert re.search(r"mail.low +0 +5 .*paused, diverted, draining 2/s", out)


def test_what_fails_has_a_column_and_a_line(invoke, redis, mail):
    """Out is what ended well; a few failures have a line without an alarm, many have one with it."""
    assert "fail/s" not in invoke("status").out
    for _ in range(10):
        Queue("cards", connection=redis).enqueue(jobs.charge_card)
    run_burst(SimpleWorker(["cards"], connection=redis))
    done = invoke("status", "cards")
    headings = ["lane", "waiting", "backlog", "running", "oldest", "in/s", "out/s", "fail/s", "control"]
    assert headings == done.lines[1].split()
    assert ["cards", "0", "0", "0", "-", "1.0"] == [*done.lines[2].split()[:5], done.lines[2].split()[7]]
    said = "10 of 10 jobs in 5m and 10 in an hour failed, most often ConnectionError; RQ keeps 10 failed jobs"
    assert f"cards: {said}" in done.lines
    for _ in range(10):
        Queue("cards", connection=redis).enqueue(jobs.charge_card)
    run_burst(SimpleWorker(["cards"], connection=redis))
    done = invoke("status")
    assert re.search(r"^! 2/s of cards fail: 20 of 20 jobs in 5m, most often Conn", done.out, re.MULTILINE)
    assert "cards: 20" not in done.out


def test_stock_workers_have_a_source(invoke, redis):
    """Whoever reads the numbers knows that RQ's registries tell them."""
    import rq

    Queue("cards", connection=redis).enqueue(jobs.charge_card)
    run_burst(rq.SimpleWorker(["cards"], connection=redis))
    said = "1 of 1 job in 5m and 1 in an hour failed by RQ's registries (stock workers count no end), most often "
    assert f"cards: {said}ConnectionError; RQ keeps 1 failed job" in invoke("status").lines


def test_named_queues_only(invoke, redis, mail):
    """With names only these are shown; one that nobody knows is mentioned."""
    Queue("reports", connection=redis).enqueue(jobs.send_receipt)
    done = invoke("status", "reports", "mial")
    assert 0 == done.code
    assert not re.search(r"^mail", done.out, re.MULTILINE)
    assert "no queue is called mial (did you mean mail?)" in done.err


def test_warnings_stand_below(invoke, mail):
    """What a person should know is told in sentences, each once."""
    out = invoke("status").out
    assert 1 == len(re.findall(r"^! mail has 3 jobs and no worker", out, re.MULTILINE))


def test_an_empty_redis_says_so_and_where_it_is(invoke, server):
    """Nothing at all may mean the wrong server, so its address is shown."""
    done = invoke("status")
    assert 0 == done.code
    assert f"Redis at {server.socket_path}" in done.lines[0]
    assert "No job waits or runs, and nothing is paused or diverted." in done.lines[1]


def test_the_state_as_json_names_every_lane(invoke, mail):
    """Programs get everything, empty lanes included where they are named."""
    lanes = {each["lane"]: each["waiting"] for each in invoke("status", "mail", "--json").json["lanes"]}
    assert {"mail.critical": 0, "mail.high": 0, "mail": 3, "mail.low": 5} == lanes


def test_watching_survives_a_restart_of_redis(server_factory):
    """While Redis is away the screen says so; when it is back the numbers are."""
    own = server_factory(appendonly=True)
    client = own.client()
    fill(Queue("mail", connection=client), receipts=3)
    client.close()
    env = environment(SHEDDER_REDIS_URL=patient(own.url))
    with Terminal("status", "--watch", "100ms", env=env) as terminal:
        terminal.wait_for("Redis at ", "mail")
        own.kill()
        terminal.wait_for("cannot be reached, trying again")
        seen = len(terminal.text)
        own.start()
        terminal.wait_for("waiting", after=seen)
        terminal.interrupt()
        assert 130 == terminal.end()
        assert "nothing was changed by looking" in terminal.text


@pytest.mark.parametrize("words", [(), ("mail",)])
def test_watching_a_server_that_was_never_there_ends(invoke, words):
    """Who mistyped the address learns it at once."""
    done = invoke("status", *words, "--watch", "-u", "redis://127.0.0.1:1")
    assert (4, 1) == (done.code, len(done.err.splitlines()))


def test_watching_as_json_is_an_object_a_line(env, mail):
    """A program that watches reads one object after another."""
    import json
    import subprocess
    import sys

    from tests.cli.programs import valid

    words = [sys.executable, "-m", "shedder", "status", "--watch", "100ms", "--json"]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watch:
        lines = [valid(json.loads(watch.stdout.readline())) for _ in range(2)]
        watch.kill()
        watch.stdout.read()
        watch.stderr.read()
    first, second = (datetime.fromisoformat(line["at"]) for line in lines)
    assert first < second


def test_fifty_queues_fit_a_terminal(invoke, redis):
    """Trouble comes first with its lanes, a quiet queue is a line, the rest a count; `--all-lanes` shows each lane."""
    names = [f"queue-{number:02}" for number in range(50)]
    for name in names:
        redis.sadd("rq:queues", f"rq:queue:{name}")
    for name in names[10:30]:
        fill(Queue(name, connection=redis), receipts=1, newsletters=2)
    worker = Worker([Queue(name, connection=redis) for name in names], connection=redis)
    worker.register_birth()
    for name in names[40:45]:
        invoke("pause", name, "-r", f"why {name}")
    done = invoke("status")
    assert len(done.lines) <= 24
    assert max(map(len, done.lines)) <= 80
    told = [line.split()[0] for line in done.lines[2:11]]
    assert names[40:45] == told[:5]
    assert set(told[5:]) <= set(names[10:30])
    assert ["queue-10", "3", "0", "0"] == done.lines[7].split()[:4]
    assert "and 16 more queues with 48 jobs and 25 idle queues (--all-lanes shows them)" in done.lines
    whole = invoke("status", "--all-lanes").out
    worker.register_death()
    assert all(re.search(rf"^{name}(\.\w+)? ", whole, re.MULTILINE) for name in names)
