"""What can go wrong in the demo?"""

from __future__ import annotations

from shedder.errors import ShedderError


class DemoFailed(ShedderError):
    """The demo could not go on; the message says why."""
