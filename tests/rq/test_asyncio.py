"""Coroutines enqueue with a client of their own, and nothing of ours holds their event loop."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis as AsyncRedis
from rq import Queue as StockQueue
from rq.exceptions import DuplicateJobError
from rq.job import Job, JobStatus

import shedder.rq.queue
from shedder import Policy, Rule, Selection, Shedder
from shedder.errors import InvalidInput, ShedderError
from shedder.policy.applied import async_policy_copy
from shedder.rq import Queue, SimpleWorker
from shedder.settings import watch
from tests import jobs
from tests.loops import MOST_HELD_SECONDS, async_client, held_beside, loop_watched, standing_still
from tests.rq.contract.sources import parameters
from tests.waiting import PATIENCE_SECONDS
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory

MARKS = Selection(functions=("tests.jobs.mark",))
LOW = Policy(rules=(Rule(queue="mail", selection=MARKS, priority="low"),))


def in_loop(server: EmbeddedServer, work: Callable[[Queue], Awaitable[Any]], lane: str = "mail") -> Any:
    """What `work` gives, called in a loop with a queue that has an asyncio client."""

    async def main() -> Any:
        async with async_client(server) as client:
            return await work(Queue(lane, connection=server.client(), async_connection=client))

    return asyncio.run(main())


def test_a_job_is_stored_as_the_other_call_stores_it(server: EmbeddedServer, redis: Redis) -> None:
    """The hash has the same fields, and the same values but for id and times."""
    options: dict[str, Any] = {"meta": {"tenant": "acme"}, "ttl": 600, "result_ttl": 5, "job_timeout": 7}
    one = Queue("mail", connection=redis).enqueue(jobs.mark, "a", "b", **options)
    other: Job = in_loop(server, lambda mail: mail.enqueue_async(jobs.mark, "a", "b", **options))
    first, second = (redis.hgetall(each.key) for each in (one, other))
    for each in (b"created_at", b"enqueued_at", b"shedder"):
        assert first.pop(each)
        assert second.pop(each)
    assert first == second
    assert 590 < redis.ttl(other.key) <= 600
    assert JobStatus.QUEUED == Job.fetch(other.id, connection=redis).get_status()


def test_a_unique_job_is_refused_a_second_time(server: EmbeddedServer, redis: Redis) -> None:
    """As with `enqueue`: one of two is stored, and an id must be given."""

    async def twice(mail: Queue) -> list[Any]:
        both = [mail.enqueue_async(jobs.mark, "a", "b", job_id="one", unique=True) for _ in range(2)]
        return await asyncio.gather(*both, return_exceptions=True)

    kinds = {type(each) for each in in_loop(server, twice)}
    assert {Job, DuplicateJobError} == kinds
    assert 1 == redis.llen(Queue("mail", connection=redis).key)
    with pytest.raises(ValueError, match="explicit job_id"):
        in_loop(server, lambda mail: mail.enqueue_async(jobs.mark, "a", "b", unique=True))


def test_what_needs_other_code_of_rq_works(
    server: EmbeddedServer, redis: Redis, marks: str, work: Callable[..., bool]
) -> None:
    """A job that depends on another one, alone or among many, waits for it and then runs."""

    async def enqueue(mail: Queue) -> None:
        first = await mail.enqueue_async(jobs.mark, marks, "a")
        await mail.enqueue_async(jobs.mark, marks, "b", depends_on=first)
        data = Queue.prepare_data(jobs.mark, (marks, "c"), depends_on=first)
        await mail.enqueue_many_async([data])

    in_loop(server, enqueue)
    assert 1 == redis.llen(Queue("mail", connection=redis).key)
    work()
    assert {"a", "b", "c"} == set(jobs.started(marks))


def test_a_queue_that_runs_jobs_at_once_runs_them(server: EmbeddedServer, redis: Redis, marks: str) -> None:
    """With `is_async=False`, as in tests of an application, the job has run when the call returns."""

    async def main() -> None:
        async with async_client(server) as client:
            mail = Queue("mail", connection=redis, is_async=False, async_connection=client)
            await mail.enqueue_async(jobs.mark, marks, "a")
            await mail.enqueue_many_async([Queue.prepare_data(jobs.mark, (marks, "b"))])

    asyncio.run(main())
    assert ["a", "b"] == jobs.started(marks)


def test_many_jobs_are_all_enqueued_in_order_or_none(server: EmbeddedServer, redis: Redis) -> None:
    """More jobs than are made in one part keep their order; two of one id refuse all."""
    count = 2 * shedder.rq.queue._JOBS_PER_PART + 1
    datas = [Queue.prepare_data(jobs.mark, ("x", "y"), job_id=str(number)) for number in range(count)]
    many = in_loop(server, lambda mail: mail.enqueue_many_async(iter(datas)))
    mail = Queue("mail", connection=redis)
    assert [str(number) for number in range(count)] == [each.id for each in many] == mail.job_ids
    with pytest.raises(ValueError, match="'0' appears more than once"):
        in_loop(server, lambda mail: mail.enqueue_many_async([*datas, datas[0]]))
    assert count == len(mail)


def test_a_pipeline_is_refused(server: EmbeddedServer, redis: Redis) -> None:
    """A pipeline of the other client has no place in a coroutine."""
    with pytest.raises(ValueError, match="takes no pipeline"):
        in_loop(server, lambda mail: mail.enqueue_async(jobs.mark, "a", "b", pipeline=redis.pipeline()))


def test_the_policy_decides_the_lane(server: EmbeddedServer, redis: Redis) -> None:
    """From the first job on, and for all that begin at once; a lane that was chosen is final."""
    Shedder(redis, by="tester").policies.apply(LOW, reason="test")

    async def enqueue(mail: Queue) -> list[str]:
        at_once = await asyncio.gather(*(mail.enqueue_async(jobs.mark, "a", "b") for _ in range(5)))
        many = await mail.enqueue_many_async([Queue.prepare_data(jobs.mark, ("a", "b"))])
        chosen = await mail.high.enqueue_async(jobs.mark, "a", "b")
        return [each.origin for each in (*at_once, *many, chosen)]

    assert [*["mail.low"] * 6, "mail.high"] == in_loop(server, enqueue)
    assert 6 == redis.llen(Queue("mail.low", connection=redis).key)


def test_a_change_of_the_policy_reaches_a_running_loop(server: EmbeddedServer, redis: Redis) -> None:
    """The copy is asked for again after half a second; one that cannot be read changes nothing."""

    async def follow(mail: Queue) -> list[str]:
        client = mail.async_connection
        assert client is not None
        copy, origins = async_policy_copy(client), []
        for change in (None, LOW, "damage"):
            if isinstance(change, Policy):
                operator.policies.apply(change, reason="test")
            elif change:
                operator.policies.apply(Policy(), reason="test")
                redis.hset(operator.keys.policy, "2", "{")
            copy._asked_at = -float("inf")
            origins.append((await mail.enqueue_async(jobs.mark, "a", "b")).origin)
        return origins

    operator = Shedder(redis, by="tester")
    assert ["mail", "mail.low", "mail.low"] == in_loop(server, follow)


def test_one_that_gives_up_waiting_leaves_the_others_their_answer(server_factory: ServerFactory) -> None:
    """A request that is cancelled while the policy is asked for takes nobody's policy away."""
    server = server_factory()

    async def enqueue(mail: Queue) -> list[Any]:
        with standing_still(server):
            both = [asyncio.create_task(mail.enqueue_async(jobs.mark, "a", "b")) for _ in range(2)]
            await asyncio.sleep(0.05)
            both[0].cancel()
        return await asyncio.gather(*both, return_exceptions=True)

    gone, kept = in_loop(server, enqueue)
    assert isinstance(gone, asyncio.CancelledError)
    assert [kept.id] == Queue("mail", connection=server.client()).job_ids


def test_a_client_serves_on_after_a_cancelled_call(server_factory: ServerFactory) -> None:
    """The reply that nobody waited for is not taken for that of the next call."""
    server = server_factory()

    async def enqueue(mail: Queue) -> str:
        await mail.enqueue_async(jobs.mark, "a", "b")
        with standing_still(server), pytest.raises(TimeoutError):
            await asyncio.wait_for(mail.enqueue_async(jobs.mark, "a", "b", job_id="one", unique=True), 0.05)
        with pytest.raises(DuplicateJobError):
            await mail.enqueue_async(jobs.mark, "a", "b", job_id="one", unique=True)
        return (await mail.enqueue_async(jobs.mark, "a", "b", job_id="two", unique=True)).id

    assert "two" == in_loop(server, enqueue)
    assert 3 == len(Queue("mail", connection=server.client()))


def test_a_lost_reply_is_no_second_job(server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends the script again, because a connection broke, enqueues one job."""
    real: Any = AsyncRedis.execute_command
    sent: list[str] = []

    async def twice(self: Any, *args: Any, **options: Any) -> Any:
        sent.append(args[0])
        if args[0] == "EVALSHA":
            await real(self, *args, **options)
        return await real(self, *args, **options)

    in_loop(server, lambda mail: mail.enqueue_async(jobs.mark, "x", "y"))  # the server knows the script
    monkeypatch.setattr(AsyncRedis, "execute_command", twice)
    job: Job = in_loop(server, lambda mail: mail.low.enqueue_async(jobs.mark, "a", "b"))
    assert ["EVALSHA"] == sent
    assert [job.id] == Queue("mail.low", connection=redis).job_ids


def test_a_server_that_forgot_the_script_is_told_it(server: EmbeddedServer, redis: Redis) -> None:
    """A restart or a fail-over loses scripts, and no job."""
    redis.script_flush()
    job: Job = in_loop(server, lambda mail: mail.low.enqueue_async(jobs.mark, "a", "b"))
    assert [job.id] == Queue("mail.low", connection=redis).job_ids


# nothing holds the loop


def test_enqueueing_holds_no_loop_while_the_server_stands_still(server_factory: ServerFactory) -> None:
    """Neither the policy that must be asked for, nor one job, nor many."""
    server = server_factory()

    async def enqueue(mail: Queue) -> list[float]:
        client = mail.async_connection
        assert client is not None

        async def one() -> None:
            async_policy_copy(client)._asked_at = -float("inf")
            await mail.enqueue_async(jobs.mark, "a", "b")

        async def many() -> None:
            await mail.enqueue_many_async([Queue.prepare_data(jobs.mark, ("a", "b")) for _ in range(200)])

        return [await held_beside(server, each) for each in (one, many)]

    held = in_loop(server, enqueue)
    assert MOST_HELD_SECONDS >= max(held)


def test_the_first_call_of_a_process_asks_no_other_client(server_factory: ServerFactory) -> None:
    """RQ asks for the server's version at the first job; from a loop it does not, even then."""
    server = server_factory()

    async def enqueue(mail: Queue) -> None:
        await mail.enqueue_async(jobs.mark, "a", "b")
        await mail.low.enqueue_async(jobs.mark, "a", "b")
        await mail.enqueue_many_async([Queue.prepare_data(jobs.mark, ("a", "b"))])
        assert [] == mail.connection.connection_pool._available_connections

    in_loop(server, enqueue)


def test_flags_and_limits_hold_no_loop_from_their_first_question_on(server_factory: ServerFactory) -> None:
    """While the server stands still the first question of a process is answered from the code."""
    server = server_factory()

    async def ask(application: Shedder) -> tuple[float, list[bool]]:
        async with loop_watched() as held:
            first = application.flags.enabled("search.hints")
            told = [first, await application.limits.ahit("search"), application.flags.enabled("search.hints")]
        return held.longest, told

    held = []
    with standing_still(server):
        for _ in range(5):
            with closing(Shedder(server.client())) as application:
                application.flags.declare("search.hints")
                longest, told = asyncio.run(ask(application))
                held.append(longest)
                assert [True, True, True] == told
    assert MOST_HELD_SECONDS >= min(held)


def test_a_loop_that_refreshes_first_knows_what_is_degraded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """`arefresh` when the application starts, and the first request knows."""
    monkeypatch.setattr(watch, "FIRST_LOAD_SECONDS", PATIENCE_SECONDS)
    with closing(Shedder(redis, by="tester")) as application:
        application.degrade_flag("search.hints", reason="test", force=True)

        async def start() -> bool:
            await application.flags.arefresh()
            return application.flags.enabled("search.hints")

        assert not asyncio.run(start())


# clients of the wrong kind


REFUSAL = "connection: 'redis.asyncio.client.Redis' is not accepted; use a redis.Redis, and give the"


def test_an_asyncio_client_is_refused_where_the_other_kind_belongs(redis: Redis) -> None:
    """By a queue, a worker and the facade, in one sentence."""
    wrong: Any = AsyncRedis()
    queue = Queue("mail", connection=redis)
    makers: list[Callable[[], object]] = [
        lambda: Queue("mail", wrong),
        lambda: Queue("mail", connection=wrong),
        lambda: SimpleWorker(["mail"], connection=wrong),
        lambda: SimpleWorker([queue], connection=wrong),
        lambda: Shedder(wrong),
        lambda: Queue.from_queue_key(queue.key, connection=wrong),
    ]
    for make in makers:
        with pytest.raises(InvalidInput, match=REFUSAL):
            make()


def test_another_client_is_refused_where_an_asyncio_one_belongs(redis: Redis) -> None:
    """A queue says which kind is meant, and one without says what it lacks."""
    wrong: Any = redis
    with pytest.raises(InvalidInput, match=r"'redis.client.Redis' is not accepted; use a redis.asyncio.Redis"):
        Queue("mail", connection=redis, async_connection=wrong)
    with pytest.raises(ShedderError, match=r"the queue mail.low has no asyncio client: give it async_connection="):
        asyncio.run(Queue("mail", connection=redis).low.enqueue_async(jobs.mark, "a", "b"))


# what we take from RQ and redis-py


def test_what_a_job_of_a_coroutine_is_made_of() -> None:
    """RQ reads a call's options under the names by which it makes a job of them."""
    read = set(Queue.parse_args("math.sqrt", 2)._fields) - {"at_front", "unique", "pipeline"}
    assert read <= set(parameters(StockQueue.create_job))


def test_workers_run_what_coroutines_enqueue(server: EmbeddedServer, redis: Redis, marks: str) -> None:
    """In strict order of priority, as ever."""

    async def enqueue(mail: Queue) -> None:
        await mail.low.enqueue_async(jobs.mark, marks, "low")
        await mail.enqueue_async(jobs.mark, marks, "normal")
        await mail.enqueue_async(jobs.mark, marks, "first", at_front=True)

    in_loop(server, enqueue)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["first", "normal", "low"] == jobs.started(marks)
