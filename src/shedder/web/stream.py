"""What moves: the parts of a page that have changed, rendered once for all who have it open."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from shedder.web.http import Refusal, Response, Route, WebRequest
from shedder.web.reading import SharedReading

if TYPE_CHECKING:
    from shedder.web.site import Site, Visitor

PAGES_KEPT = 500

SOMEBODY = "somebody"
"""Stands for all who are logged in where a page does not depend on who they are."""

MOST_FIELDS = 50


@dataclass(frozen=True, slots=True)
class Moving:
    """What of a page moves, as it is now.

    Attributes:
        reading: What it was made of.
        parts: The HTML of each part, by name.
        number: No other has the same.
    """

    reading: SharedReading
    parts: Mapping[str, str]
    number: int = field(default_factory=count(1).__next__)
    _messages: dict[int, bytes] = field(default_factory=dict)

    def message(self, last: Moving | None) -> bytes:
        """JSON for a page that shows `last`: the parts that are not as in it, and whether all is fresh.

        It is made once for all pages that show the same.
        """
        shown = last.number if last else 0
        if shown not in self._messages:
            self._messages[shown] = self._message(last.parts if last else {})
        return self._messages[shown]

    def _message(self, sent: Mapping[str, str]) -> bytes:
        changed = {name: text for name, text in self.parts.items() if sent.get(name) != text}
        reading = self.reading
        at, since = _iso(reading.at) if reading.is_known else "", _iso(reading.since) if reading.since else ""
        return json.dumps({"at": at, "trouble": reading.trouble, "since": since, "parts": changed}).encode()


@dataclass(slots=True)
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    moving: Moving | None = None


class MovingPages:
    """What of each open page moves, rendered once for each reading, however many have it open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    def get(self, key: object, reading: SharedReading, render: Callable[[], Mapping[str, str]]) -> Moving:
        """What moves of the page `key`, of `reading`; it is made by `render` where it is not known."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            if len(self._kept) > PAGES_KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            if kept.moving is None or kept.moving.reading.number != reading.number:
                kept.moving = Moving(reading, render())
            return kept.moving


def moving(site: Site, request: WebRequest, visitor: Visitor) -> Moving:
    """What moves of the page that a request to `/live` names, as it is now.

    Raises:
        Refusal: there is no such page, or nothing of it moves.
    """
    page = request.asked("page").removeprefix(request.base) or "/"
    path, _, query = page.partition("?")
    try:
        asked = parse_qs(query, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refusal(400, "The address of the page has too many fields.") from None
    route, wanted = site.find(replace(request, method="GET", path=path, query=asked, is_live=True))
    if route.is_open or route in ROUTES:
        raise Refusal(404, "Nothing of this page moves.")
    is_alike = route.is_alike and not (route.is_own_to_act and visitor.may_act)
    if is_alike and visitor.name:
        visitor = replace(visitor, name=SOMEBODY)
    key = (request.base, page, visitor)
    return site.part(MovingPages).get(key, site.read(), lambda: route.view(site, wanted, visitor).parts)


def poll(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """All parts of a page that move, once: for hosts and networks that let no stream pass."""
    said = moving(site, request, visitor).message(None)
    return Response(200, said, (("Content-Type", "application/json"),))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


LIVE_PATH = "/live"

ROUTES = (Route("GET", LIVE_PATH, poll),)
