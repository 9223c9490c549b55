"""A master, a replica and the sentinels that watch them, for a test."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError, ResponseError
from redis.sentinel import Sentinel

from shedder.embedded import EmbeddedServer, ServerHome, find_server
from tests.cluster import free_ports
from tests.servers import PatientServer
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    import subprocess

    from redis import Redis

MASTER_NAME = "jobs"
DOWN_AFTER_MS = 2000
"""A master that is silent for so long is down; a slow one on a busy machine is not."""

_TOLERATED = 10
"""Times of that which a replica may have been without its master before sentinels saw that it is down."""

_AT_ONCE = {"repl-diskless-sync-delay": "0"}
"""A master waits for more replicas to come, five seconds otherwise."""

_OFTEN = ("info-period", "500", "ask-period", "100", "publish-period", "100")
_AS_USUAL = ("publish-period", "2000")
"""Milliseconds between two looks of a sentinel, and between two greetings: how soon it knows, not what it tolerates.

Four greetings after a replica follows somebody else, sentinels mend that.
"""

SENTINELS = 3
NOBODY = 1
"""A port on which nobody listens."""

_SETTINGS = """
port {port}
bind 127.0.0.1
sentinel monitor {name} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {name} {down}
sentinel failover-timeout {name} 3000
"""


class Watched:
    """A master and a replica under three sentinels; clients ask these where the master is.

    It is asked for clients like a server, so that workers, producers and operators can be given
    it in place of one.

    Attributes:
        servers: The two servers; which of them is the master changes.
        places: Host and port of each sentinel.
    """

    def __init__(self, **options: Any) -> None:
        first, second, *self._ports = free_ports(2 + SENTINELS)
        self.places = [("127.0.0.1", port) for port in self._ports]
        self.servers = [
            PatientServer(port=first, config=_AT_ONCE, **options),
            PatientServer(port=second, config={**_AT_ONCE, "replicaof": f"127.0.0.1 {first}"}, **options),
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            for port in self._ports:
                stack.enter_context(_Watcher(port, self.servers[0].port or 0))
            self._wait_until_known()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def client(self, **options: Any) -> Redis:
        """A client of whoever is the master when it connects."""
        limits = {"socket_timeout": 1.0}
        manager = Sentinel(self.places, sentinel_kwargs=limits)
        client: Redis = manager.master_for(MASTER_NAME, **{"socket_timeout": 5.0, **options})
        return client

    @property
    def master(self) -> EmbeddedServer:
        """The server that the sentinels name now."""
        _, port = Sentinel(self.places, socket_timeout=1.0).discover_master(MASTER_NAME)
        return next(server for server in self.servers if server.port == port)

    @property
    def replica(self) -> EmbeddedServer:
        """The other one."""
        master = self.master
        return next(server for server in self.servers if server is not master)

    def cut_replication(self) -> None:
        """Let the replica hear nothing more of the master, for some seconds.

        Sentinels mend that after eight.
        """
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", NOBODY)

    def wait_for_another_master(self, than: EmbeddedServer, *, timeout: float = PATIENCE_SECONDS) -> None:
        """Return when another server than this one serves as the master."""

        def is_promoted() -> bool:
            with contextlib.suppress(RedisError):
                master = self.master
                with master.client() as client:
                    if master is not than and client.role()[0] == b"master":
                        return True
            with contextlib.suppress(RedisError):
                if self._is_stuck():
                    self._force()
            return False

        wait_until(is_promoted, timeout=timeout, interval=0.05, what="a fail-over")

    def _is_stuck(self) -> bool:
        """Whether sentinels promote nobody ever, because the replica had lost its master long before they saw it down.

        So it is when the machine stood still in between.
        """
        sentinel: Any = _only(self.places[0])
        down_ms = sentinel.sentinel_master(MASTER_NAME).get("s-down-time")
        [replica] = sentinel.sentinel_slaves(MASTER_NAME)
        lost_ms = int(replica.get("master-link-down-time", 0))
        return down_ms is not None and lost_ms > int(down_ms) + _TOLERATED * DOWN_AFTER_MS

    def _force(self) -> None:
        self._set_down_after(_TOLERATED * DOWN_AFTER_MS * 100)
        with contextlib.suppress(ResponseError):
            _only(self.places[0]).execute_command("SENTINEL", "FAILOVER", MASTER_NAME)
        self._set_down_after(DOWN_AFTER_MS)

    def _set_down_after(self, milliseconds: int) -> None:
        for place in self.places:
            _only(place).execute_command("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", str(milliseconds))

    def wait_until_replicated(self, *, timeout: float = PATIENCE_SECONDS) -> None:
        """Return when the other server follows the master and has all that it has now."""
        with self.master.client() as client:
            master: Any = client.role()

        def has_all() -> bool:
            with contextlib.suppress(RedisError), self.replica.client() as client:
                role: Any = client.role()
                return role[0] == b"slave" and role[3] == b"connected" and role[4] >= master[1]
            return False

        wait_until(has_all, timeout=timeout, interval=0.05, what="a replica that is up to date")

    def _wait_until_known(self) -> None:
        self._tell(_OFTEN)
        for place in self.places:
            sentinel = _only(place)

            def knows_all(sentinel: Any = sentinel) -> bool:
                with contextlib.suppress(RedisError):
                    told = sentinel.sentinel_masters()[MASTER_NAME]
                    others = told["num-other-sentinels"], told["num-slaves"]
                    return bool(others == (SENTINELS - 1, 1))
                return False

            wait_until(knows_all, interval=0.05, what="sentinels that know all")
        self._tell(_AS_USUAL)
        self.wait_until_replicated()

    def _tell(self, periods: tuple[str, ...]) -> None:
        for place in self.places:
            sentinel = _only(place)

            def is_told(sentinel: Any = sentinel) -> bool:
                try:
                    sentinel.execute_command("SENTINEL", "DEBUG", *periods)
                except ResponseError:
                    return True  # an older server knows no such command
                except RedisError:
                    return False
                return True

            wait_until(is_told, interval=0.05, what="a sentinel that answers")


def _only(place: tuple[str, int]) -> Redis:
    return Sentinel([place], socket_timeout=1.0).sentinels[0]


class _Watcher:
    """One sentinel, which ends with the process that starts it, however that ends."""

    def __init__(self, port: int, master: int) -> None:
        self._settings = _SETTINGS.format(port=port, name=MASTER_NAME, master=master, down=DOWN_AFTER_MS)
        self._home = ServerHome()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        path = self._home.folder / "sentinel.conf"  # which it rewrites
        path.write_text(self._settings + f"dir {self._home.folder}\n", encoding="utf-8")
        self._process = self._home.launch([str(find_server().path), str(path), "--sentinel"])
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._home.remove()
