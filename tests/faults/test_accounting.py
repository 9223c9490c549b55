"""The account of the matrix tells what RQ leaves undone from what we lose."""

from __future__ import annotations

import signal
from random import Random
from typing import TYPE_CHECKING

import pytest

from shedder.engine.names import rq_keys
from shedder.rq import Worker
from tests.faults.accounting import Book, wrong_at_end, wrong_places
from tests.faults.snapshot import Snapshot, take_snapshot
from tests.faults.stage import Stage
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer

CHAIN = ("mail_p-000001", "mail_p-000002", "mail_p-000003")


def account(*, first: str, has_kills: bool) -> list[str]:
    """What is wrong of a job of this status, and of two that wait one for the other behind it."""
    status = dict(zip(CHAIN, (first, "deferred", "deferred"), strict=True))
    homes = {job: frozenset({"deferred"}) for job in CHAIN[1:]}
    snapshot = Snapshot(places={}, status=status, registries=homes, lists={}, keys={})
    book = Book(sure=dict.fromkeys(CHAIN, "mail"))
    kills = {CHAIN[0]: [1.0]}
    return [wrong.kind for wrong in wrong_at_end(snapshot, book, (), kills, has_kills=has_kills)]


def test_what_waits_for_a_failed_job_after_a_kill_is_rqs() -> None:
    """Who is killed between RQ's two steps leaves it deferred, with stock workers too."""
    assert [] == account(first="failed", has_kills=True)


def test_what_rq_left_is_waited_for_no_longer(redis: Redis, server: EmbeddedServer, tmp_path: Path) -> None:
    """A trial is over where all that is left waits for a job that has failed, and no worker is at work."""
    stage = Stage(server, tmp_path, dice=Random("x"), size=2)
    for job, status in zip(CHAIN, ("failed", "deferred", "deferred"), strict=True):
        redis.hset(f"rq:job:{job}", mapping={"status": status, "created_at": "now"})
    assert stage.wait_until_done()
    redis.hset(f"rq:job:{CHAIN[0]}", "status", "started")
    assert not stage.wait_until_done(timeout=0)
    redis.hset(f"rq:job:{CHAIN[0]}", "status", "failed")
    with stage:
        worker = stage.start_worker(("mail",), Worker)
        wait_until(lambda: redis.hget(worker.key, "state") == b"idle")
        worker.send(signal.SIGSTOP)
        redis.hset(worker.key, "state", "busy")
        assert not stage.wait_until_done(timeout=0)


@pytest.mark.parametrize(("first", "has_kills"), [("failed", False), ("canceled", True), ("scheduled", True)])
def test_any_other_that_waits_for_ever_is_stuck(first: str, has_kills: bool) -> None:
    """Without a kill, or behind a job that has not failed, one that nobody enqueues is told."""
    assert ["stuck", "stuck"] == account(first=first, has_kills=has_kills)[-2:]


def test_a_line_that_is_not_whole_yet_is_read_later(tmp_path: Path) -> None:
    """Of a line that a producer is just writing, no half is taken for a job."""
    said, book = tmp_path / "said", Book()
    for text, jobs in (("sure\tmail_p-000001\tmail\nsure\tmail_p-0", 1), ("00002\tmail\n", 2)):
        with said.open("a", encoding="utf-8") as file:
            file.write(text)
        book.read(said)
        assert jobs == len(book.sure)
    assert "mail_p-000002" in book.sure


def test_a_list_that_calls_workers_is_no_place_of_jobs(redis: Redis) -> None:
    """What rings workers, or calls the next poller, holds no ids of jobs."""
    keys = rq_keys()
    for calls in (keys.bell("mail"), keys.poller_handoff("mail")):
        redis.rpush(calls, "1")
    redis.rpush(keys.lane("mail")[0], "a")

    assert {"a": (keys.lane("mail")[0],)} == take_snapshot(redis).places


def test_only_ids_of_deleted_jobs_may_be_set_aside_as_unseen(redis: Redis) -> None:
    """They are in no place and nothing leaks; a job that is there is lost among them."""
    redis.rpush(rq_keys().unseen("mail"), "mail_p-000001", "mail_p-000002")
    book = Book(sure={"mail_p-000001": "mail"}, vanishing={"mail_p-000001"})
    seen = take_snapshot(redis)
    assert (0, [], []) == (seen.waiting(), seen.left_over(), wrong_places(seen, book))

    redis.hset("rq:job:mail_p-000002", mapping={"status": "finished", "created_at": "now"})
    assert ["lost"] == [wrong.kind for wrong in wrong_places(take_snapshot(redis), book)]
