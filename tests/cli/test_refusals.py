"""Bad input is refused with one line, before anything is touched."""

from __future__ import annotations

import pytest

from tests.cli.conftest import all_keys
from tests.cli.programs import environment, run_program
from tests.servers import patient

WHY = ["-r", "why"]

BAD = {
    "no queue": (["pause", *WHY], "there is mail"),
    "queue and all": (["pause", "mail", "--all", *WHY], "exclude each other"),
    "no reason": (["pause", "mail"], 'say why: -r "database at 99 %"'),
    "empty reason": (["pause", "mail", "-r", "  "], "a text that is not empty"),
    "empty queue": (["pause", "", *WHY], "a queue name such as mail"),
    "control character": (["pause", "ma\x1b[2Jil", *WHY], r"'ma\x1b[2Jil' is refused"),
    "duration without a unit": (["pause", "mail", "--for", "30", *WHY], "30s, 30m or 30h"),
    "no duration": (["pause", "mail", "--for", "soon", *WHY], "'soon' is not accepted"),
    "bad wait": (["pause", "mail", "--wait", "5x", *WHY], "'5x' is not accepted"),
    "bad priority": (["divert", "mail", "--priority", "urgent", *WHY], "critical, high, normal"),
    "bad glob": (["divert", "mail", "--function", "[a", *WHY], "brackets in pairs"),
    "bad meta": (["divert", "mail", "--meta", "tenant", *WHY], "field=value"),
    "bad age": (["divert", "mail", "--older-than", "1", *WHY], "1s, 1m or 1h"),
    "bad rate": (["drain", "mail", "--rate", "fast", *WHY], "200/second"),
    "rate of zero": (["drain", "mail", "--rate", "0/s", *WHY], "`shedder pause`"),
    "no way to drain": (["drain", "mail", *WHY], "one of --rate 200/second"),
    "two ways to drain": (["drain", "mail", "--rate", "1/s", "--stop", *WHY], "one of --rate"),
    "stay without rate": (["drain", "mail", "--at-once", "--stay", *WHY], "--stay goes with"),
    "detach and wait": (["drain", "mail", "--rate", "1/s", "--detach", "--wait", *WHY], "exclude"),
    "bad event": (["undo", "yesterday", *WHY], "the journal has no event yesterday"),
    "no event": (["undo", "", *WHY], "the journal has no event without an id"),
    "no such event": (["undo", "1-1", *WHY], "use an id that it lists: shedder events"),
    "bad position": (["events", "--after", "now"], "the journal has no event now"),
    "bad number": (["events", "-n", "0"], "0 is not in the range"),
    "bad watch": (["status", "--watch", "0s"], "'0s' is not accepted"),
    "bad url": (["pause", "mail", "-u", "localhost", *WHY], "redis://host:6379/0"),
    "bad shell": (["completion", "tcsh"], "'tcsh' is not one of"),
    "unknown option": (["pause", "mail", "--now", *WHY], "See shedder pause --help"),
    "unknown verb": (["stop"], "No such command 'stop'"),
    "too few jobs for a demo": (["demo", "--jobs", "0"], "0 is not in the range"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_and_touches_nothing(words, said, invoke, redis, mail):
    """Exit 2, one line with the value and what is accepted, and every key is as it was."""
    before = all_keys(redis)
    done = invoke(*words)
    assert 2 == done.code
    assert "" == done.out
    assert [done.err] == done.err.splitlines(keepends=True)
    assert done.err.startswith("shedder: ")
    assert said in done.err
    assert before == all_keys(redis)


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_refusals_are_told_as_json(words, said, invoke, mail):
    """With --json the same sentence is in an object on standard output."""
    done = invoke(*words, "--json")
    assert 2 == done.json["exit_code"] == done.code
    assert "shedder.error/1" == done.json["schema"]
    assert f"shedder: {done.json['error']}\n" == done.err


def test_bytes_that_are_no_text_are_refused(program, redis, mail):
    """A command line that is no UTF-8 cannot be stored, and is refused."""
    before = all_keys(redis)
    for words in ([b"pause", b"ma\xffil", b"-r", b"why"], [b"pause", b"mail", b"-r", b"\xff"]):
        done = program(*words)
        assert 2 == done.code
        assert "use text in UTF-8" in done.err
    assert before == all_keys(redis)


def test_no_queue_and_no_redis_is_still_a_matter_of_usage(invoke):
    """Who names no queue learns how, though the queues cannot be listed."""
    done = invoke("pause", "-r", "why", "-u", "redis://127.0.0.1:1")
    assert 2 == done.code
    assert "which queues there are is not known: Redis at 127.0.0.1:1 cannot be reached" in done.err


def test_all_queues_of_an_empty_redis_is_nothing(invoke):
    """Nothing matched: exit 3, and a hint at the two usual causes."""
    done = invoke("pause", "--all", "-r", "why")
    assert 3 == done.code
    assert "is this the right Redis? see -u and RQ_KEY_PREFIX" in done.err


def test_what_nobody_expected_is_one_line(invoke, monkeypatch):
    """An error of ours is a line with its kind; --debug shows where it came from."""
    from shedder import Shedder

    def fail(*_):
        raise ZeroDivisionError("a\nb\x1b[2J")

    monkeypatch.setattr(Shedder, "status", fail)
    done = invoke("status")
    assert 1 == done.code
    assert ("shedder: ZeroDivisionError: a b\\x1b[2J (unexpected; the option --debug shows where)\n") == done.err
    debugged = invoke("status", "--debug")
    assert "Traceback" in debugged.err
    assert 1 == debugged.code


def test_a_lost_connection_in_a_change_is_no_certainty(invoke, monkeypatch, mail):
    """When the answer is lost it is not known whether the pause stands, and the line says that."""
    from shedder import Shedder
    from shedder.errors import RedisUnreachable

    def fail(*_, **__):
        raise RedisUnreachable("elsewhere")

    monkeypatch.setattr(Shedder, "pause", fail)
    done = invoke("pause", "mail", "-r", "why")
    assert 4 == done.code
    assert "; it is not known whether mail is paused; check with: shedder status mail" in done.err


def test_who_stops_reading_gets_no_traceback(server, redis, mail):
    """A pipe that is closed early is quiet."""
    import subprocess
    import sys

    env = environment(SHEDDER_REDIS_URL=patient(server.url))
    run_program("pause", "mail", "-r", "why", env=env)
    shedder = subprocess.Popen([sys.executable, "-m", "shedder", "events"], env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    shedder.stdout.close()
    assert b"" == shedder.stderr.read()
    shedder.stderr.close()
    shedder.wait()
