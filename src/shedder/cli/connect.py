"""The Redis server that a call means, and whether it answers.

The order is that of RQ's own command line, so that the same settings lead to the same server. This
module loads redis-py: it is imported when a command needs its server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import redis
from redis import backoff, connection, retry

from shedder.api.shedder import Shedder
from shedder.errors import InvalidInput, RedisUnreachable, ShedderError
from shedder.store.store import address_of

CONNECT_SECONDS = 1.5
ANSWER_SECONDS = 2.5

GREETING_SECONDS = 1.5
"""The first answer of all, names of hosts and sentinels included; with the start of Python and its
imports a server that hangs is so reported within three seconds."""

URL_VARIABLES = ("SHEDDER_REDIS_URL", "RQ_REDIS_URL")
ACCEPTED_URL = "redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket?db=0"
_RQ_VARIABLES = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD", "REDIS_SSL",
                 "REDIS_SSL_CA_CERTS", "REDIS_SSL_CERT_REQS")  # fmt: skip


class AccessRefused(ShedderError):
    """Redis answers, and does not let us in."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was named somewhere.

    Attributes:
        client: Talks to it; gives up after seconds and retries nothing.
        address: Where it is, without user or password.
    """

    client: redis.Redis
    address: str


def server_for(*, url: str | None, config: str | None) -> Server:
    """The server that the options and the environment name.

    The first of these that says anything: `url`, `SHEDDER_REDIS_URL`, `RQ_REDIS_URL`, `config`,
    `RQ_CONFIG`, `REDIS_URL`, `REDIS_HOST` and those beside it, localhost.

    Raises:
        InvalidInput: the URL or the settings module is not usable.
    """
    candidates = [(url, "--url"), *((os.environ.get(name), name) for name in URL_VARIABLES)]
    for text, source in candidates:
        if text:
            return _from_url(text, source)
    if config := config or os.environ.get("RQ_CONFIG"):
        return _from_settings(_read_module(config), source=f"--config {config}")
    known = {name: os.environ[name] for name in _RQ_VARIABLES if name in os.environ}
    return _from_settings(known, source="the environment")


def connect(server: Server, *, seconds: float | None = None) -> Shedder:
    """`Shedder` on a server that has answered within `seconds`; raises as `greet` does.

    Args:
        server: which one.
        seconds: usually `GREETING_SECONDS`, or what the URL or the settings module give a connection, if that is more.
    """
    if seconds is None:
        asked = server.client.connection_pool.connection_kwargs.get("socket_connect_timeout") or 0.0
        seconds = max(GREETING_SECONDS, asked)
    greet(server, seconds=seconds)
    return Shedder(server.client)


def url_for(*, url: str | None) -> str | None:
    """The URL that `server_for` would use, None when it would look into settings."""
    return next(filter(None, [url, *map(os.environ.get, URL_VARIABLES)]), None)


def greet(server: Server, *, seconds: float = GREETING_SECONDS) -> None:
    """Return as soon as the server has answered.

    Raises:
        RedisUnreachable: it has not within `seconds`.
        AccessRefused: it wants another user or password.
        InvalidInput: the URL has options that no connection takes.
    """
    answers: list[BaseException | None] = []
    # In a thread, because neither looking up a name nor a list of addresses has a time limit.
    thread = Thread(target=_ping, args=(server.client, answers), daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise RedisUnreachable(server.address) from TimeoutError("no answer")
    if answers[0] is not None:
        _raise_refusal(answers[0], server.address)


def _ping(client: redis.Redis, answers: list[BaseException | None]) -> None:
    try:
        client.ping()
        answers.append(None)
    except Exception as error:  # noqa: BLE001 - the caller raises it again, in its own thread
        answers.append(error)


def _raise_refusal(error: BaseException, address: str) -> None:
    if isinstance(error, redis.AuthenticationError):
        raise AccessRefused(
            f"Redis at {address} refuses the user or the password; put them into the URL: "
            "redis://user:password@host:6379/0"
        ) from error
    if isinstance(error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError | OSError):
        raise RedisUnreachable(address) from error
    if isinstance(error, TypeError):
        raise InvalidInput(name="--url", value=address, accepted=ACCEPTED_URL) from error
    # A server that refuses a PING answers; what else it refuses shows when it is asked for.
    if not isinstance(error, redis.ResponseError):
        raise error


def _from_url(url: str, source: str) -> Server:
    try:
        _check_database(url)
        client = redis.Redis.from_url(url, **_limits())
    except ValueError as error:
        shown = RedisUnreachable(url).address
        raise InvalidInput(name=source, value=shown, accepted=ACCEPTED_URL) from error
    return _server(client)


def _check_database(url: str) -> None:
    # redis-py takes a path that is no number for database 0, which may be somebody else's.
    parts = urlsplit(url)
    is_number = parts.path.strip("/").isdecimal()
    if parts.scheme in ("redis", "rediss") and parts.path.strip("/") and not is_number:
        raise ValueError("the path of the URL is no number")


def _read_module(name: str) -> Mapping[str, Any]:
    from rq.cli.helpers import read_config_file

    sys.path.append(".")  # as RQ's own command line does
    try:
        settings: Mapping[str, Any] = read_config_file(name)
    except ImportError as error:
        accepted = "a module that can be imported from here, such as settings"
        raise InvalidInput(name="--config", value=name, accepted=accepted) from error
    return settings


def _from_settings(settings: Mapping[str, Any], *, source: str) -> Server:
    from rq.cli.helpers import get_redis_from_config

    if url := settings.get("REDIS_URL"):
        return _from_url(url, f"REDIS_URL of {source}")
    if sentinel := settings.get("SENTINEL"):
        settings = {**settings, "SENTINEL": _limited(sentinel)}
    try:
        client = get_redis_from_config(settings, _client)
    except ValueError as error:
        raise ShedderError(f"{source} names no usable server: {error}; correct it") from error
    return _server(client, _sentinel_address(sentinel) if sentinel else "")


def _server(client: redis.Redis, address: str = "") -> Server:
    pool = client.connection_pool
    # A URL written for an application may ask for text; the facade reads bytes.
    pool.connection_kwargs["decode_responses"] = False
    manager = getattr(pool, "sentinel_manager", None)
    for each in (client, *(manager.sentinels if manager else ())):
        _introduce_only_over_tls(each.connection_pool)
    return Server(client, address or address_of(client))


def _introduce_only_over_tls(pool: redis.ConnectionPool) -> None:
    """Keep redis-py from introducing itself, which takes two round trips.

    Over TLS it does: behind the handshake of TLS 1.3 the server sends session tickets, which are
    read with the first reply. redis-py takes bytes that nobody has read for a broken connection.
    """
    if not issubclass(pool.connection_class, connection.SSLConnection):
        takes = signature(connection.AbstractConnection.__init__).parameters
        names = ("driver_info",) if "driver_info" in takes else ("lib_name", "lib_version")
        pool.connection_kwargs.update(dict.fromkeys(names))


def _client(**settings: Any) -> redis.Redis:
    return redis.Redis(**settings, **_limits())


def _limits(*, connect: float = CONNECT_SECONDS, answer: float = ANSWER_SECONDS) -> dict[str, Any]:
    return {
        "socket_connect_timeout": connect,
        "socket_timeout": answer,
        "retry": retry.Retry(backoff.NoBackoff(), 0),
        "protocol": 2,  # a round trip less than 3, of which a command has no use
    }


def _limited(sentinel: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of RQ's `SENTINEL` with time limits, where they have none."""
    share = 0.75 * GREETING_SECONDS / max(1, len(sentinel.get("INSTANCES", ())))
    return {
        **sentinel,
        "SOCKET_TIMEOUT": sentinel.get("SOCKET_TIMEOUT") or ANSWER_SECONDS,
        "CONNECTION_KWARGS": _limits() | {**sentinel.get("CONNECTION_KWARGS", {})},
        "SENTINEL_KWARGS": _limits(connect=share, answer=share) | {**sentinel.get("SENTINEL_KWARGS", {})},
    }


def _sentinel_address(sentinel: Mapping[str, Any]) -> str:
    places = [f"{host}:{port}" for host, port in sentinel.get("INSTANCES", [("localhost", 26379)])]
    return f"{sentinel.get('MASTER_NAME', 'mymaster')} of the sentinels {', '.join(places)}"
