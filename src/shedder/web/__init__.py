"""The control room: pages that say how the queues are, and on which one acts; needs the extra `web`.

The same pages run alone (`shedder web`) and inside another application, ASGI, Flask or Django.
"""

from __future__ import annotations

from shedder.web.app import ControlRoom
from shedder.web.hosts import asgi, blueprint, urls
from shedder.web.site import SiteSettings

__all__ = ["ControlRoom", "SiteSettings", "asgi", "blueprint", "urls"]
