"""`Site`: what all views of the pages share, what whoever runs them has decided, and who asks."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from shedder.api.shedder import Shedder
from shedder.errors import InvalidInput
from shedder.policy.model import WebPolicy
from shedder.store.keys import Keys
from shedder.store.store import Command, Store, address_of
from shedder.web.http import Refusal, Route, WebRequest
from shedder.web.reading import Readings, SharedReading

if TYPE_CHECKING:
    import redis

Part = TypeVar("Part")

May = Callable[[str, str, str], bool]
"""Whether a user may do what a verb says to a lane, which is empty where a verb has none."""

OPERATOR, VIEWER = "operator", "viewer"
ROLES = (OPERATOR, VIEWER)

SHORTEST_TOKEN = 16


def anybody(_user: str, _verb: str, _lane: str) -> bool:
    """Everybody who is an operator may do everything."""
    return True


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What whoever runs the pages has decided.

    Attributes:
        allow_actions: The pages may change something; else they only show.
        tokens: By token, the role of those who log in with it, `operator` or `viewer`.
        behind_proxy: The header in which a trusted proxy names who is logged in; empty for none.
        trusted: Addresses and networks from which that header is believed.
        is_hosted: The application around the pages says who is logged in (`WebRequest.user`).
        operators: The names of those who may act; empty for all who are logged in.
        may: Decides further: `may(user, verb, lane)`.
        secret: Signs what is confirmed; empty for one that is kept in Redis.
        name: What is run here, such as `production`; empty for what the policy says.
        colour: The colour of its name; empty for what the policy says.
        address: Where Redis is, as a person should read it; empty for what the client says.

    Raises:
        InvalidInput: they contradict one another, or leave open who may act.
    """

    allow_actions: bool = False
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    behind_proxy: str = ""
    trusted: tuple[str, ...] = ()
    is_hosted: bool = False
    operators: tuple[str, ...] = ()
    may: May = anybody
    secret: bytes = field(default=b"", repr=False)
    name: str = ""
    colour: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        for wrong in _contradictions(self):
            raise InvalidInput(name="settings of the pages", value="", accepted="others", says=wrong)

    @property
    def has_login(self) -> bool:
        """Whether it is known who asks."""
        return bool(self.tokens or self.behind_proxy or self.is_hosted)

    def trusts(self, client: str) -> bool:
        """Whether a request from the address `client` comes from a trusted proxy."""
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        return any(address in ipaddress.ip_network(each, strict=False) for each in self.trusted)


def _contradictions(settings: SiteSettings) -> list[str]:
    found = {
        "the pages act for a person only: give them a login (a token, a proxy or the application's user)":
            settings.allow_actions and not settings.has_login,
        f"a token has at least {SHORTEST_TOKEN} characters; "
        "make one with: python -c 'import secrets; print(secrets.token_urlsafe())'":
            any(len(each) < SHORTEST_TOKEN for each in settings.tokens),
        f"the role of a token is {' or '.join(ROLES)}": not {*settings.tokens.values()} <= {*ROLES},
        "say from which addresses the proxy's header is believed (trusted)":
            bool(settings.behind_proxy) and not settings.trusted,
        "trusted is for a proxy; say in which header it names who is logged in":
            bool(settings.trusted) and not settings.behind_proxy,
        "trusted takes addresses and networks, such as 127.0.0.1 or 10.0.0.0/8":
            not all(map(_is_network, settings.trusted)),
    }  # fmt: skip
    return [says for says, is_so in found.items() if is_so]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks.

    Attributes:
        name: The actor in the journal; empty when nobody is logged in.
        may_act: May change something at all.
        may: Whether a user may do what a verb says to a lane.
        may_look: May see the pages.
    """

    name: str = ""
    may_act: bool = False
    may: May = anybody
    may_look: bool = True

    @property
    def role(self) -> str:
        """`operator` or `viewer`."""
        return OPERATOR if self.may_act else VIEWER


STRANGER = Visitor(may_look=False)
"""Somebody who has to log in first, and sees nothing before."""


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
        self._parts: dict[type, Any] = {}
        self._secret = self.settings.secret

    @property
    def routes(self) -> tuple[Route, ...]:
        """Which view answers what."""
        return ()

    def part(self, kind: type[Part]) -> Part:
        """The one object of a kind that all requests share, made when it is first asked for."""
        # of two threads that make it at once, the first one's is kept
        found: Part = self._parts.get(kind) or self._parts.setdefault(kind, kind())
        return found

    def read(self) -> SharedReading:
        """What all pages show, at most some seconds old; raises nothing when Redis is away."""
        return self._readings.read()

    @property
    def last_reading(self) -> SharedReading | None:
        """What was read last, however old; None where Redis has never answered."""
        last = self._readings.last
        return last if last and last.is_known else None

    def forget_reading(self) -> None:
        """Let the next page show what is from now on: somebody has changed something."""
        self._readings.forget()

    @property
    def title(self) -> str:
        """What is run here, such as `production`; empty when nobody said."""
        return self.settings.name or self._web.name

    @property
    def colour(self) -> str:
        """The colour of its name; empty when nobody said."""
        return self.settings.colour or self._web.colour

    @property
    def _web(self) -> WebPolicy:
        """As the last reading says, however old: nobody waits for Redis to be told where they are."""
        return (self.last_reading or self.read()).policy.web

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
            self._secret = shared_secret(self.shedder.store)
        return self._secret

    def find(self, request: WebRequest) -> tuple[Route, WebRequest]:
        """The route of a request, and the request with what its path names.

        Raises:
            Refusal: there is none.
        """
        method = "GET" if request.method == "HEAD" else request.method
        others = False
        for route in self.routes:
            found = re.fullmatch(route.pattern, request.path)
            if found and route.method == method:
                named = {name: (value,) for name, value in found.groupdict().items() if value is not None}
                return route, replace(request, query={**request.query, **named})
            others = others or found is not None
        if others:
            raise Refusal(405, f"This page does not take {method}.", "Go back to the lanes.")
        raise Refusal(404, "There is no such page.", "Go back to the lanes.")


def shared_secret(store: Store) -> bytes:
    """A secret that is kept in Redis, so that all processes have the same; the first one makes it.

    Raises:
        ShedderError: Redis does not answer, or refuses.
    """
    return store.run(keep_secret(store.keys, secrets.token_hex()))


def keep_secret(keys: Keys, made: str) -> Command[bytes]:
    """Keep the secret that was `made`, unless there is one; also when Redis is full, as people act then."""
    return Command("keep_secret", (keys.web_secret,), (made,), bytes)
