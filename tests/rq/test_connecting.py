"""What the process of a job finds out again when it connects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import redis as redis_py

from shedder.rq import SimpleWorker
from tests.servers import patient

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

driver_info = pytest.importorskip("redis.driver_info", reason="an older redis-py has none")


def _not_again() -> NoReturn:
    raise AssertionError("looked up again")


def test_the_version_of_redis_py_is_looked_up_once(
    server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New connections of a worker on a URL know the driver's version without reading it again."""
    client = redis_py.Redis.from_url(patient(server.url))
    SimpleWorker(["mail"], connection=client)
    monkeypatch.setattr("redis.utils.get_lib_version", _not_again)
    connection: Any = client.connection_pool.make_connection()
    assert ("redis-py", redis_py.__version__) == (
        connection.driver_info.formatted_name, connection.driver_info.lib_version,
    )  # fmt: skip
    client.close()


@pytest.mark.parametrize("given", [None, driver_info.DriverInfo(name="ours")])
def test_what_the_user_said_of_the_driver_stays(server: EmbeddedServer, redis: Redis, given: Any) -> None:
    """A pool that was told what to call itself, or to say nothing, is left as it is."""
    client = redis_py.Redis.from_url(patient(server.url), driver_info=given)
    SimpleWorker(["mail"], connection=client)
    assert given is client.connection_pool.connection_kwargs["driver_info"]
    client.close()
