"""What do the server's own reports say about what can be lost, and about how full it is?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shedder import checks
from shedder.checkup import FINE, PROBLEM, WARNING, Finding
from shedder.errors import SERVER_FLOOR, RedisUnreachable, ShedderError
from shedder.keys import Keys
from shedder.rq.status import memory_share
from shedder.store import Store

FLOORS = {"redis": (7, 0), "valkey": (7, 2)}
"""The oldest versions that know script flags."""

_SETTINGS = ("appendfsync", "save", "min-replicas-to-write")


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What the server says of itself.

    Attributes:
        info: Its report, all sections in one mapping.
        settings: Those of its settings that matter here; empty when it does not tell them.
        is_suspended: RQ's own suspend is on.
    """

    info: Mapping[str, Any]
    settings: Mapping[str, str]
    is_suspended: bool


def read_server(store: Store, keys: Keys) -> ServerReport:
    """Ask the server, and be content with less where it does not tell its settings."""
    info, suspended = store.read(lambda ask: (ask.info(), ask.exists(keys.engine.suspended)))
    return ServerReport(info, _read_settings(store), bool(suspended))


def is_usable(report: ServerReport) -> bool:
    """Whether scripts of ours run on this server."""
    product, version = _product_and_version(report.info)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return numbers >= FLOORS[product]


def server_findings(report: ServerReport, *, prefix: str) -> Iterator[Finding]:
    """One finding for each thing that a server can have wrong."""
    yield _version(report)
    yield _persistence(report)
    yield from _replication(report)
    share = memory_share(report.info)
    yield checks.memory(share)
    yield checks.eviction(str(report.info.get("maxmemory_policy", "noeviction")), share=share)
    yield from _cluster(report.info, prefix)
    yield from checks.suspension(is_suspended=report.is_suspended)


def _read_settings(store: Store) -> dict[str, str]:
    try:
        found = store.read(lambda ask: [ask.config_get(name) for name in _SETTINGS])
    except RedisUnreachable:
        raise
    except ShedderError:  # a hosted server often forbids it
        return {}
    return {str(name): str(value) for each in found for name, value in each.items()}


def _product_and_version(info: Mapping[str, Any]) -> tuple[str, str]:
    product = "valkey" if info.get("valkey_version") else "redis"
    return product, str(info.get(f"{product}_version", "0"))


def _version(report: ServerReport) -> Finding:
    product, version = _product_and_version(report.info)
    says = f"The server is {product.title()} {version}"
    if not is_usable(report):
        return Finding("server", PROBLEM, f"{says}; shedder needs {SERVER_FLOOR} or newer.")
    return Finding("server", FINE, f"{says}.")


def _persistence(report: ServerReport) -> Finding:
    info, name = report.info, "persistence"
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status", "ok") != "ok":
            return Finding(
                name, PROBLEM, "The append-only file cannot be written: is the disk full?"
            )
        return _append_only(report.settings.get("appendfsync", ""))
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return Finding(name, PROBLEM, "The last snapshot failed: is the disk full?")
    if report.settings.get("save") == "":
        return Finding(
            name,
            PROBLEM,
            "Nothing is kept on disk: a restart of the server loses all jobs, backlogs and pauses. "
            "Set `appendonly yes`.",
        )
    changes = int(info.get("rdb_changes_since_last_save", 0))
    return Finding(
        name,
        WARNING,
        f"Only snapshots are kept on disk: a crash now would lose the last {changes:,} changes, "
        "orders and jobs alike. Set `appendonly yes`.",
    )


def _append_only(appendfsync: str) -> Finding:
    meaning = {
        "always": "nothing that was acknowledged is lost",
        "everysec": "a crash of the machine loses about a second, one of the server nothing",
        "no": "a crash of the machine loses what the system had not written, one of the server "
        "nothing",
    }
    says = meaning.get(appendfsync, "how much a crash loses the server does not tell")
    level = WARNING if appendfsync == "no" else FINE
    return Finding("persistence", level, f"The append-only file is on: {says}.")


def _replication(report: ServerReport) -> Iterator[Finding]:
    name = "replication"
    if report.info.get("role") != "master":
        yield Finding(
            name, PROBLEM, "This server is a replica and takes no orders: name its master with -u."
        )
        return
    replicas = int(report.info.get("connected_slaves", 0))
    wanted = report.settings.get("min-replicas-to-write")
    if replicas and wanted == "0":
        yield Finding(
            name,
            WARNING,
            "A fail-over can undo the last orders and lose the last jobs, each whole: set "
            "`min-replicas-to-write 1`, and look again after each.",
        )
    elif replicas:
        said = "whether writes wait for them" if wanted is None else "and writes wait for them"
        told = ", the server does not tell" if wanted is None else ""
        yield Finding(name, FINE, f"Replicas that follow: {replicas}; {said}{told}.")


def _cluster(info: Mapping[str, Any], prefix: str) -> Iterator[Finding]:
    if int(info.get("cluster_enabled", 0)) and not ("{" in prefix and "}" in prefix):
        yield Finding(
            "cluster",
            PROBLEM,
            "The server is a node of a cluster, and the keys have no hash tag: set "
            "RQ_KEY_PREFIX='{rq}' for producers, workers and here.",
        )
