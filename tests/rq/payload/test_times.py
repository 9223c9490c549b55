"""The times in a job's hash are read as RQ writes them, and are never an obstacle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rq.utils import utcformat, utcparse

from shedder.engine.jobs import time_of
from tests.rq.given import enqueue
from tests.rq.status.told import lane

if TYPE_CHECKING:
    from redis import Redis


@pytest.mark.parametrize("text", ["2026-11-28T23:00:49.000123Z", "2019-01-02T03:04:05Z"])
def test_a_time_is_read_as_rq_reads_it(text: str) -> None:
    """With and without a fraction of a second, as RQ writes it now and wrote it once."""
    assert utcparse(text) == time_of(text.encode()) == time_of(text)


def test_what_rq_writes_is_read() -> None:
    """The time of a job that was enqueued now is what RQ has stored."""
    now = datetime.now(UTC)
    assert timedelta() == now - (time_of(utcformat(now)) or now)


@pytest.mark.parametrize(
    "text", [None, b"", "", "yesterday", "2026-13-45T00:00:00Z", b"\xff\xfe", "0000-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_none(text: bytes | str | None) -> None:
    """A field that is missing, or that somebody has damaged, tells no time."""
    assert time_of(text) is None


def test_status_tells_no_age_of_it(redis: Redis) -> None:
    """A lane whose first job has no readable time has no age, and everything else."""
    (job,) = enqueue(redis, "mail")
    redis.hset(job.key, "enqueued_at", "yesterday")
    assert (1, None) == (lane(redis, "mail").waiting, lane(redis, "mail").oldest)
