"""What the tests of acts share: a site with an operator and a viewer, and what stands in Redis."""

from __future__ import annotations

import html
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from shedder.web import actions
from shedder.web.access import allow
from shedder.web.app import ControlRoom
from shedder.web.http import WebRequest
from shedder.web.site import SiteSettings, Visitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from shedder.web.http import Response

ANA, BOB = Visitor("ana@desk", may_act=True), Visitor("bob@desk", may_act=True)
VIEWER = Visitor("eve@desk")

VOLATILE = re.compile(
    rb":shedder:(?:web-secret|web-token|operation|sampled|samples|series|meters)(?::|$)|:workers?(?::|$)"
)
"""Keys that are no decision: what a page may write, what samples, and replies of operations."""

SAME_ORIGIN = {"host": "shedder.example", "origin": "http://shedder.example", "sec-fetch-site": "same-origin"}


class Acting:
    """A site on one Redis, and how people act on it."""

    def __init__(self, redis: Redis, **settings: Any) -> None:
        self.redis = redis
        self.site = ControlRoom(redis, SiteSettings(allow_actions=True, is_hosted=True, **settings))
        self.shedder = self.site.shedder
        self.desk = actions.Desk(self.shedder, self.site.secret, partial(allow, self.site))

    def preview(self, act: str, visitor: Visitor = ANA, *, reason: str = "", **said: Any) -> actions.Preview:
        """The preview of an act; a value may be a text or several."""
        return actions.preview_act(self.desk, actions.ACTS[act], fields(said), visitor, reason=reason)

    def confirm(
        self, seen: actions.Preview, visitor: Visitor = ANA, *, reason: str = "database at 99 %"
    ) -> actions.Done:
        """Confirm what was seen."""
        return actions.confirm_act(self.desk, seen.token, reason=reason, visitor=visitor)

    def do(self, act: str, visitor: Visitor = ANA, *, reason: str = "database at 99 %", **said: Any) -> actions.Done:
        """Preview and confirm."""
        return self.confirm(self.preview(act, visitor, reason=reason, **said), visitor, reason=reason)

    def get(self, path: str, user: str = "ana@desk", **query: Any) -> Response:
        """A page."""
        return self.site.handle(WebRequest("GET", path, query=fields(query), user=user, headers=SAME_ORIGIN))

    def post(self, path: str, user: str = "ana@desk", **form: Any) -> Response:
        """A form that is sent."""
        return self.site.handle(WebRequest("POST", path, form=fields(form), user=user, headers=SAME_ORIGIN))


def fields(said: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """`for_` stands for `for`, which Python has taken."""
    return {name.rstrip("_"): (value,) if isinstance(value, str) else tuple(value) for name, value in said.items()}


def dump(redis: Redis) -> dict[bytes, bytes | None]:
    """Everything that stands in Redis, apart from what is `VOLATILE`."""
    keys = sorted(key for key in redis.scan_iter(count=1000) if not VOLATILE.search(key))
    return {key: redis.dump(key) for key in keys}


def text_of_page(response: Response) -> str:
    """The words of a page."""
    page = re.sub(r"<[^>]*>", " ", response.body.decode())
    return " ".join(html.unescape(page).split())


def token_in(response: Response) -> str:
    """The token that a preview's page would send."""
    found = re.search(r'name="token" value="([^"]+)"', response.body.decode())
    assert found is not None, text_of_page(response)
    return html.unescape(found[1])
