"""How the tests ask for an audit and for a repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rq.defaults import RQ_KEY_PREFIX

from shedder.engine.names import rq_keys
from shedder.health.audit import AuditReport, audit
from shedder.store.store import Store
from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

    from shedder.health.doctor import Checkup

MAIL = f"{RQ_KEY_PREFIX}:queue:mail"


def look(redis: Redis, window: int = 1000) -> AuditReport:
    return audit(Store(redis, rq_keys()), window=window)


def repaired(scene: Scene, checkup: Checkup | None = None) -> dict[str, int]:
    """Repair what a check-up finds now, or found before; how much of each."""
    done = scene.shedder.repair(checkup or scene.shedder.check_up(), reason="fail-over")
    return {each.check: each.count for each in done}


def is_clean(scene: Scene) -> bool:
    return not scene.shedder.check_up().repairable and scene.shedder.audit().is_clean
