"""Is a declared mitigation run as it was declared, ended in time, and written down?"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.errors import InvalidInput, NothingMatched
from shedder.facade import Shedder
from shedder.incident.begun import (
    UNSEEN,
    begin_mitigation,
    end_silent,
    unended,
    with_end_unknown,
    without_outdated,
)
from shedder.journal import event_head
from shedder.masking import mask_for
from shedder.mitigation import KEPT_BYTES, Interrupted, Ran, carry_out, filled, find_mitigation
from shedder.policy import Mitigation
from shedder.rq.measuring import measure_open_incidents
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

ROLLBACK = Mitigation("rollback", ("./deploy", "rollback", "{release}"), kind="rollback")
LONG = timedelta(minutes=1)


def python(code: str, *args: str) -> tuple[str, ...]:
    return sys.executable, "-c", code, *args


def run(code: str, *args: str, timeout: timedelta = LONG) -> tuple[Ran, list[str]]:
    said: list[str] = []
    ran = carry_out(python(code, *args), timeout=timeout, say=said.append, mask=mask_for({}))
    return ran, said


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b"Z" != state_of(pid)


def state_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - it is no file of ours
            return file.read().rpartition(b") ")[2][:1]
    except OSError:
        return b"Z"


def test_values_become_arguments_and_nothing_else() -> None:
    """What looks like a shell's language stays one argument."""
    words = filled(ROLLBACK, {"release": "41; rm -rf $HOME `x` | y"})
    assert ("./deploy", "rollback", "41; rm -rf $HOME `x` | y") == words


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "also --release"),
        ({"release": "41", "speed": "9"}, "--speed.*use --release"),
        ({"release": ""}, "--release"),
        ({"release": "--force"}, "does not begin with '-'"),
        ({"release": "4\n1"}, "--release"),
        ({"release": "x" * 501}, "at most 500"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, str], says: str) -> None:
    """A value is missing, unknown, empty, or would be an option of the program."""
    with pytest.raises(InvalidInput, match=says):
        filled(ROLLBACK, values)


def test_what_is_not_declared_is_told_with_the_nearest() -> None:
    """A slip of the finger costs one line."""
    with pytest.raises(NothingMatched, match="found rollback"):
        find_mitigation({"rollback": ROLLBACK, "scale": ROLLBACK}, "rolback")


def test_output_is_told_as_it_comes_and_the_exit_code_is_kept() -> None:
    """Both streams, in lines; the last one may have no end."""
    ran, said = run(
        "import sys; print('one'); sys.stdout.flush(); sys.stderr.write('two'); sys.exit(3)"
    )
    assert (["one", "two"], "failed", 3, "one\ntwo") == (
        said,
        ran.outcome,
        ran.exit_code,
        ran.output,
    )
    ran, _ = run("pass")
    assert ("done", 0, "") == (ran.outcome, ran.exit_code, ran.output)


def test_the_end_of_much_output_is_kept() -> None:
    """However much it prints, what is kept is bounded, and what is not is counted."""
    ran, said = run("for n in range(20000): print('x' * 50, n)\nprint('y' * 20000)")
    assert len(ran.output) <= KEPT_BYTES
    assert ran.output.endswith("y" * 100)
    assert ran.cut + len(ran.output) + 1 == sum(len(each) + 1 for each in said)


def test_a_program_that_cannot_be_started_is_told() -> None:
    """No traceback, and nothing was run."""
    ran = carry_out(("/nowhere/deploy",), timeout=LONG, say=print, mask=mask_for({}))
    assert ("not started", None) == (ran.outcome, ran.exit_code)
    assert "No such file" in ran.output


FAMILY = """
import os, subprocess, sys, time, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN) if sys.argv[2:] else None
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


@pytest.mark.parametrize("stubborn", [(), ("stubborn",)])
def test_at_its_time_limit_all_of_its_processes_end(
    tmp_path: Path, stubborn: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its children too, and those that do not listen."""
    monkeypatch.setattr("shedder.mitigation.GRACE_SECONDS", 0.5)
    file = tmp_path / "pids"
    ran, _ = run(FAMILY, str(file), *stubborn, timeout=timedelta(seconds=3))
    assert "timed out" == ran.outcome
    for pid in map(int, file.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid), what="its end")


def test_a_child_that_holds_the_output_open_holds_up_nobody() -> None:
    """What the program itself did is over when it has ended."""
    child = "[sys.executable, '-c', 'import time; time.sleep(30)']"
    code = f"import subprocess, sys; print(subprocess.Popen({child}).pid)"
    ran, (pid,) = run(code)
    assert ("done", True) == (ran.outcome, is_alive(int(pid)))
    os.kill(int(pid), signal.SIGKILL)


def test_ctrl_c_ends_it_and_says_how(tmp_path: Path) -> None:
    """Whoever interrupts leaves no process behind."""
    file = tmp_path / "pids"

    def interrupt() -> None:
        wait_until(file.exists, what="a start")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted) as caught:
        run(FAMILY, str(file))
    thread.join()
    assert ("interrupted", -signal.SIGTERM) == (
        caught.value.ran.outcome,
        caught.value.ran.exit_code,
    )
    for pid in map(int, file.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid), what="its end")


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError, SystemExit])
def test_nobody_who_listens_is_no_reason_to_end(error: type[BaseException]) -> None:
    """A pipe that was closed must not leave half a roll-back: it goes on, and all is kept."""

    def say(_line: str) -> None:
        raise error

    ran = carry_out(python("print(1); print(2)"), timeout=LONG, say=say, mask=mask_for({}))
    assert ("done", "1\n2") == (ran.outcome, ran.output)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter22@db:6379/0", "redis://***@db:6379/0"),
        ("password=hunter22 next", "password=*** next"),
        ('{"api_key": "abc123xyz"}', '{"api_key": ***}'),
        ("DB_PASSWORD: hunter22", "DB_PASSWORD: ***"),
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer ***"),
        ("the value is s3cret-of-env here", "the value is *** here"),
        ("release 41 is live", "release 41 is live"),
        ("token expired", "token expired"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    """By their look, and by what the environment calls a secret."""
    assert shown == mask_for({"DEPLOY_TOKEN": "s3cret-of-env", "HOME": "release"})(text)


def test_the_journal_says_that_it_began_and_how_it_ended(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the incident, with the role; secrets are nowhere in Redis."""
    monkeypatch.setenv("DEPLOY_TOKEN", "s3cret-of-env")
    shedder = Shedder(redis, by="bob@desk")
    incident = shedder.incidents.open("late", severity=2).incident.id
    shedder.incidents.roles.take("operations")
    code = "import os, sys; print('with', os.environ['DEPLOY_TOKEN']); sys.exit(int(sys.argv[1]))"
    receipt = shedder.mitigate(ROLLBACK, python(code, "4"), reason="errors since 42")
    assert ("failed", 4, "with ***") == (receipt.outcome, receipt.exit_code, receipt.output)
    began, ended = shedder.events()[-2:]
    assert ("mitigate started", "mitigate") == (began.verb, ended.verb)
    assert receipt.event == ended.id
    for event in (began, ended):
        assert (incident, "operations", "errors since 42") == (
            event.incident,
            event.role,
            event.why,
        )
        assert "rollback" == event.details["mitigation"] == event.details["kind"]
    assert ("failed", 4) == (ended.details["outcome"], ended.details["exit_code"])
    assert 0 <= ended.details["seconds"]
    for key in redis.keys("*"):
        assert b"s3cret" not in (redis.dump(key) or b"")


def test_an_interrupted_mitigation_is_in_the_journal(redis: Redis) -> None:
    """Ctrl-C does not lose how it ended."""
    shedder = Shedder(redis, by="bob@desk")

    def carry(*_: Any, **__: Any) -> Ran:
        raise Interrupted(Ran("interrupted", -15, 2.0, "half"))

    from shedder.mitigating import mitigate

    with pytest.raises(KeyboardInterrupt):
        mitigate(shedder.store, shedder.keys, ROLLBACK, ("x",), shedder._cause("r", None),
                 say=print, carry=carry)  # fmt: skip
    assert "interrupted" == shedder.events()[-1].details["outcome"]


def test_it_works_when_redis_is_full(server_factory: Any) -> None:
    """A roll-back may be what helps against that."""
    with server_factory().client() as client:
        shedder = Shedder(client, by="bob@desk")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        assert "done" == shedder.mitigate(ROLLBACK, python("pass"), reason="r").outcome
        assert 2 == len(shedder.events())


def test_nothing_is_run_when_it_cannot_be_written_down(server_factory: Any, tmp_path: Path) -> None:
    """Without Redis there is no record, and so no deed."""
    from shedder.errors import RedisUnreachable

    server = server_factory()
    file = tmp_path / "ran"
    with server.client(retry=None) as client:
        shedder = Shedder(client, by="bob@desk")
        cause = shedder._cause("r", None)
        server.kill()
        from shedder.mitigating import mitigate

        command = python("open(__import__('sys').argv[1], 'w')", str(file))
        with pytest.raises(RedisUnreachable):
            mitigate(shedder.store, shedder.keys, ROLLBACK, command, cause, say=print)
    assert not file.exists()


def test_a_process_that_lives_is_never_thought_gone(redis: Redis) -> None:
    """While it runs somebody looks, and nothing is written; its signs of life go on."""
    shedder = Shedder(redis, by="bob@desk")
    signs: set[bytes] = set()

    def carry(*_: Any, started: Any, **__: Any) -> Ran:
        started(4711)
        while not any(b'"group": 4711' in each for each in signs):
            wait_until(lambda: not signs.issuperset(_signs(shedder)), what="a sign of life")
            signs.update(_signs(shedder))
            assert () == end_silent(shedder.store, shedder.keys)
        return Ran("done", 0, 1.0)

    _mitigate(shedder, carry)
    assert ["mitigate started", "mitigate"] == [each.verb for each in shedder.events()]
    assert not redis.exists(shedder.keys.mitigations)


def test_a_process_that_thaws_tells_the_end_after_all(redis: Redis) -> None:
    """Somebody thought it gone; what it says then is what triage and the post-mortem tell."""
    shedder = Shedder(redis, by="bob@desk")

    def is_thought_gone() -> bool:
        for event in redis.hkeys(shedder.keys.mitigations):
            head = {"v": 1, "verb": "mitigate", "by": "bob@desk", "why": "r", "lanes": []}
            unseen = json.dumps({**head, "outcome": UNSEEN, "began": event.decode()})
            redis.hset(shedder.keys.mitigations, event, f"1 {unseen}")
        return bool(end_silent(shedder.store, shedder.keys))  # unless it said that it lives

    def carry(*_: Any, **__: Any) -> Ran:
        wait_until(is_thought_gone, what="an unseen end")
        return Ran("done", 0, 1.0)

    _mitigate(shedder, carry)
    events = shedder.events()
    assert [None, UNSEEN, "done"] == [each.details.get("outcome") for each in events]
    assert [None, "done"] == [each.details.get("outcome") for each in without_outdated(events)]
    assert () == unended(events) == with_end_unknown(events)


def test_workers_end_what_is_silent(redis: Redis) -> None:
    """Their upkeep looks, with an incident and without."""
    shedder = Shedder(redis, by="bob@desk")
    head = event_head("mitigate started", shedder._cause("r", None), (), mitigation="x")
    event = shedder.store.run(begin_mitigation(shedder.keys, head, head)).event
    redis.hset(shedder.keys.mitigations, event, f"1 {head}")
    measure_open_incidents(shedder.store, shedder.keys)
    assert 2 == len(shedder.events())


def test_a_record_that_nobody_can_read_is_looked_at_once(redis: Redis) -> None:
    """Damaged by hand, it is removed; its beginning stays without an end."""
    shedder = Shedder(redis, by="bob@desk")
    redis.hset(shedder.keys.mitigations, "1-1", "nonsense")
    assert () == end_silent(shedder.store, shedder.keys)
    assert not redis.exists(shedder.keys.mitigations)


def _signs(shedder: Shedder) -> list[bytes]:
    return list(shedder.store.connection.hvals(shedder.keys.mitigations))


def _mitigate(shedder: Shedder, carry: Any) -> None:
    from shedder.mitigating import mitigate

    mitigate(shedder.store, shedder.keys, ROLLBACK, ("x",), shedder._cause("r", None),
             say=print, carry=carry)  # fmt: skip
