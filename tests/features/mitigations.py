"""The mitigations that tests declare, and the programs that they run."""

from __future__ import annotations

import sys

from shedder.policy.model import Mitigation

ROLLBACK = Mitigation("rollback", ("./deploy", "rollback", "{release}"), kind="rollback")


def python(code: str, *args: str) -> tuple[str, ...]:
    return sys.executable, "-c", code, *args
