"""The Redis server that a call means, and whether it answers.

The order is that of RQ's own command line, so that the same settings lead to the same server. This
module loads redis-py: it is imported when a command needs its server.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from inspect import signature
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote_plus

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
        InvalidInput: its URL or settings have an option that no connection takes.
    """
    answers: list[BaseException | None] = []
    # In a thread, because neither looking up a name nor a list of addresses has a time limit.
    thread = Thread(target=_ping, args=(server.client, answers), daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers or isinstance(answers[0], redis.TimeoutError):
        over_tls = " over TLS" if _is_over_tls(server.client.connection_pool) else ""
        raise RedisUnreachable(server.address) from TimeoutError(f"no answer{over_tls}")
    if answers[0] is not None:
        _raise_refusal(answers[0], server.address)


def is_loading(error: RedisUnreachable) -> bool:
    """Whether `greet` raised `error` because the server still loads its data."""
    return isinstance(error.__cause__, redis.exceptions.BusyLoadingError)


def _ping(client: redis.Redis, answers: list[BaseException | None]) -> None:
    try:
        client.ping()
        answers.append(None)
    except Exception as error:  # noqa: BLE001 - the caller raises it again, in its own thread
        answers.append(error)


def _raise_refusal(error: BaseException, address: str) -> None:
    if isinstance(error, redis.AuthenticationError):
        raise AccessRefused(
            f"Redis at {address} refuses the user or the password; put them into the URL, what they have of "
            "/ ? # @ : % percent-encoded: redis://user:password@host:6379/0"
        ) from error
    if isinstance(error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError | OSError | UnicodeError):
        raise RedisUnreachable(address) from error
    # A server that refuses a PING answers; what else it refuses shows when it is asked for.
    if isinstance(error, redis.ResponseError):
        return
    if isinstance(error, redis.RedisError | TypeError | ValueError):
        said = f" ({error})" if not isinstance(error, ValueError) else ""
        says = f"an option of the connection to Redis at {address} is not accepted{said}; correct its URL or settings"
        raise InvalidInput(name="--url", value=address, accepted=ACCEPTED_URL, says=says) from None
    raise error


def _from_url(url: str, source: str) -> Server:
    # No message holds a part of such a URL, and no error of redis-py or urllib stands behind it, whose
    # text does: where the password ends that was not percent-encoded, nobody can tell.
    if why := _why_unusable(url.strip()):
        raise _unusable(source, why)
    try:
        client = redis.Redis.from_url(url, **_limits())
    except ValueError:
        raise _unusable(source, _NOT_ENCODED) from None
    return _server(client)


def _unusable(source: str, why: str) -> InvalidInput:
    says = f"the URL of {source} is not usable: {why}; use {ACCEPTED_URL}"
    return InvalidInput(name=source, value="", accepted=ACCEPTED_URL, says=says)


_NOT_ENCODED = (
    "what its user or password has of / ? # [ ] % or of blanks must be percent-encoded, such as %2F %3F %23 %5B %5D %25"
)
_HOST = re.compile(r"[\w.%-]*|\[[\w.:%]+\]")


def _why_unusable(url: str) -> str:
    """What is wrong with a URL, in words that hold no part of it; empty when nothing is known to be.

    redis-py takes what it does not understand for something else: a path that is no number for
    database 0, the beginning of a password for a port, its end for an option.
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    network, slash, path = place.partition("/")
    where = network.rpartition("@")[2]
    host, colon, port = where.rpartition(":") if re.search(r":[^\]]*$", where) else (where, "", "")
    is_socket, options = scheme == "unix", [each.partition("=")[0] for each in query.split("&") if query]
    are_known = all(unquote_plus(each) in _known_options() for each in options)
    wrong = {
        "it begins with none of redis://, rediss:// and unix://": scheme not in ("redis", "rediss", "unix"),
        _NOT_ENCODED: "#" in rest or bool(re.search(r"[\x00-\x1f]", rest)) or ("@" in query and not are_known)
        or ("@" in path and (not is_socket or bool(where))),
        "the path of a socket begins with a slash, as in unix:///path": is_socket and not (slash and not where),
        "its host is no name of a host": not _HOST.fullmatch(host),
        "its port is no number": bool(colon and port) and not (port.isdecimal() and int(port) < 65536),
        "its database is no number": not is_socket and bool(path.strip("/")) and not path.strip("/").isdecimal(),
        "it has an option that no connection takes": not are_known,
    }  # fmt: skip
    return next((why for why, is_so in wrong.items() if is_so), "")


@cache
def _known_options() -> frozenset[str]:
    """What a URL may set: the arguments of redis-py's connections and pools."""
    kinds = (connection.SSLConnection, connection.UnixDomainSocketConnection, redis.ConnectionPool)
    made_by = [vars(kind).get("__init__") for each in kinds for kind in each.__mro__]
    return frozenset(name for each in made_by if callable(each) for name in signature(each).parameters)


def _read_module(name: str) -> Mapping[str, Any]:
    from rq.cli.helpers import read_config_file

    sys.path.append(".")  # as RQ's own command line does
    try:
        settings: Mapping[str, Any] = read_config_file(name)
    except ImportError as error:
        if error.name and error.name != name.partition(".")[0] and not name.startswith(f"{error.name}."):
            raise _broken(name, error) from None
        accepted = "a module that can be imported from here, such as settings"
        raise InvalidInput(name="--config", value=name, accepted=accepted) from None
    except Exception as error:
        if isinstance(error, FileNotFoundError) and error.filename is None:
            raise  # there is no working directory any more
        raise _broken(name, error) from None
    return settings


def _broken(name: str, error: Exception) -> InvalidInput:
    # neither its message nor its traceback, which shows lines of the module: passwords stand there
    says = (
        f"--config: importing the module {name} fails with {type(error).__name__}; "
        f"`python -c 'import {name}'` shows where"
    )
    return InvalidInput(name="--config", value=name, accepted="a module that can be imported", says=says)


def _from_settings(settings: Mapping[str, Any], *, source: str) -> Server:
    from rq.cli.helpers import get_redis_from_config

    if url := settings.get("REDIS_URL"):
        return _from_url(url, f"REDIS_URL of {source}")
    if sentinel := settings.get("SENTINEL"):
        settings = {**settings, "SENTINEL": _limited(sentinel)}
    for place in sentinel.get("INSTANCES", ()) if sentinel else [(settings.get("REDIS_HOST", "localhost"),
                                                                 settings.get("REDIS_PORT", 6379))]:  # fmt: skip
        _check_place(*place, source=source, name="SENTINEL" if sentinel else "REDIS_HOST")
    try:
        client = get_redis_from_config(settings, _client)
    except ValueError as error:
        raise ShedderError(f"{source} names no usable server: {error}; correct it") from error
    return _server(client, _sentinel_address(sentinel) if sentinel else "")


def _check_place(host: object, port: object, *, source: str, name: str) -> None:
    """Refuse what is no host and port; a URL in their place may hold a password."""
    if not (isinstance(host, str) and (_HOST.fullmatch(host) or _IPV6.fullmatch(host))):
        says = f"{name} of {source} has what is no name of a host; a URL belongs into REDIS_URL"
    elif not str(port).isdecimal() or int(str(port)) > 65535:
        says = f"{'REDIS_PORT' if name == 'REDIS_HOST' else name} of {source} has a port that is no number"
    else:
        return
    raise InvalidInput(name=name, value="", accepted="a host and a port", says=says)


_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(%\w+)?")


def _server(client: redis.Redis, address: str = "") -> Server:
    # A URL written for an application may ask for text; the facade reads bytes.
    client.connection_pool.connection_kwargs["decode_responses"] = False
    for pool in _pools(client):
        _check_files(pool)
        _introduce_only_over_tls(pool)
    return Server(client, address or address_of(client))


def _pools(client: redis.Redis) -> list[Any]:
    """The pool of a client, and those of the sentinels that it asks."""
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return [client.connection_pool, *(each.connection_pool for each in (manager.sentinels if manager else ()))]


def secrets_of(client: redis.Redis) -> frozenset[str]:
    """The passwords of `client`, of its sentinels and of its key, which no output may hold."""
    names = ("password", "ssl_password")
    found = [pool.connection_kwargs.get(name) for pool in _pools(client) for name in names]
    return frozenset(each for each in found if isinstance(each, str) and each)


def _check_files(pool: Any) -> None:
    """Refuse files for TLS that cannot be read: the connection would only say that there is no such file."""
    if not _is_over_tls(pool):
        return
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_ca_path"):
        path = pool.connection_kwargs.get(name)
        try:
            if path:
                Path(path).stat()
        except OSError as error:
            why = error.strerror or type(error).__name__
            says = f"the file {path} of {name}, which the connection over TLS needs, cannot be read: {why}"
            raise InvalidInput(name=name, value=path, accepted="a file that can be read", says=says) from None


def _introduce_only_over_tls(pool: redis.ConnectionPool) -> None:
    """Keep redis-py from introducing itself, which takes two round trips.

    Over TLS it does: behind the handshake of TLS 1.3 the server sends session tickets, which are
    read with the first reply. redis-py takes bytes that nobody has read for a broken connection.
    """
    if not _is_over_tls(pool):
        takes = signature(connection.AbstractConnection.__init__).parameters
        names = ("driver_info",) if "driver_info" in takes else ("lib_name", "lib_version")
        pool.connection_kwargs.update(dict.fromkeys(names))


def _is_over_tls(pool: Any) -> bool:
    return issubclass(pool.connection_class, connection.SSLConnection)


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
