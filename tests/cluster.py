"""A Redis Cluster of three real nodes, for a test.

No tool is needed: the nodes are told of one another, and of their slots, by plain commands. With
`SHEDDER_TESTS_ON=cluster` the tests talk to the node that owns the slot of RQ's keys; then
`RQ_KEY_PREFIX` must have a hash tag, such as `{rq}`, so that there is one.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.embedded import EmbeddedServer
from tests.servers import PatientServer
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from redis import Redis

SLOTS = 16384
NODES = 3
TIMEOUT_MS = 1000
"""A node that is silent for so long is taken for dead."""


without_cluster = pytest.mark.skipif(
    os.environ.get("SHEDDER_TESTS_ON", "") == "cluster",
    reason="uses keys of another prefix, which belong to another node of the cluster",
)


class Cluster:
    """Three nodes that share the slots.

    Args:
        config: More directives for each node.

    Attributes:
        nodes: The nodes; clients find each on its socket.
    """

    def __init__(self, config: Mapping[str, str] | None = None, **options: Any) -> None:
        self._ports = free_ports(2 * NODES)
        self.nodes = [
            PatientServer(
                config={
                    "port": str(self._ports[2 * number]),
                    "cluster-enabled": "yes",
                    "cluster-port": str(self._ports[2 * number + 1]),
                    "cluster-node-timeout": str(TIMEOUT_MS),
                    **(config or {}),
                },
                **options,
            )
            for number in range(NODES)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def owner_of(self, key: str) -> EmbeddedServer:
        """The node that owns the slot of `key`."""
        with self.nodes[0].client() as client:
            slot = int(_ask(client, "CLUSTER", "KEYSLOT", key))
        return self.nodes[slot * NODES // SLOTS]

    def wait_until_ok(self, *, timeout: float = PATIENCE_SECONDS) -> None:
        """Return when each node that runs says that all slots are served."""
        for node in self.nodes:
            with node.client() as client:
                wait_until(
                    lambda client=client: b"cluster_state:ok" in _ask(client, "CLUSTER", "INFO"),
                    timeout=timeout,
                    what="a cluster that serves",
                )

    def _join(self) -> None:
        for number, node in enumerate(self.nodes):
            first, last = (-(-SLOTS * each // NODES) for each in (number, number + 1))
            with node.client() as client:
                _ask(client, "CLUSTER", "ADDSLOTSRANGE", first, last - 1)
                _ask(client, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        # only now, as who has met another can be given no epoch; the rest they tell one another
        with self.nodes[0].client() as client:
            for port, bus in list(zip(self._ports[::2], self._ports[1::2], strict=True))[1:]:
                _ask(client, "CLUSTER", "MEET", "127.0.0.1", port, bus)
        self.wait_until_ok()


@contextmanager
def shared_server() -> Iterator[EmbeddedServer]:
    """The server that the tests of one process share: `SHEDDER_TESTS_ON` names its kind."""
    kind = os.environ.get("SHEDDER_TESTS_ON", "")
    if kind == "cluster":
        assert "{" in RQ_KEY_PREFIX, "set RQ_KEY_PREFIX={rq}: a cluster keeps other keys apart"
        with Cluster() as cluster:
            yield cluster.owner_of(RQ_KEY_PREFIX)
    else:
        assert kind == "", f"SHEDDER_TESTS_ON is {kind!r}; it is empty or `cluster`"
        with PatientServer() as server:
            yield server


def _ask(client: Redis, *words: object) -> Any:
    # redis-py has no plain client for these, and turns their answers into what it likes
    client.response_callbacks.clear()
    return client.execute_command(*words)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that differ, as all are held until the last is found."""
    with ExitStack() as probes:
        found = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in found]
