"""Who may: what whoever runs the pages has decided, who asks, and what they may do."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shedder.errors import InvalidInput
from shedder.web.http import Refusal, Request
from shedder.web.login import session_in, why_no_name

if TYPE_CHECKING:
    from shedder.web.app import Site

May = Callable[[str, str, str], bool]
"""Whether a user may do what a verb says to a lane, which is empty where a verb has none."""

OPERATOR, VIEWER = "operator", "viewer"
ROLES = (OPERATOR, VIEWER)

SHORTEST_TOKEN = 16

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


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
        is_hosted: The application around the pages says who is logged in (`Request.user`).
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


def allow(site: Site, visitor: Visitor, verb: str, lanes: Sequence[str] = ()) -> None:
    """Return if `visitor` may do what `verb` says to all of `lanes`.

    Raises:
        Refusal: with 403, and what is missing.
    """
    if not site.settings.allow_actions:
        raise Refusal(
            403, "These pages only show.", "Start them with --allow-actions and a login, or use the command line."
        )
    if not visitor.name:
        raise Refusal(403, "Nobody is logged in, and whoever acts has a name.", "Log in first.")
    if not visitor.may_act:
        raise Refusal(403, f"{visitor.name} may look and not act (role {VIEWER}).", f"Ask an {OPERATOR} to do it.")
    for lane in lanes or ("",):
        if not visitor.may(visitor.name, verb, lane):
            what = f"{verb} {lane}".strip()
            raise Refusal(403, f"{visitor.name} may not do this: {what}.", "Ask whoever gives permissions here.")


def visitor_of(site: Site, request: Request) -> Visitor:
    """Who asks; `STRANGER` where nobody is logged in who has to be.

    Raises:
        Refusal: the request comes by a way on which nobody is believed.
    """
    settings = site.settings
    if not settings.has_login:
        _check_host(request)
        return Visitor()
    if settings.is_hosted and request.user:
        return _person(settings, request.user)
    if settings.behind_proxy and (name := request.headers.get(settings.behind_proxy.lower(), "")):
        if not settings.trusts(request.client):
            raise Refusal(
                403, f"A request from {request.client or 'an unknown address'} names a user, and is not trusted.",
                "Come through the proxy, or name its address with --trusted.",
            )  # fmt: skip
        return _person(settings, _single(name))
    if settings.tokens and (session := session_in(settings.tokens, request)):
        return _person(settings, session.name, role=session.role)
    return STRANGER


def _person(settings: SiteSettings, name: str, role: str = OPERATOR) -> Visitor:
    if why := why_no_name(name):
        raise Refusal(403, f"The name of who is logged in {why}.", "Correct it where it comes from.")
    is_operator = role == OPERATOR and (not settings.operators or name in settings.operators)
    return Visitor(name, may_act=is_operator and settings.allow_actions, may=settings.may)


def _single(name: str) -> str:
    # a proxy that adds its header to the visitor's own, instead of replacing it, lets anybody be anybody
    if "," in name:
        raise Refusal(403, "The proxy's header names two users.", "Let the proxy replace what visitors send in it.")
    return name.strip()


def _check_host(request: Request) -> None:
    """Without a login, pages of other names must not read ours: a name can be made to lead to 127.0.0.1."""
    host = request.headers.get("host", "localhost").lower()
    if _without_port(host) not in LOOPBACK_NAMES:
        raise Refusal(403, "Without a login these pages are for this machine only.", "Open http://127.0.0.1 instead.")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def check_origin(request: Request) -> None:
    """Return if a request that changes something was sent by one of our own pages.

    Raises:
        Refusal: with 403; another page sent it, or it is not known which.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")  # `none` is the person, and no page can say it
    else:
        is_ours = bool(origin) and urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours:
        raise Refusal(
            403, "Another page sent this, or it is not known which one did; nothing was changed.",
            "Open the page here and send it again; a proxy must pass on Host.",
        )  # fmt: skip
