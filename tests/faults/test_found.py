"""What the matrix found of commands that fail or stop midway, each as small as it can be told."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from redis.client import Pipeline
from rq import Queue as StockQueue
from rq.exceptions import StopRequested

from shedder import Shedder
from shedder.engine.names import rq_keys
from shedder.errors import ShedderError
from shedder.events import Cause
from shedder.queues.claims import HeldClaim, start_job
from shedder.queues.divert import scan_lane
from shedder.rq import Queue, Worker
from shedder.rq.outages import patient
from shedder.selection import Selection
from shedder.store.store import Store
from shedder.units import Rate
from tests import jobs
from tests.faults.actors import Child
from tests.faults.faults_frozen import act_until, die
from tests.faults.lanes import KEYS, MAIL, claim, enqueue
from tests.faults.proxy import FORSAKE, Proxy, to_unix_socket
from tests.faults.verbs import finish_begun, small_steps
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer

JOBS = 24


def everything(redis: Redis) -> dict[bytes, bytes | None]:
    return {key: redis.dump(key) for key in redis.keys("*")}


def test_a_claim_that_fails_keeps_the_job_in_its_lane(redis: Redis) -> None:
    """A script that meets a key of another type after it took a job puts the job back."""
    enqueue(redis, "nowhere", "a", "b")
    redis.set(KEYS.meters, "not a hash")
    with pytest.raises(ShedderError):
        claim(redis)
    assert [b"a", b"b"] == redis.lrange(MAIL, 0, -1)


def test_a_worker_outlives_a_key_of_another_type(redis: Redis, yard: Yard, marks: str) -> None:
    """It takes nothing meanwhile, says why, and goes on when the key is renamed away."""
    redis.set(KEYS.meters, "not a hash")
    worker = yard.start("mail").wait_until_idle(redis)
    enqueue(redis, marks, "a")
    wait_until(lambda: "of another type" in worker.log.read_text(), what=f"a word of {worker}")
    assert ([], True) == (jobs.started(marks), worker.is_alive())
    redis.rename(KEYS.meters, "elsewhere")
    wait_until(lambda: ["a"] == jobs.ended(marks), what=f"the job; {worker}")


def test_a_worker_rests_no_longer_than_its_connection_is_patient(
    redis: Redis, yard: Yard, marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the poller is killed, another worker polls, however soon its connection gives up."""
    monkeypatch.setattr("shedder.rq.worker.SILENCE_SECONDS", 1)
    poller = yard.start("mail").wait_until_idle(redis)
    wait_until(lambda: redis.keys(KEYS.poller("*")), what="a poller")
    yard.start("mail").wait_until_idle(redis)
    poller.kill()
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    wait_until(lambda: ["a"] == jobs.ended(marks), what="a job that rang no bell")


def test_a_claim_of_a_backlog_that_fails_keeps_the_job_there(redis: Redis) -> None:
    """The same for a backlog that drains."""
    enqueue(redis, "nowhere", "a", "b")
    operator = Shedder(redis)
    order = operator.divert("mail.normal", reason="x").lanes[0].order
    operator.drain("mail.normal", rate=Rate(1000.0), reason="x")
    redis.hset(KEYS.drain(order, "mail"), mapping={"tokens": "5", "at": "0"})
    redis.set(KEYS.meters, "not a hash")
    with pytest.raises(ShedderError):
        claim(redis)
    front, rest, _ = KEYS.backlog(order, "mail")
    assert [b"a", b"b"] == redis.lrange(front, 0, -1) + redis.lrange(rest, 0, -1)


def test_a_start_that_fails_changes_nothing(redis: Redis) -> None:
    """A gate that meets a key of another type leaves job and claim as they are."""
    enqueue(redis, "nowhere", "a")
    found = claim(redis)
    redis.set(KEYS.starting, "not a hash")
    held = HeldClaim(found.token, found.job_id, found.lane)
    with pytest.raises(ShedderError):
        Store(redis, rq_keys()).run(
            start_job(KEYS, held, timestamp="2026-01-01T00:00:00.000000Z", function="f", meta={})
        )
    status = redis.hget(f"{KEYS.engine.jobs}a", "status")
    assert (b"queued", 1) == (status, redis.zcard(KEYS.claims))


@pytest.mark.parametrize("verb", ["pause", "resume", "divert"])
def test_an_order_that_fails_changes_nothing(redis: Redis, verb: str) -> None:
    """An order for several lanes that meets a key of another type in the last one is not begun."""
    enqueue(redis, "nowhere", "a")
    operator = Shedder(redis)
    if verb == "resume":
        operator.pause("mail", reason="x")
    redis.set(KEYS.kept("mail.low"), "not a list")
    before = everything(redis)
    with pytest.raises(ShedderError):
        getattr(operator, verb)("mail", reason="x")
    assert before == everything(redis)


def test_a_claim_that_cannot_be_given_back_stops_nobody(redis: Redis) -> None:
    """The claim of a dead worker whose lane is broken is tried again later, and others go on."""
    enqueue(redis, "nowhere", "a")
    enqueue(redis, "nowhere", "b", lane="reports")
    dead = claim(redis).token
    redis.zadd(KEYS.claims, {dead: 1})
    redis.set(KEYS.kept("mail"), "not a list")
    assert "b" == claim(redis, "reports").job_id
    redis.delete(KEYS.kept("mail"))
    redis.zadd(KEYS.claims, {dead: 1})
    assert "a" == claim(redis).job_id


def test_a_restore_without_its_last_step(redis: Redis) -> None:
    """`drain --at-once`, said again, folds a lane whose operator died after the last merge."""
    enqueue(redis, "nowhere", "a", "b")
    redis.lmove(MAIL, KEYS.kept("mail"))
    Shedder(redis).drain_at_once("mail", reason="x")
    assert [b"a", b"b"] == redis.lrange(MAIL, 0, -1)


def test_a_signal_before_a_reply(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal handler raises amid a transaction leaves no reply for the next command."""
    redis.set("a", 1)
    client = patient(redis)
    client.ping()
    read = Pipeline.parse_response

    def interrupted(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(Pipeline, "parse_response", read)
        raise StopRequested

    monkeypatch.setattr(Pipeline, "parse_response", interrupted)
    redis.client_pause(300)  # so that the reply comes when somebody else waits for his own
    with pytest.raises(StopRequested), client.pipeline() as pipeline:
        pipeline.set("b", 2).execute()
    assert b"1" == client.get("a")


def test_a_scan_that_meets_a_restore_has_nothing_to_do(redis: Redis) -> None:
    """A late step of a divert whose backlog another operator is putting back moves no job."""
    queue = Queue("mail", connection=redis)
    for number in range(JOBS):
        function = jobs.decorated if number % 2 else jobs.mark
        queue.enqueue(function, "nowhere", f"{number}", job_id=f"{number:02d}")
    operator = Shedder(redis, by="tester")
    some = Selection.parse(functions=("tests.jobs.decorated",))
    with small_steps():
        divert = partial(Shedder.divert, selection=some, reason="x")
        act_until(operator, b'"scanning":true', lambda o: divert(o, "mail.normal"), {12: die})
        put_back = partial(Shedder.drain_at_once, reason="x")
        act_until(operator, b'"restoring":true', lambda o: put_back(o, "mail.normal"), {2: die})
        (order,) = json.loads(redis.hget(KEYS.diverts, "mail") or b"")
        before = all_lists(redis)
        late = scan_lane(KEYS, "mail", order["id"], Cause("tester", "x"), operation="late", step=9)
        step = Store(redis, rq_keys()).run(late)
    assert ("ended", before) == (step.state, all_lists(redis))
    finish_begun(operator)
    assert [f"{number:02d}".encode() for number in range(JOBS)] == redis.lrange(MAIL, 0, -1)


def all_lists(redis: Redis) -> dict[bytes, list[bytes]]:
    return {key: redis.lrange(key, 0, -1) for key in redis.keys("*") if redis.type(key) == b"list"}


def test_a_connection_that_falls_silent(
    server: EmbeddedServer, redis: Redis, yard: Yard, marks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker gives up a connection on which no answer comes, and works on with another."""
    monkeypatch.setattr("shedder.rq.worker.SILENCE_SECONDS", 1)
    with Proxy(to_unix_socket(str(server.socket_path))) as proxy:
        relay = Child(proxy.run, log=tmp_path / "proxy.log")
        try:
            worker = yard.start("mail", worker_class=Worker, server=proxy)
            worker.wait_until_idle(redis)
            proxy.order(FORSAKE)
            enqueue(redis, marks, "a")
            wait_until(lambda: jobs.ended(marks) == ["a"])
        finally:
            relay.kill()
