"""The application that the pages speak of."""

from __future__ import annotations

import rq


class TheirQueue(rq.Queue):
    """A queue class of somebody's own."""


class TheirWorker(rq.Worker):
    """A worker class of somebody's own."""
