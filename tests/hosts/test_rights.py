"""The rights on the page about deployment are enough, and no more than that."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_py
from rq import Callback, Retry

from shedder import Rate, Selection, Shedder
from shedder.rq import Queue
from tests.cli.programs import environment
from tests.docs.pages import DOCS
from tests.forked import run_module
from tests.jobs import ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

PAGE = (DOCS / "how-to" / "deploy.md").read_text(encoding="utf-8")
ROLES = ("worker", "producer", "operator")
DENIED = redis_py.exceptions.NoPermissionError

Connect = Callable[[str], "Redis"]


@pytest.fixture
def connect(server: EmbeddedServer, redis: Redis) -> Iterator[Connect]:
    """Connects as one of the users of the page."""
    lines = re.findall(r"^ACL SETUSER (\S+) (.*)$", PAGE, re.MULTILINE)
    assert [*ROLES] == [name for name, _ in lines]
    for name, rules in lines:
        redis.execute_command("ACL", "SETUSER", name, "reset", *rules.split())
    yield lambda name: server.client(username=name, password="SECRET")
    for name in ROLES:
        redis.execute_command("ACL", "DELUSER", name)


def test_each_role_does_its_work(connect: Connect, server: EmbeddedServer, redis: Redis, tmp_path: Path) -> None:
    """A producer enqueues in all ways, a worker serves with a scheduler, an operator operates."""
    marks = str(tmp_path / "marks")
    producer, operator = connect("producer"), Shedder(connect("operator"), by="oncall@ops")
    mail = Queue("mail", connection=producer)
    produce(mail, marks)
    operate(operator)
    url = server.url.replace("unix://", "unix://worker:SECRET@")
    done = run_module("shedder", "worker", "mail", "--burst", "--with-scheduler", "-u", url, env=environment())
    assert 0 == done.returncode, done.stderr
    assert "NoPermission" not in done.stderr
    assert {"plain", "low", "many", "unique", "after", "callback", "again"} == set(ended(marks))
    assert operator.audit().is_clean
    operator.uninstall(reason="bye", force=True)


def produce(mail: Queue, marks: str) -> None:
    first = mail.enqueue("tests.jobs.mark", marks, "plain")
    mail.low.enqueue("tests.jobs.mark", marks, "low")
    mail.enqueue_many([Queue.prepare_data("tests.jobs.mark", (marks, "many"))])
    mail.enqueue("tests.jobs.mark", marks, "unique", job_id="unique", unique=True)
    mail.enqueue("tests.jobs.mark", marks, "after", depends_on=first)
    mail.enqueue("tests.jobs.mark", marks, "callback", on_success=Callback(print))
    mail.enqueue("tests.jobs.fail", marks, "again", retry=Retry(max=1))
    mail.enqueue("tests.jobs.mark", marks, "gone").cancel()


def operate(operator: Shedder) -> None:
    receipt = operator.pause("mail", reason="r")
    operator.undo(receipt.event, reason="r")
    operator.divert("mail", selection=Selection.parse(functions=["*.mark"]), reason="r")
    operator.drain("mail", rate=Rate(100), reason="r")
    operator.drain_at_once("mail", reason="r")
    operator.limit_starts("mail", rate=Rate(1000), reason="r")
    operator.lift_limit("mail", reason="r")
    operator.degrade_flag("hints", reason="r", force=True)
    operator.set_limit("search", Rate(10), reason="r", force=True)
    assert 2 == len(operator.status("mail").flags) + len(operator.status("mail").limits)
    assert 10 < len(operator.events())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "command",
    [
        ("SET", "elsewhere", "1"), ("GET", "elsewhere"), ("FLUSHALL",), ("KEYS", "*"),
        ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SCRIPT", "FLUSH"), ("SHUTDOWN",), ("MONITOR",),
        ("PUBLISH", "elsewhere", "x"), ("EVAL", "return redis.call('get', 'elsewhere')", "0"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_nobody_may_more(connect: Connect, role: str, command: tuple[Any, ...]) -> None:
    """Other applications' keys and the server itself are out of reach."""
    with pytest.raises((DENIED, redis_py.exceptions.ResponseError), match=r"permission|ACL|No "):
        connect(role).execute_command(*command)


def test_a_producer_cannot_wait_or_listen(connect: Connect) -> None:
    """Who only enqueues needs neither blocking commands nor channels."""
    for command in (("BLPOP", "rq:queue:mail", "1"), ("PUBLISH", "rq:x", "x"), ("SCAN", "0")):
        with pytest.raises(DENIED):
            connect("producer").execute_command(*command)
