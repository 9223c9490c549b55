"""How does a background task talk to the application's server without being in its way?"""

from __future__ import annotations

import redis
import redis.backoff
import redis.retry
import redis.sentinel


def own_client(connection: redis.Redis, *, patience: float) -> redis.Redis:
    """A client to the server of `connection`, with connections of its own.

    It gives up after `patience` seconds and does not try again; the application's client, its
    timeouts and the size of its pool stay as they are.
    """
    pool = connection.connection_pool
    settings = {
        **pool.connection_kwargs,
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        "decode_responses": False,
    }
    if isinstance(pool, redis.sentinel.SentinelConnectionPool):
        settings.pop("connection_pool", None)
        own: redis.ConnectionPool = redis.sentinel.SentinelConnectionPool(
            pool.service_name, pool.sentinel_manager, **settings
        )
    else:
        own = redis.ConnectionPool(connection_class=pool.connection_class, **settings)
    return redis.Redis.from_pool(own)  # whose close() closes the pool, too
