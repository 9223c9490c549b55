"""Commands that are sent ahead: the server works while what it has answered is judged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from redis import exceptions

from shedder.store.store import Command, Store, evalsha, raise_translated

FEW_CONNECTIONS = 3
"""A pool of fewer has none to spare beside the one with which its user goes on."""


class Question(NamedTuple):
    """A plain command that is asked of many keys, and changes none.

    Attributes:
        command: Its name.
        prefix: What stands before the name of each key.
        rest: The arguments behind the key.
    """

    command: str
    prefix: str
    rest: tuple[str, ...] = ()


class Ahead:
    """Commands on a connection of their own, whose replies are read later: the server works meanwhile.

    Only for what may be sent again: what looks, and steps of an operation.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sent: tuple[Command[Any], ...] = ()
        self._asked: deque[tuple[Sequence[Question], Sequence[bytes]]] = deque()
        self._connection: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            if self._sent or self._asked:  # a reply that nobody reads would be the answer to the next question
                self._connection.disconnect()
            self._store.connection.connection_pool.release(self._connection)

    def send(self, *commands: Command[Any]) -> None:
        """Send `commands`, and do not wait."""
        self._sent = commands
        self._put(lambda connection: connection.pack_commands([evalsha(each) for each in commands]))

    def ask(self, questions: Sequence[Question], names: Sequence[bytes]) -> None:
        """Ask `questions` of each of `names`, and do not wait."""
        self._asked.append((questions, names))
        self._put(lambda _: [_packed(questions, names)])

    def answers(self) -> list[Any]:
        """The replies to what was asked first, as the server gave them: for each name one to each question.

        None for what is of another type.

        Raises:
            ShedderError: as `Store.run`.
        """
        questions, names = self._asked.popleft()
        if self._connection is not None:
            try:
                return _answers(self._connection, len(questions) * len(names))
            except (exceptions.RedisError, OSError):
                self._give_up()
        return ask_each(self._store, questions, names)

    def _put(self, pack: Callable[[Any], Any]) -> None:
        pool = self._store.connection.connection_pool
        if pool.max_connections < FEW_CONNECTIONS:
            return
        try:
            if self._connection is None:
                self._connection = pool.get_connection()
            self._connection.send_packed_command(pack(self._connection))
        except (exceptions.RedisError, OSError):
            self._give_up()

    def receive(self) -> list[Any]:
        """The parsed replies to what was sent; what was not answered is sent again.

        Raises:
            ShedderError: as `Store.run`.
        """
        replies = [self._reply() for _ in self._sent]
        commands, self._sent = self._sent, ()
        return [
            self._store.run(command) if isinstance(reply, Exception) else command.parse(reply)
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _reply(self) -> Any:
        if self._connection is None:
            return ConnectionError()
        try:
            return self._connection.read_response()
        except exceptions.ResponseError as error:
            return error
        except (exceptions.RedisError, OSError) as error:
            self._give_up()
            return error

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._store.connection.connection_pool.release(self._connection)
            self._connection = None


def ask_each(store: Store, questions: Sequence[Question], names: Sequence[bytes]) -> list[Any]:
    """The replies to `questions` about each of `names`, as `Ahead.answers` gives them, in one round trip.

    Raises:
        ShedderError: as `Store.run`.
    """
    pool = store.connection.connection_pool

    def once() -> list[Any]:
        connection.send_packed_command([_packed(questions, names)])
        return _answers(connection, len(questions) * len(names))

    try:
        connection = pool.get_connection()
        try:
            found: list[Any] = connection.retry.call_with_retry(once, lambda _: connection.disconnect())
        except BaseException:
            connection.disconnect()  # what was not read would be the answer to the next question
            raise
        finally:
            pool.release(connection)
    except exceptions.RedisError as error:
        raise_translated(error, store.connection)
    return found


def _packed(questions: Sequence[Question], names: Sequence[bytes]) -> bytes:
    """All `questions` of each of `names`, as the server reads them.

    A client's own way takes five times as long, which is most of what it costs to ask.
    """
    made = []
    for each in questions:
        head = b"*%d\r\n%b" % (2 + len(each.rest), _bulk(each.command.encode()))
        made.append((head, each.prefix.encode(), b"".join(_bulk(word.encode()) for word in each.rest)))
    return b"".join([
        b"%b$%d\r\n%b%b\r\n%b" % (head, len(prefix) + len(name), prefix, name, tail)
        for name in names for head, prefix, tail in made
    ])  # fmt: skip


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _answers(connection: Any, count: int) -> list[Any]:
    """The next `count` replies; None for one about a key that is of another type."""
    read = connection.read_response
    found: list[Any] = []
    while len(found) < count:
        try:
            found.append(read(disable_decoding=True))
        except exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            found.append(None)
    return found
