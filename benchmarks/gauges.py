"""What an operation costs the server, and how often its caller waits for a reply."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
import redis.asyncio.connection
import redis.connection

_LOOKING_ON = ("info", "config|get", "config|set", "config|resetstat", "slowlog|get", "client|info")


@dataclass(slots=True)
class Sent:
    """What this process sent while it was counted.

    Attributes:
        round_trips: Packets: a single command, or a pipeline as a whole.
        commands: Names of the commands in them.
    """

    round_trips: int = 0
    commands: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Commands in all."""
        return self.commands.total()


@contextmanager
def sent_by_us() -> Iterator[Sent]:
    """Count what the clients of this thread send, of asyncio's too, and of threads that start meanwhile.

    Threads that ran before are left out: those that follow flags, limits and the policy ask when their time has come,
    whatever is measured.
    """
    sent = Sent()
    with ExitStack() as counted:
        for kind in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection):
            counted.enter_context(_counting(kind, sent))
        yield sent


@contextmanager
def _counting(connection_class: Any, sent: Sent) -> Iterator[None]:
    original = connection_class.send_packed_command
    left_out = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

    def counting(self: Any, command: Any, *args: Any, **options: Any) -> Any:
        if threading.get_ident() not in left_out:
            packet = command if isinstance(command, bytes) else b"".join(command)
            sent.round_trips += 1
            sent.commands.update(_names_in(packet))
        return original(self, command, *args, **options)

    connection_class.send_packed_command = counting
    try:
        yield
    finally:
        connection_class.send_packed_command = original


def _names_in(packet: bytes) -> Iterator[str]:
    position = 0
    while position < len(packet):
        end = packet.index(b"\r\n", position)
        words = int(packet[position + 1 : end])
        position = end + 2
        for number in range(words):
            end = packet.index(b"\r\n", position)
            length = int(packet[position + 1 : end])
            if number == 0:
                yield packet[end + 2 : end + 2 + length].decode().lower()
            position = end + 2 + length + 2


@dataclass(slots=True)
class Served:
    """What the server did while it was watched.

    Attributes:
        calls: Commands by name, those inside scripts among them.
        usec: Microseconds by name, of commands that were sent from outside.
        reads: Packets that it read: round trips, whichever process made them.
        cpu: Seconds of processor time.
        used_memory: Bytes more than before.
        peak_memory: Bytes at the highest, above those before.
    """

    calls: Counter[str] = field(default_factory=Counter)
    usec: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    cpu: float = 0.0
    used_memory: int = 0
    peak_memory: int = 0

    @property
    def total(self) -> int:
        """Commands in all."""
        return self.calls.total()


@contextmanager
def watched(looker: redis.Redis, pid: int) -> Iterator[Served]:
    """Watch the server with process id `pid` through a client of its own."""
    served = Served()
    before = _statistics(looker)
    reads = _reads(looker)
    cpu = cpu_seconds(pid)
    yield served
    served.cpu = cpu_seconds(pid) - cpu
    served.reads = _reads(looker) - reads - 1  # that of asking
    after = _statistics(looker)
    for name, (calls, usec) in after["commands"].items():
        calls_before, usec_before = before["commands"].get(name, (0, 0))
        if calls > calls_before and name not in _LOOKING_ON:
            served.calls[name] = calls - calls_before
            served.usec[name] = usec - usec_before
    served.used_memory = after["used"] - before["used"]
    served.peak_memory = max(after["peak"] - before["used"], 0)


def _statistics(looker: redis.Redis) -> dict[str, Any]:
    memory: Any = looker.info("memory")
    found: Any = looker.info("commandstats")
    commands = {name.removeprefix("cmdstat_"): (int(each["calls"]), int(each["usec"])) for name, each in found.items()}
    return {"commands": commands, "used": memory["used_memory"], "peak": memory["used_memory_peak"]}


def _reads(looker: redis.Redis) -> int:
    found: Any = looker.info("stats")
    return int(found["total_reads_processed"])


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used, to the nanosecond."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


@dataclass(slots=True)
class Holds:
    """How long the server was held by one command at most, in seconds.

    Attributes:
        longest: By its slow log: on the wall clock, moments in which the machine ran something
            else among them.
        longest_cpu: In processor time, as far as one client's calls can be told apart; 0 when they
            were not.
        above_5_ms: Entries of the slow log above 5 ms.
        entries: Entries of the slow log above 1 ms.
    """

    longest: float = 0.0
    longest_cpu: float = 0.0
    above_5_ms: int = 0
    entries: int = 0


@contextmanager
def slow_log(looker: redis.Redis) -> Iterator[Holds]:
    """What the server's slow log says of the time within."""
    holds = Holds()
    looker.config_set("slowlog-max-len", 100_000)
    looker.config_set("slowlog-log-slower-than", 1000)
    looker.slowlog_reset()
    yield holds
    entries: Any = looker.slowlog_get(100_000)
    looker.config_set("slowlog-log-slower-than", -1)
    times = [each["duration"] / 1e6 for each in entries if _is_ours(each["command"])]
    holds.longest = max(times, default=0.0)
    holds.above_5_ms = sum(each > 0.005 for each in times)
    holds.entries = len(times)


def _is_ours(command: bytes) -> bool:
    return not command.upper().startswith((b"INFO", b"CONFIG", b"SLOWLOG"))


@contextmanager
def cpu_of_calls(client: redis.Redis, pid: int) -> Iterator[list[float]]:
    """The server's processor seconds for each command of `client`, which nobody else may use."""
    calls: list[float] = []
    untyped: Any = client
    original: Callable[..., Any] = untyped.execute_command

    def timed(*args: Any, **options: Any) -> Any:
        before = cpu_seconds(pid)
        try:
            return original(*args, **options)
        finally:
            calls.append(cpu_seconds(pid) - before)

    untyped.execute_command = timed
    try:
        yield calls
    finally:
        del untyped.execute_command


def memory_of(pid: int) -> int:
    """Bytes of resident memory of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
