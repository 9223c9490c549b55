"""What runs is told, and nothing else."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue as StockQueue
from rq.defaults import RQ_KEY_PREFIX
from rq.utils import utcformat

from shedder.engine.names import STARTED, registry_key, rq_keys
from shedder.errors import RecordUnreadable
from shedder.queues.claims import Claimed, HeldClaim, RunningJob, claim_job, list_claims, running_jobs, start_job
from shedder.rq import Queue, SimpleWorker
from shedder.store.codec import time_from_ms
from shedder.store.store import Store
from tests.waiting import wait_until

if TYPE_CHECKING:
    from redis import Redis

KEYS = rq_keys()
STARTED_AT = time_from_ms(1_800_000_000_000)

seen_by_job: list[tuple[RunningJob, ...]] = []


def warn_of_recent_changes(socket: str) -> None:
    """A job that looks at what runs while it runs itself."""
    from redis import Redis as Client

    with Client(unix_socket_path=socket) as client:
        store = Store(client, rq_keys())

        def look() -> bool:
            seen_by_job[:] = [running_jobs(store, ["mail", "mail.low"])]
            return all(job.is_certain for job in seen_by_job[0])

        wait_until(look, what="the report of the start")


def claim(redis: Redis, lane: str = "mail", worker: str = "w1") -> HeldClaim:
    claimed = Store(redis, rq_keys()).run(claim_job(KEYS, [lane], worker=worker))
    assert isinstance(claimed, Claimed)
    return HeldClaim(claimed.token, claimed.job_id, claimed.lane)


def execute(redis: Redis, lane: str, job_id: str, execution: str = "e1") -> None:
    redis.zadd(f"{RQ_KEY_PREFIX}:wip:{lane}", {f"{job_id}:{execution}": time.time() + 60})


def pass_gate(redis: Redis, held: HeldClaim) -> None:
    command = start_job(KEYS, held, timestamp=utcformat(STARTED_AT), function="app.send", meta={})
    assert Store(redis, rq_keys()).run(command).is_open


def running(redis: Redis, *lanes: str) -> tuple[RunningJob, ...]:
    return running_jobs(Store(redis, rq_keys()), lanes or ("mail",))


def test_a_job_that_runs_is_told(redis: Redis, tmp_path: Any) -> None:
    """What a worker of ours runs is told with its worker, its function and its start."""
    socket = redis.connection_pool.connection_kwargs["path"]
    job = Queue("mail", connection=redis).low.enqueue(warn_of_recent_changes, socket)
    SimpleWorker(["mail"], name="w1", connection=redis).work(burst=True)
    ((seen,),) = seen_by_job
    assert RunningJob(job.id, "mail.low", "w1", seen.since, f"{__name__}.warn_of_recent_changes", True) == seen
    assert seen.since is not None
    assert () == running(redis, "mail", "mail.low")


def test_a_claimed_job_does_not_run(redis: Redis) -> None:
    """Between claim and gate RQ has an execution of the job already, and yet it does not run."""
    Queue("mail", connection=redis).enqueue("app.send")
    held = claim(redis)
    execute(redis, "mail", held.job_id)
    assert () == running(redis)


def test_a_job_just_past_the_gate_is_uncertain(redis: Redis) -> None:
    """Until its process reports, a job may have been frozen before its first line."""
    Queue("mail", connection=redis).enqueue("app.send")
    held = claim(redis)
    execute(redis, "mail", held.job_id)
    pass_gate(redis, held)
    expected = RunningJob(held.job_id, "mail", "w1", STARTED_AT, "app.send", is_certain=False)
    assert (expected,) == running(redis)
    redis.hdel(KEYS.starting, held.token)
    assert (True,) == tuple(job.is_certain for job in running(redis))


def test_a_job_past_the_gate_is_told_even_without_an_execution(redis: Redis) -> None:
    """A process that is frozen for so long that RQ forgot its execution is not hidden."""
    Queue("mail", connection=redis).enqueue("app.send")
    held = claim(redis)
    pass_gate(redis, held)
    assert [(held.job_id, False)] == [(job.job_id, job.is_certain) for job in running(redis)]
    assert () == running(redis, "reports")


def test_the_old_start_of_another_worker_does_not_make_a_job_uncertain(redis: Redis) -> None:
    """A process that died past the gate leaves its mark, which says nothing of the next start."""
    Queue("mail", connection=redis).enqueue("app.send")
    held = claim(redis, worker="died")
    pass_gate(redis, held)
    execute(redis, "mail", held.job_id)
    redis.hset(f"{RQ_KEY_PREFIX}:job:{held.job_id}", "worker_name", "next")
    assert [("next", True)] == [(job.worker, job.is_certain) for job in running(redis)]


def test_the_function_of_a_stock_producers_job_is_read_from_its_data(redis: Redis) -> None:
    """A job without a note of ours has its function's name in its data."""
    job = StockQueue("mail", connection=redis).enqueue("app.send", "x" * 100)
    execute(redis, "mail", job.id)
    redis.hset(job.key, mapping={"status": "started", "started_at": "", "worker_name": ""})
    assert (RunningJob(job.id, "mail", "", None, "app.send", True),) == running(redis)


def test_data_of_a_huge_job_is_not_fetched(redis: Redis) -> None:
    """Megabytes do not travel for the sake of a name."""
    job = StockQueue("mail", connection=redis).enqueue("app.send")
    execute(redis, "mail", job.id)
    redis.hset(job.key, mapping={"status": "started", "data": b"\x00" * 100_000})
    assert [""] == [running_job.function for running_job in running(redis)]


def test_jobs_are_told_by_lane_and_by_start(redis: Redis) -> None:
    """The order is that of the lanes asked for, then that of the starts, and stays as it is."""
    ids = {}
    for name, lane, second in (("b", "mail", 2), ("a", "mail", 1), ("c", "mail.low", 0)):
        job = StockQueue(lane, connection=redis).enqueue("app.send")
        at = utcformat(time_from_ms(1_800_000_000_000 + 1000 * second))
        redis.hset(job.key, mapping={"status": "started", "started_at": at})
        execute(redis, lane, job.id)
        execute(redis, lane, job.id, "e2")
        ids[name] = job.id
    expected = [ids["a"], ids["b"], ids["c"]]
    assert expected == [job.job_id for job in running(redis, "mail", "mail.low")]
    assert () == running_jobs(Store(redis, rq_keys()), [])


def test_claims_are_listed(redis: Redis) -> None:
    """Each claim tells its worker, lane and job, and each start that was not reported too."""
    queue = Queue("mail", connection=redis)
    for _ in range(3):
        queue.enqueue("app.send")
    first, second, third = (claim(redis, worker=f"w{n}") for n in range(3))
    pass_gate(redis, third)
    claims = Store(redis, rq_keys()).run(list_claims(KEYS))
    assert [
        (False, "w0", "mail", first.job_id, "", first.token),
        (False, "w1", "mail", second.job_id, "", second.token),
        (True, "w2", "mail", third.job_id, "", third.token),
    ] == [(c.is_starting, c.worker, c.lane, c.job_id, c.order, c.token) for c in claims]
    assert all(abs(c.alive_at_ms - time.time() * 1000) < 10_000 for c in claims)
    assert all(0 <= c.alive_at_ms - c.claimed_at_ms < 10_000 for c in claims)


def test_claims_are_listed_in_windows(redis: Redis) -> None:
    """Any part of the claims can be asked for, so that no step is long."""
    queue = Queue("mail", connection=redis)
    held = []
    for _ in range(3):
        queue.enqueue("app.send")
        held.append(claim(redis).job_id)
    store = Store(redis, rq_keys())
    pages = [store.run(list_claims(KEYS, first=n, limit=2, starting=0)) for n in (0, 2, 4)]
    assert [held[:2], held[2:], []] == [[each.job_id for each in page] for page in pages]


@pytest.mark.parametrize("member", [b"", b"nonsense", b"\x90", b"\xc1", b"\x81\x01\x02"])
def test_a_damaged_claim_does_not_hide_the_others(redis: Redis, member: bytes) -> None:
    """What is no claim is left out, and the claims beside it are told."""
    Queue("mail", connection=redis).enqueue("app.send")
    held = claim(redis)
    redis.zadd(KEYS.claims, {member: 1})
    redis.hset(KEYS.starting, member, "x")
    assert [held.job_id] == [each.job_id for each in Store(redis, rq_keys()).run(list_claims(KEYS))]


def test_what_somebody_put_in_the_way_is_named(redis: Redis) -> None:
    """A list of RQ that is no list of RQ's, whether the server knows the script or not."""
    key = registry_key(STARTED, "mail")
    redis.set(key, "mine")
    for _ in range(2):
        with pytest.raises(RecordUnreadable, match=re.escape(key)):
            running_jobs(Store(redis, rq_keys()), ["mail"])
        redis.script_flush()
