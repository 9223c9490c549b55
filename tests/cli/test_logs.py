"""Other tools can read the log records, and they are few."""

from __future__ import annotations

import json
import logging

import pytest

from shedder import Shedder
from shedder.cli.logs import send_logs_to_stderr
from shedder.log_context import ids_of
from shedder.rq import Queue
from tests.cli import jobs


def records(done):
    return [json.loads(line) for line in done.err.splitlines()]


@pytest.mark.parametrize("kind", ["fork", "simple"])
def test_each_record_is_one_object_with_the_ids_of_the_job(kind, program, redis, mail):
    """Those of RQ, which names no queue and job of its own accord, and those of ours."""
    job = mail.low.enqueue(jobs.send_newsletter, 99)
    done = program("worker", "mail", "--burst", "--class", kind, "--logs", "json")
    found = records(done)
    assert {"info"} == {record["level"] for record in found}
    of_job = [record for record in found if record.get("job") == job.id]
    assert {("mail", "mail.low", "rq.worker")} == {
        (record["queue"], record["lane"], record["logger"]) for record in of_job
    }
    assert 3 <= len(of_job)
    assert all(record["timestamp"].endswith("Z") and record["message"] for record in found)
    # what is said between two jobs and after the last names none
    assert "job" not in found[0]
    assert "job" not in found[-1]


def test_a_traceback_stays_in_its_record(program, redis):
    """A job that fails is one line all the same."""
    Queue("mail", connection=redis).enqueue("tests.cli.jobs.nowhere")
    words = ("worker", "mail", "--burst", "--class", "simple")
    done = program(*words, env={"SHEDDER_LOGS": "json"})
    (failed,) = [record for record in records(done) if record["level"] == "error"]
    assert "Traceback" in failed.get("exception", failed["message"]), failed


def test_we_write_no_line_for_each_job(program, redis, mail):
    """At level info all records of single jobs are RQ's own."""
    Shedder(redis, by="tester").divert("mail.low", reason="r")
    done = program("worker", "mail", "--burst", "--class", "simple", "--logs", "json")
    assert [] == [each for each in records(done) if each["logger"].startswith("shedder")]


def test_text_is_as_it_was(program, mail):
    """Without the option a person reads lines, and no ids are added to them."""
    done = program("worker", "mail", "--burst", "--class", "simple", "--max-jobs", "1")
    assert "lane=" not in done.err
    assert [] == [line for line in done.err.splitlines() if "[rq.worker]" not in line]
    assert "Job OK" in done.err


def test_what_ends_a_command_is_an_object_too(program, redis):
    """A format that is none is refused; records of an operator's commands follow the option."""
    assert 2 == program("status", "--logs", "xml").code
    assert "" == program("status", "--logs", "json").err


def test_the_event_of_a_change_is_named(redis, mail, capsys):
    """What workers finish of themselves names the lane and the event; the text stays the text."""
    loggers = [logging.getLogger(name) for name in ("shedder", "rq")]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    send_logs_to_stderr(level=logging.INFO, log_format="json")
    try:
        ids = ids_of(lane="mail.low", event="1764000000000-0")
        logging.getLogger("shedder.upkeep").info("the backlog of %s is back", "mail", extra=ids)
    finally:
        for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
            each.handlers[:], each.level, each.propagate = handlers, level, propagate
    found = json.loads(capsys.readouterr().err)
    assert ("mail", "mail.low", "1764000000000-0", "the backlog of mail is back") == (
        found["queue"],
        found["lane"],
        found["event_id"],
        found["message"],
    )
