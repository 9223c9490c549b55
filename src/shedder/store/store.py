"""Commands as Lua scripts, alone or as steps of an operation, and the store that sends them.

One file in `lua/` is one atomic command. What several share stands in `lua/lib/`, and replaces the
line `-- include lib/name.lua` of a file. Functions that nothing calls are left out, because the
server makes each function anew at every call. The store translates the errors of redis-py.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Generic, NoReturn, TypeVar
from uuid import uuid4

import redis.asyncio
import redis.asyncio.sentinel
from redis import Redis, client, exceptions, sentinel

from shedder.errors import (
    InvalidInput,
    RecordUnreadable,
    RedisUnreachable,
    ServerBusy,
    ServerTooOld,
    ShedderError,
    WrongClusterNode,
)
from shedder.store.clients import keep_after_fork
from shedder.store.keys import Keys, kind_of

T = TypeVar("T")

_COMMAND_OF_PIPELINE = re.compile(r"Command # \d+ \(\S+ ([^ )]+)")

_BUSY = re.compile(r"(^|: )BUSY ")
"""In a reply of its own, and behind the name of a pipeline's command."""

_CHANGED_BY_HAND = "somebody changed it by hand: rename it away, and shedder goes on without what it held"

Argument = str | bytes | int | float

Progress = Callable[[int, int], None]
"""Is told how many jobs were looked at, and how many there are."""

SCRIPTS_AT_ONCE = 8
"""Scripts that one round trip carries at most; each of those that come in numbers takes about a millisecond."""

Pipeline = client.Pipeline
"""What a question is put on: plain commands that are sent together."""


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One atomic command: a decision made by a feature, not yet sent.

    Attributes:
        script: Name of the Lua script.
        keys: The keys that it touches, in the script's order.
        args: Its arguments, in the script's order.
        parse: Turns the reply into a typed value.
    """

    script: str
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    parse: Callable[[Any], T]


def new_id() -> str:
    """An id that nothing else has."""
    return uuid4().hex


@dataclass(slots=True)
class Operation:
    """One change in one step or in several, each of which the server does once.

    Attributes:
        on_progress: Is told how far it is.
        total: Jobs that it has to look at.
        id: Its id, by which the server knows a step that is sent again.
        step: Number of its last step.
        looked_at: Jobs that it has looked at.
    """

    on_progress: Progress | None = None
    total: int = 0
    id: str = field(default_factory=new_id)
    step: int = 0
    looked_at: int = 0

    def next_step(self) -> int:
        """Begin the next step; its number."""
        self.step += 1
        return self.step

    def count(self, jobs: int) -> None:
        """Tell that `jobs` more were looked at."""
        self.looked_at += jobs
        if self.on_progress is not None:
            self.on_progress(min(self.looked_at, self.total), self.total)


class Store:
    """Sends commands on the user's own connection, which it leaves as it is.

    Args:
        connection: The client.
        keys: The names of the keys on that server.

    Raises:
        InvalidInput: the client is one for asyncio.
    """

    def __init__(self, connection: Redis, keys: Keys) -> None:
        check_client(connection)
        keep_after_fork(connection)
        self.connection = connection
        self.keys = keys

    def run(self, command: Command[T]) -> T:
        """The parsed reply of `command`.

        Raises:
            RedisUnreachable: no answer from the server.
            ServerBusy: it runs a script of somebody else, and serves nobody.
            ServerTooOld: it does not know script flags.
            WrongClusterNode: another node has the keys, or no single one has.
            RecordUnreadable: a stored record is damaged or of a newer shedder.
            ShedderError: any other refusal by the server.
        """
        try:
            return self.execute(command)
        except exceptions.RedisError as error:
            raise_translated(error, self.connection, keys=command.keys)

    def execute(self, command: Command[T]) -> T:
        """The parsed reply of `command`, where a host expects redis-py's own errors."""
        try:
            reply = self.connection.execute_command(*evalsha(command))
        except exceptions.NoScriptError:
            reply = self._load_and_run(command)
        return command.parse(reply)

    def execute_last(self, pipeline: Pipeline, command: Command[T]) -> T:
        """The parsed reply of `command`, sent as the last one of `pipeline` in one round trip."""
        pipeline.execute_command(*evalsha(command))
        try:
            reply = pipeline.execute()[-1]
        except exceptions.NoScriptError:
            reply = self._load_and_run(command)
        return command.parse(reply)

    def read_and_run(
        self, ask: Callable[[Any], Any], command: Command[T], *, along: Command[Any] | None = None
    ) -> tuple[list[Any], T]:
        """The replies to what `ask` asks, then the parsed reply of `command`: one round trip.

        `along` goes with them, and what becomes of it matters to nobody.

        Raises:
            ShedderError: as `run`.
        """
        try:
            with self.connection.pipeline(transaction=False) as pipeline:
                if along is not None:  # its text, since nobody would send it again to a server that has lost it
                    pipeline.execute_command("EVAL", load_script(along.script).text, *evalsha(along)[2:])
                ask(pipeline)
                pipeline.execute_command(*evalsha(command))
                first = 0 if along is None else 1
                asked = list(pipeline.command_stack)[first:]
                *replies, reply = pipeline.execute(raise_on_error=False)[first:]
                if isinstance(reply, exceptions.NoScriptError):
                    pipeline.raise_first_error(asked[:-1], replies)
                    reply = self._load_and_run(command)
                pipeline.raise_first_error(asked, [*replies, reply])
            return replies, command.parse(reply)
        except exceptions.RedisError as error:
            raise_translated(error, self.connection, keys=command.keys)

    def read(self, ask: Callable[[Any], Any]) -> list[Any]:
        """The replies to what `ask` puts on a pipeline, in one round trip; scripts it puts there with `add`.

        Of many scripts a few go in each round trip: a server carries out what came together before it
        serves anybody else.

        Raises:
            RedisUnreachable: no answer from the server.
            ServerBusy: it runs a script of somebody else, and serves nobody.
            ShedderError: any refusal by the server.
        """
        try:
            return self._answers(ask)
        except exceptions.RedisError as error:
            raise_translated(error, self.connection)

    def run_all(self, commands: Sequence[Command[T]]) -> list[T]:
        """The parsed replies of `commands`, a few of which go in each round trip.

        All of them are sent, also when the server refuses one.

        Raises:
            ShedderError: as `run`, of the first that was refused.
        """
        try:
            replies = self._answers(lambda ask: [self.add(ask, command) for command in commands])
        except exceptions.RedisError as error:
            raise_translated(error, self.connection, keys=tuple(key for each in commands for key in each.keys))
        return [command.parse(reply) for command, reply in zip(commands, replies, strict=True)]

    def _answers(self, ask: Callable[[Any], Any]) -> list[Any]:
        with self.connection.pipeline(transaction=False) as pipeline:
            ask(pipeline)
            asked = list(pipeline.command_stack)
            found = []
            for part in _in_parts(asked):
                pipeline.command_stack = part
                found += pipeline.execute(raise_on_error=False)
            replies = [self._again(*each) for each in zip(asked, found, strict=True)]
            pipeline.raise_first_error(asked, replies)
            return replies

    @staticmethod
    def add(pipeline: Any, command: Command[Any]) -> None:
        """Put the script of `command` on a pipeline that `read` sends; the reply comes as the server gave it."""
        pipeline.execute_command(*evalsha(command))

    def _again(self, asked: Any, reply: Any) -> Any:
        """The reply to a script that the server did not know, else `reply`."""
        if not isinstance(reply, redis.exceptions.NoScriptError):
            return reply
        _, sha, *arguments = asked[0]
        return self.connection.execute_command("EVAL", _TEXTS[sha], *arguments)

    def _load_and_run(self, command: Command[Any]) -> Any:
        _, _, *arguments = evalsha(command)
        try:
            return self.connection.execute_command("EVAL", load_script(command.script).text, *arguments)
        except exceptions.ResponseError as error:
            if _is_too_old(error):
                raise ServerTooOld(_version(self.connection)) from error
            raise


def _in_parts(asked: list[Any]) -> Iterator[list[Any]]:
    """The commands in their order, with at most `SCRIPTS_AT_ONCE` scripts in each part."""
    part: list[Any] = []
    scripts = 0
    for each in asked:
        is_script = each[0][0] == "EVALSHA"
        if is_script and scripts == SCRIPTS_AT_ONCE:
            yield part
            part, scripts = [], 0
        part.append(each)
        scripts += is_script
    yield part


class AsyncStore:
    """Sends commands on the user's own client of `redis.asyncio`; nothing in it holds the event loop.

    Args:
        connection: The client.
        keys: The names of the keys on that server.

    Raises:
        InvalidInput: the client is not one for asyncio.
    """

    def __init__(self, connection: redis.asyncio.Redis, keys: Keys) -> None:
        check_async_client(connection)
        self.connection = connection
        self.keys = keys

    async def execute(self, command: Command[T]) -> T:
        """The parsed reply of `command`, where a host expects redis-py's own errors."""
        words = evalsha(command)
        try:
            reply = await self.connection.execute_command(*words)
        except exceptions.NoScriptError:
            reply = await self._load_and_run(command.script, words[2:])
        return command.parse(reply)

    async def field(self, key: str, name: str) -> bytes | str | None:
        """The field `name` of the hash `key`; None when there is none.

        Raises:
            RedisUnreachable: no answer from the server.
            ShedderError: any refusal by the server.
        """
        try:
            found: bytes | str | None = await self.connection.execute_command("HGET", key, name)
        except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
            raise RedisUnreachable(address_of(self.connection)) from error
        except exceptions.RedisError as error:
            raise ShedderError(f"Redis refused the command: {error}") from error
        return found

    async def _load_and_run(self, script: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return await self.connection.execute_command("EVAL", load_script(script).text, *arguments)
        except exceptions.ResponseError as error:
            if _is_too_old(error):
                raise ServerTooOld(_version_in(await self.connection.info("server"))) from error
            raise


def check_client(connection: object) -> None:
    """Refuse a client of `redis.asyncio` where the other kind belongs.

    Raises:
        InvalidInput: it is one.
    """
    if isinstance(connection, _ASYNC_CLIENTS):
        accepted = "a redis.Redis, and give the asyncio client to a queue as async_connection"
        raise InvalidInput(name="connection", value=_kind_of_client(connection), accepted=accepted)


def check_async_client(connection: object) -> None:
    """Refuse what is no client of `redis.asyncio`.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(connection, redis.asyncio.Redis):
        accepted = "a redis.asyncio.Redis for the same server"
        raise InvalidInput(name="async_connection", value=_kind_of_client(connection), accepted=accepted)


_ASYNC_CLIENTS = (redis.asyncio.Redis, redis.asyncio.RedisCluster)


def _kind_of_client(connection: object) -> str:
    # not the client itself, whose text has the address and may have the user
    kind = type(connection)
    return f"{kind.__module__}.{kind.__qualname__}"


def evalsha(command: Command[Any]) -> tuple[Any, ...]:
    """The words of `command`, for a server that knows its script."""
    keys = command.keys
    return ("EVALSHA", load_script(command.script).sha, *in_text((len(keys), *keys, *command.args)))


def in_text(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a command, with its numbers written out.

    hiredis-py writes numbers by `PyObject_Repr`, which runs the handlers of signals that have just
    come, and does not look whether that failed (3.5.0, `src/pack.c`). A handler that raises, such
    as Ctrl-C's, or RQ's when an idle worker is told to stop, is then a segmentation fault.
    """
    return tuple(repr(each) if type(each) is int or isinstance(each, float) else each for each in arguments)


def raise_translated(error: exceptions.RedisError, connection: Redis, *, keys: tuple[str, ...] = ()) -> NoReturn:
    """Raise the error of ours that says what `error` means for the user of a command on `keys`."""
    raise _translated(error, connection, keys) from error


def _translated(error: exceptions.RedisError, connection: Redis, keys: tuple[str, ...]) -> ShedderError:
    text = str(error)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
        return RedisUnreachable(address_of(connection))
    if _BUSY.search(text):
        kill = "FUNCTION KILL" if "FUNCTION KILL" in text else "SCRIPT KILL"
        return ServerBusy(address_of(connection), ends_with=kill)
    if "UNREADABLE" in text:
        lane = text.partition("UNREADABLE ")[2]  # whose name may hold blanks
        return RecordUnreadable(f"of lane {lane}", reason="it is damaged or of a newer shedder")
    if "WRONGTYPE" in text:
        return _of_another_type(text, connection, keys)
    if _is_too_old(error):
        return ServerTooOld(_version(connection))
    if isinstance(error, exceptions.MovedError):
        return WrongClusterNode(f"{error.host}:{error.port}")
    if isinstance(error, exceptions.ClusterCrossSlotError):
        return WrongClusterNode("")
    return ShedderError(f"Redis refused the command: {text}")


def address_of(connection: Redis | redis.asyncio.Redis) -> str:
    """Where `connection` goes to, without user or password."""
    pool = connection.connection_pool
    if isinstance(pool, _SENTINEL_POOLS):
        return _address_of_master(pool)
    settings = pool.connection_kwargs
    if settings.get("path"):
        return str(settings["path"])
    return f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"


_SENTINEL_POOLS = (sentinel.SentinelConnectionPool, redis.asyncio.sentinel.SentinelConnectionPool)


def _address_of_master(
    pool: sentinel.SentinelConnectionPool | redis.asyncio.sentinel.SentinelConnectionPool,
) -> str:
    sentinels = [address_of(each) for each in pool.sentinel_manager.sentinels]
    return f"{pool.service_name} of the sentinels {', '.join(sentinels)}"


def _of_another_type(text: str, connection: Redis, keys: tuple[str, ...]) -> RecordUnreadable:
    """Names the key that somebody has changed by hand, as far as it can be found out."""
    in_pipeline = _COMMAND_OF_PIPELINE.search(text)
    for key in (in_pipeline.group(1),) if in_pipeline else keys:
        found, kind = _type(connection, key), kind_of(key)
        if found not in ("none", kind) and kind:
            said = f"it is of type {found}, and shedder keeps a {kind} there"
            return RecordUnreadable(key, reason=f"{said}; {_CHANGED_BY_HAND}")
    return RecordUnreadable(
        in_pipeline.group(1) if in_pipeline else "of a queue",
        reason=f"it is of another type than RQ or shedder made it; {_CHANGED_BY_HAND}",
    )


def _type(connection: Redis, key: str) -> str:
    try:
        found: Any = connection.type(key)
    except exceptions.RedisError:
        return "none"
    return found.decode() if isinstance(found, bytes) else str(found)


def _is_too_old(error: Exception) -> bool:
    # the first line of each script names its flags, which an older server takes for Lua
    return "unexpected symbol near '#'" in str(error) or "Unexpected flag" in str(error)


def _version(connection: Redis) -> str:
    try:
        found: Any = connection.info("server")
    except exceptions.RedisError:
        return "unknown"
    return _version_in(found)


def _version_in(found: Any) -> str:
    return str(found.get("valkey_version") or found.get("redis_version"))


_TEXTS: dict[str, str] = {}
"""By SHA-1, the scripts that were loaded."""

_INCLUDE = re.compile(r"^-- include (lib/[a-z_]+\.lua)$", re.MULTILINE)
_REMARK = re.compile(r"^\s*--.*\n", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+)\(.*\n(?:(?: .*)?\n)*end\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script as it is sent.

    Attributes:
        name: The file's name without its ending.
        text: The whole source.
        sha: SHA-1 of the source, under which the server keeps it.
    """

    name: str
    text: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """The script in `lua/<name>.lua`, with what it includes and without its remarks."""
    source = _read(f"{name}.lua")
    flags, _, body = source.partition("\n")
    whole = _INCLUDE.sub(lambda found: _read(found.group(1)), body)
    text = f"{flags}\n{_without_idle_functions(_REMARK.sub('', whole))}"
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    _TEXTS[sha] = text
    return Script(name, text, sha)


def script_names() -> tuple[str, ...]:
    """The names of all scripts, sorted."""
    folder = files("shedder").joinpath("lua")
    return tuple(sorted(e.name[: -len(".lua")] for e in folder.iterdir() if e.name.endswith(".lua")))


def _without_idle_functions(text: str) -> str:
    """`text` without the functions at its outermost level that are named nowhere else."""
    words = Counter(re.findall(r"\w+", text))
    kept = _FUNCTION.sub(lambda found: found[0] if words[found[1]] > 1 else "", text)
    return kept if kept == text else _without_idle_functions(kept)


def _read(path: str) -> str:
    return files("shedder").joinpath("lua").joinpath(path).read_text(encoding="utf-8")
