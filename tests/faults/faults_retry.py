"""Jobs fail, come back and are taken back at once, by two operators and by `rq requeue`."""

from __future__ import annotations

import base64
import contextlib
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import InvalidJobOperation
from rq.registry import FailedJobRegistry

from shedder import FailedSelection
from shedder.engine.names import FAILED, JOB, RESULTS, registry_key
from shedder.errors import ShedderError
from shedder.units import Rate
from tests.faults.accounting import Wrong
from tests.faults.schedule import Fault
from tests.faults.verbs import LANES, PLANTED, end_all_controls, failed_jobs, small_steps, wrong_when_idle
from tests.features.failures import YEAR, report
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from shedder import Shedder
    from tests.faults.stage import Stage

READY, GO = f"{RQ_KEY_PREFIX}:operators-ready", f"{RQ_KEY_PREFIX}:operators-go"

_FAIL = """
local id = redis.call('RPOP', KEYS[1])
if not id then return false end
redis.call('HSET', ARGV[1] .. id, 'status', 'failed')
redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[2], id)
redis.call('XADD', ARGV[3] .. id, '*', 'type', '2', 'exc_string', ARGV[4])
return id
"""


def fail_one(operator: Shedder) -> None:
    """A job that waits in `mail` fails, in one step, so that it is in one place at each moment."""
    keys = (operator.keys.engine.lists + "mail", registry_key(FAILED, "mail"))
    packed = base64.b64encode(zlib.compress(report(PLANTED).encode()))
    operator.store.connection.eval(_FAIL, 2, *keys, JOB, YEAR, RESULTS, packed)


def retry(operator: Shedder) -> None:
    """What has failed comes back."""
    operator.retry("mail", rate=Rate(100.0), reason="x")


def fail_and_retry(stage: Stage, client: Any, dice: Random) -> None:
    """Jobs fail and come back for ever; of some retries the operator thinks better."""
    operator = stage.operator(client)
    second = (
        lambda: operator.undo(None, reason="x"),
        lambda: operator.stop_retry("mail", reason="x"),
        lambda: operator.drain("mail", rate=Rate(200.0), reason="x"),
        lambda: None,
    )
    while True:
        with contextlib.suppress(ShedderError, RedisError):
            for _ in range(dice.randrange(1, 6)):
                fail_one(operator)
            retry(operator)
            time.sleep(dice.uniform(0, 0.1))
            dice.choice(second)()


_FAILED_ONES = FailedSelection(exceptions=("app.errors.Planted",))


def bring_all_back(stage: Stage) -> None:
    """What has failed, and what a retry left in a backlog, is in its lane again."""
    operator = stage.operator()
    operator.retry(*LANES, selection=_FAILED_ONES, rate=Rate(100.0), reason="over")
    operator.drain_at_once(*LANES, reason="over")


def wait_for_retry(stage: Stage) -> None:
    """Return when some jobs have come back."""
    wait_until(lambda: _retries(stage), what="a retry")


def _retries(stage: Stage) -> int:
    return sum(each.verb == "retry" for each in stage.operator().events(limit=100_000))


def check_retries(stage: Stage) -> None:
    """None of the jobs that failed is still among the failed."""
    found = stage.operator().preview_retry(*LANES, selection=_FAILED_ONES)
    stage.outcome.notes.append(f"{_retries(stage)} retries")
    if found.jobs or found.skipped:
        what = f"{found.jobs} failed jobs are left, and {dict(found.skipped)} in the registry"
        stage.outcome.wrong.append(Wrong("other", what))


def at_the_same_moment(stage: Stage, second: Callable[[Stage], None]) -> None:
    """An operator retries while somebody else brings the same jobs back: each job comes back once."""
    with small_steps():
        for _ in range(2 * stage.size):
            stage.redis.flushall()
            stage.forget()
            failed_jobs(stage)
            both = [stage.start(partial(_at_go, stage, act)) for act in (_retried, second)]
            wait_until(lambda: stage.redis.llen(READY) == 2, what="both")
            stage.redis.rpush(GO, *"12")
            for child in both:
                if child.wait():
                    stage.outcome.wrong.append(Wrong("other", child.said()))
            stage.outcome.injected += 1
            stage.redis.delete(READY, GO)
            stage.check_now()
            if left := FailedJobRegistry("mail", connection=stage.redis).get_job_ids(cleanup=False):
                stage.outcome.wrong.append(Wrong("other", f"{left} did not come back"))
            end_all_controls(stage)
            stage.outcome.jobs += len(stage.book.sure)
            stage.outcome.wrong += [each for each in wrong_when_idle(stage) if each.kind != "order"]


def _at_go(stage: Stage, act: Callable[[Stage], None]) -> None:
    client = stage.server.client()
    client.rpush(READY, "x")
    client.blpop([GO], timeout=600)
    act(stage)


def _retried(stage: Stage) -> None:
    retry(stage.operator(stage.server.client()))


def requeued(stage: Stage) -> None:
    """What `rq requeue --all` does."""
    registry = FailedJobRegistry("mail", connection=stage.server.client())
    for job in registry.get_job_ids(cleanup=False):
        with contextlib.suppress(InvalidJobOperation):
            registry.requeue(job)
        time.sleep(stage.dice.uniform(0, 0.001))


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("at once: retry and retry", "pairs", partial(at_the_same_moment, second=_retried)),
        Fault("at once: retry and rq requeue", "pairs", partial(at_the_same_moment, second=requeued)),
    ]
