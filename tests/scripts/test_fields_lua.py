"""Scripts read the same fields of jobs whichever way the server allows."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from rq.defaults import RQ_KEY_PREFIX

from tests.cluster import without_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

LIBRARY = files("shedder").joinpath("lua/lib/fields.lua").read_text(encoding="utf-8")
DRIVER = """
local first, count = tonumber(ARGV[2]), tonumber(ARGV[3])
local flat = read_fields(KEYS[1], first, count, ARGV[1], {'note', 'at'})
for index, value in ipairs(flat) do flat[index] = value or '-' end
return flat
"""
SCRIPT = f"#!lua flags=no-writes\n{LIBRARY}{DRIVER}"


@pytest.fixture
def restricted(server: EmbeddedServer, redis: Redis) -> Iterator[Redis]:
    """An account that may read keys of RQ only, to which SORT refuses patterns."""
    redis.acl_setuser("rq-only", enabled=True, nopass=True, commands=["+@all"], keys=[f"{RQ_KEY_PREFIX}:*"])
    client = server.client()
    client.execute_command("AUTH", "rq-only", "")
    yield client
    client.close()
    redis.acl_deluser("rq-only")


def filled(redis: Redis, prefix: str) -> None:
    redis.rpush(f"{RQ_KEY_PREFIX}:list", "b", "a", "gone", "text", "c")
    redis.hset(f"{prefix}a", mapping={"note": "n", "at": "1"})
    redis.hset(f"{prefix}b", mapping={"at": "2"})
    redis.set(f"{prefix}text", "no hash")
    redis.hset(f"{prefix}c", mapping={"note": ""})


ALL = ["b", "-", "2", "a", "n", "1", "gone", "-", "-", "text", "-", "-", "c", "", "-"]


def fields(redis: Redis, prefix: str, first: int = 0, count: int = 9) -> list[str]:
    found: Any = redis.eval(SCRIPT, 1, f"{RQ_KEY_PREFIX}:list", prefix, first, count)
    return [part.decode() for part in found]


def test_a_window_of_a_list_is_read_in_order(redis: Redis) -> None:
    """The window begins and ends where it is asked to, as a range of the list does."""
    filled(redis, f"{RQ_KEY_PREFIX}:job:")

    assert ALL[3:9] == fields(redis, f"{RQ_KEY_PREFIX}:job:", 1, 2)
    assert [] == fields(redis, f"{RQ_KEY_PREFIX}:job:", 5)


def test_one_command_reads_all(redis: Redis, server: EmbeddedServer) -> None:
    """Missing jobs, missing fields and keys of another type are read as missing."""
    filled(redis, f"{RQ_KEY_PREFIX}:job:")
    redis.config_resetstat()

    assert ALL == fields(redis, f"{RQ_KEY_PREFIX}:job:")
    assert "cmdstat_hmget" not in redis.info("commandstats")


def test_an_account_that_may_not_read_every_key(redis: Redis, restricted: Redis) -> None:
    """What SORT may not do is done job by job, with the same answer."""
    filled(redis, f"{RQ_KEY_PREFIX}:job:")
    redis.config_resetstat()

    assert ALL == fields(restricted, f"{RQ_KEY_PREFIX}:job:")
    assert ALL[3:9] == fields(restricted, f"{RQ_KEY_PREFIX}:job:", 1, 2)
    assert 7 == redis.info("commandstats")["cmdstat_hmget"]["calls"]


@without_cluster
def test_a_prefix_with_a_star(redis: Redis) -> None:
    """A star in RQ's prefix, which SORT would replace by an id, is taken as it stands."""
    filled(redis, "rq*:job:")

    assert ALL == fields(redis, "rq*:job:")
