"""`Site`: finds the view of a request, lets in who may, and answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shedder.api.shedder import Shedder
from shedder.web.http import Refusal, Request, Response
from shedder.web.rendering import render

if TYPE_CHECKING:
    import redis


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What whoever runs the pages has decided.

    Attributes:
        allow_actions: The pages may change something; else they only show.
    """

    allow_actions: bool = False


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks.

    Attributes:
        name: The actor in the journal; empty when nobody is logged in.
        may_act: May change something at all.
    """

    name: str = ""
    may_act: bool = False


View = Callable[["Site", Request, Visitor], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """Which view answers.

    Attributes:
        method: `GET` (which answers HEAD too) or `POST`.
        pattern: A regular expression of the whole path; its named groups are in `Request.query`.
        view: What answers.
    """

    method: str
    pattern: str
    view: View


class Site:
    """The pages of one Redis.

    Args:
        connection: The client that the application uses; it stays as it is.
        settings: What is shown and allowed.
    """

    def __init__(self, connection: redis.Redis, settings: SiteSettings | None = None) -> None:
        self.shedder = Shedder(connection)
        self.settings = settings or SiteSettings()

    def handle(self, request: Request) -> Response:
        """The answer to a request; may wait for Redis."""
        visitor = Visitor()
        try:
            return self._view(request)(self, request, visitor)
        except Refusal as refusal:
            return render(self, request, visitor, "refused.html", status=refusal.status, refusal=refusal)

    def _view(self, request: Request) -> View:
        for route in routes():
            if re.fullmatch(route.pattern, request.path):
                return route.view
        raise Refusal(404, "There is no such page.", "Go back to the lanes.")


def routes() -> tuple[Route, ...]:
    """All pages."""
    return ()
