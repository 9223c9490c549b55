"""Load shedding for RQ job queues: pause, divert and drain without losing a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shedder.version import VERSION

if TYPE_CHECKING:
    from shedder.errors import LimitExceeded
    from shedder.facade import Shedder
    from shedder.flags import SKIP
    from shedder.rates import Rate
    from shedder.selection import Selection

__version__ = VERSION

__all__ = ["SKIP", "LimitExceeded", "Rate", "Selection", "Shedder", "__version__"]

_HOMES = {
    "SKIP": "shedder.flags",
    "LimitExceeded": "shedder.errors",
    "Rate": "shedder.rates",
    "Selection": "shedder.selection",
    "Shedder": "shedder.facade",
}


def __getattr__(name: str) -> Any:
    # `import redis` and `import rq` take half a second, which `shedder --help` must not
    if name not in _HOMES:
        raise AttributeError(f"module 'shedder' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
