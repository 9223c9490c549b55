"""The control room: pages that say how the queues are, and on which one acts; they need the extra `web`.

The same pages run alone (`shedder web`) and inside another application, ASGI, Flask or Django. What
they show and what can be done on them is here without HTTP too, for `shedder top`, which does
without the extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shedder.web.app import ControlRoom
    from shedder.web.hosts import asgi, blueprint, urls
    from shedder.web.site import SiteSettings

_HOMES = {
    "ControlRoom": "app", "SiteSettings": "site", "asgi": "hosts", "blueprint": "hosts", "urls": "hosts",
}  # fmt: skip

__all__ = ["ControlRoom", "SiteSettings", "asgi", "blueprint", "urls"]


def __getattr__(name: str) -> Any:
    # `shedder top` loads what it shares with the pages, and neither starlette nor jinja2 may be there
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
