"""`Site`: finds the view of a request, lets in who may, and answers."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from shedder.api.shedder import Shedder
from shedder.store.store import address_of
from shedder.web.access import SiteSettings, Visitor, visitor_of
from shedder.web.http import Refusal, Request, Response, Route, View
from shedder.web.rendering import render
from shedder.web.stream import Reading, Readings

if TYPE_CHECKING:
    import redis

__all__ = ["Route", "Site", "SiteSettings", "View", "Visitor", "routes"]

SECRET_BYTES = 32


class Site:
    """The pages of one Redis.

    Args:
        connection: The client that the application uses; it stays as it is.
        settings: What is shown and allowed.
    """

    def __init__(self, connection: redis.Redis, settings: SiteSettings | None = None) -> None:
        self.shedder = Shedder(connection)
        self.settings = settings or SiteSettings()
        self._readings = Readings(connection)
        self._secret = self.settings.secret

    def read(self) -> Reading:
        """What all pages show, at most a second old; raises nothing when Redis is away."""
        return self._readings.read()

    @property
    def title(self) -> str:
        """What is run here, such as `production`; empty when nobody said."""
        return self.settings.name

    @property
    def colour(self) -> str:
        """The colour of its name; empty when nobody said."""
        return self.settings.colour

    @property
    def address(self) -> str:
        """Where Redis is, without user or password."""
        return self.settings.address or address_of(self.shedder.store.connection)

    @property
    def secret(self) -> bytes:
        """Signs what is confirmed; the same in all processes.

        Raises:
            ShedderError: Redis does not answer, or refuses.
        """
        if not self._secret:
            key = self.shedder.keys.web_secret

            def ask_secret(ask: redis.client.Pipeline) -> None:
                ask.set(key, secrets.token_bytes(SECRET_BYTES), nx=True)
                ask.get(key)

            self._secret = self.shedder.store.read(ask_secret)[1]
        return self._secret

    def handle(self, request: Request) -> Response:
        """The answer to a request; may wait for Redis."""
        visitor = visitor_of(self, request)
        try:
            route, request = self.find(request)
            return route.view(self, request, visitor)
        except Refusal as refusal:
            return render(self, request, visitor, "refused.html", status=refusal.status, refusal=refusal)

    def find(self, request: Request) -> tuple[Route, Request]:
        """The route of a request, and the request with what its path names."""
        method = "GET" if request.method == "HEAD" else request.method
        for route in routes():
            found = re.fullmatch(route.pattern, request.path) if route.method == method else None
            if found:
                named = {name: (value,) for name, value in found.groupdict().items() if value is not None}
                return route, replace(request, query={**request.query, **named})
        raise Refusal(404, "There is no such page.", "Go back to the lanes.")


@cache
def routes() -> tuple[Route, ...]:
    """All pages."""
    from shedder.web import acting

    return acting.ROUTES
