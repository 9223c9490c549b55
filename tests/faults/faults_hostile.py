"""Names, reasons and jobs as an enemy, or another program, would write them."""

from __future__ import annotations

import pickle
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shedder.errors import ShedderError
from shedder.rq import Queue, SimpleWorker
from shedder.selection import Selection
from tests import jobs
from tests.faults.accounting import Wrong, marks_of
from tests.faults.producers import fill
from tests.faults.schedule import Fault
from tests.workers import run_burst

if TYPE_CHECKING:
    from shedder import Shedder
    from tests.faults.stage import Stage

MOST_SECONDS = 20.0
"""Processor time that one piece of hostile input may cost before it counts as a hang."""


class _HangsError(Exception):
    pass


@contextmanager
def bounded() -> Iterator[None]:
    """A time that ends with an error when it has cost too much; RQ itself uses the other timer."""

    def give_up(*_: object) -> None:
        raise _HangsError

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


TEXTS = (
    "",
    " ",
    "a\nb",
    "a\x00b",
    "a\rb\x1b[2J",
    "{tag}",
    "}{",
    "\x1b[31mred\x1b[0m",
    "ü" * 60,
    "\N{ALCHEMICAL SYMBOL FOR GOLD}",
    "a" * 1_000_000,
    "%s%n%x",
    "\ud800",
    "a.low.low",
    "*?[a",
    "mail:kept",
    "../../etc",
    '","by":"root',
    "-1",
    "\u202egnp.exe",
)

_SAID: dict[str, Callable[[Shedder, str], object]] = {
    "queue": lambda o, s: (o.pause(s, reason="x"), o.resume(s, reason="x")),
    "diverted queue": lambda o, s: (o.divert(s, reason="x"), o.drain_at_once(s, reason="x")),
    "reason": lambda o, s: o.pause("mail", reason=s),
    "name": lambda o, s: o.pause("mail", reason="x", by=s),
    "function": lambda o, s: o.divert("mail", selection=Selection(functions=(s,)), reason=s),
    "tenant": lambda o, s: o.divert("mail", selection=Selection(meta=(("t", s),)), reason=s),
    "event": lambda o, s: o.event(s),
    "undone event": lambda o, s: o.undo(s, reason="x"),
    "events after": lambda o, s: o.events(after=s),
    "status": lambda o, s: o.status(s),
    "flag": lambda o, s: o.degrade_flag(s, reason=s),
}


def _said(stage: Stage) -> None:
    """Whatever is said is done, or refused with an error of ours; everything else goes on."""
    for where, say in _SAID.items():
        for text in stage.dice.sample(TEXTS, min(len(TEXTS), 2 + stage.size // 2)):
            stage.redis.flushall()
            stage.forget()
            fill(stage, "mail", 4)
            stage.outcome.injected += 1
            operator = stage.operator()
            try:
                with bounded():
                    say(operator, text)
            except ShedderError:
                pass
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                stage.outcome.wrong.append(Wrong("other", f"{where} {text!r:.40}: {error!r:.200}"))
            _goes_on(stage, operator, f"{where} {text!r:.40}")


def _goes_on(stage: Stage, operator: Shedder, what: str) -> None:
    try:
        operator.events(limit=10)
        operator.status()
        operator.resume("mail", reason="x")
        operator.drain_at_once("mail", reason="x")
        report = operator.audit()
        if not report.is_clean:
            stage.outcome.wrong.append(Wrong("lost", f"{what}: {report}"))
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        stage.outcome.wrong.append(Wrong("other", f"after {what}: {error!r:.200}"))
    stage.check_now()


def _data(function: str = "tests.jobs.mark", *args: Any) -> bytes:
    return zlib.compress(pickle.dumps((function, None, args, {})))


_NOW = "2026-01-01T00:00:00.000000Z"
_SOUND: dict[str, Any] = {"created_at": _NOW, "enqueued_at": _NOW, "status": "queued"}
_BAD_FIELDS: dict[str, dict[str, Any]] = {
    "no data": {**_SOUND},
    "only a heartbeat": {"last_heartbeat": _NOW},
    "garbage for data": {**_SOUND, "data": b"\x00\xff\x80"},
    "data that cannot be unpickled": {**_SOUND, "data": zlib.compress(b"\x80\x05cnowhere\nX\n.")},
    "a function that is nowhere": {**_SOUND, "data": _data("no.such.function")},
    "no creation": {"status": "queued", "data": _data()},
    "an unknown status": {**_SOUND, "status": "haunted", "data": _data()},
    "no status": {"created_at": _NOW, "data": _data()},
    "times that are none": {**_SOUND, "data": _data(), "enqueued_at": "soon", "created_at": "x"},
    "a timeout that is none": {**_SOUND, "data": _data(), "timeout": "long"},
    "retries that are none": {**_SOUND, "data": _data(), "retries_left": "many"},
    "garbage for meta": {**_SOUND, "data": _data(), "meta": b"\x80\x05garbage"},
    "a note that is garbage": {**_SOUND, "data": _data(), "shedder": b"\xff" * 100_000},
    "a wrong limit": {**_SOUND, "data": _data(), "rate_limit_key": "k", "rate_limit_concurrency": "x"},
    "10 MB of data": {**_SOUND, "data": b"x" * 10_000_000},
    "a count of crashes that is none": {**_SOUND, "data": _data(), "shedder_crashes": "x"},
    "bytes that are no text": {**_SOUND, "data": _data(), "origin": b"\xff\xfe", "timeout": b"\xff"},
}
_BAD_IDS = (b"", b" ", b"a b", b"a\nb", b"\xff\xfe", b"a\x00b", b"a:b", b"x" * 1_000_000, b"{x}")


def _bad_jobs(stage: Stage) -> None:
    """A worker survives a job that is none, and the jobs behind it run."""
    for what, fields in _BAD_FIELDS.items():
        _with_bad(stage, what, b"bad", fields)


def _bad_ids(stage: Stage) -> None:
    """The same with ids that RQ would not make."""
    fields = {**_SOUND, "data": _data("tests.jobs.mark", stage.marks_path, "bad")}
    for job in _BAD_IDS:
        _with_bad(stage, f"id {job[:9]!r}", job, fields)
        _with_bad(stage, f"id {job[:9]!r} without a job", job, {})


def _with_bad(stage: Stage, what: str, job: bytes, fields: dict[str, Any]) -> None:
    stage.redis.flushall()
    stage.forget()
    stage.clear_marks()
    if fields:
        stage.redis.hset(stage.keys.engine.jobs.encode() + job, mapping=fields)
    stage.redis.rpush(stage.keys.lane("mail")[0], job)
    stage.redis.sadd(stage.keys.engine.queues, stage.keys.lane("mail")[0])
    fill(stage, "mail", 2)
    stage.outcome.injected += 1
    stage.outcome.jobs += 2
    _through_orders(stage, what)
    client = stage.server.client()
    try:
        with bounded():
            run_burst(SimpleWorker(["mail"], connection=client))
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        stage.outcome.wrong.append(Wrong("other", f"{what}: the worker: {error!r:.200}"))
    client.close()
    ran = {mark.key for mark in marks_of(stage.marks_path) if mark.what == "end"}
    for good in stage.book.sure:
        if good not in ran:
            stage.outcome.wrong.append(Wrong("stuck", f"{what}: {good} did not run"))
    left = stage.redis.zcard(stage.keys.claims)
    if left:
        stage.outcome.wrong.append(Wrong("leaked", f"{what}: {left} claims"))


def _through_orders(stage: Stage, what: str) -> None:
    operator = stage.operator()
    try:
        with bounded():
            _give_orders(operator)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        stage.outcome.wrong.append(Wrong("other", f"{what}: an order: {error!r:.200}"))


def _give_orders(operator: Shedder) -> None:
    operator.status()
    checkup = operator.check_up()
    operator.preview_divert("mail", selection=Selection(meta=(("tenant", "a"),)))
    operator.divert("mail", selection=Selection(meta=(("tenant", "a"),)), reason="x")
    operator.drain_at_once("mail", reason="x")
    operator.divert("mail", reason="x")
    operator.drain_at_once("mail", reason="x")
    operator.repair(checkup, reason="x")


def _producers(stage: Stage) -> None:
    """Producers with strange tenants and arguments."""
    for text in stage.dice.sample(TEXTS, min(len(TEXTS), 4 + stage.size)):
        stage.redis.flushall()
        stage.forget()
        stage.operator().divert("mail", selection=Selection(meta=(("tenant", "a"),)), reason="x")
        queue = Queue("mail", connection=stage.redis)
        stage.outcome.injected += 1
        try:
            queue.enqueue(jobs.mark, stage.marks_path, text, job_id="a", meta={"tenant": text})
            stage.book.sure["a"] = "mail"
            stage.check_now()
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            stage.outcome.wrong.append(Wrong("other", f"tenant {text!r:.40}: {error!r:.200}"))


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("hostile: what an operator says", "hostile", _said),
        Fault("hostile: hashes of jobs", "hostile", _bad_jobs),
        Fault("hostile: ids of jobs", "hostile", _bad_ids),
        Fault("hostile: what a producer says", "hostile", _producers),
    ]
