"""Who may: what whoever runs the pages has decided, who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shedder.web.http import Refusal, Request

if TYPE_CHECKING:
    from shedder.web.app import Site

May = Callable[[str, str, str], bool]
"""Whether a user may do what a verb says to a lane, which is empty where a verb has none."""

OPERATOR, VIEWER = "operator", "viewer"


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

    @property
    def has_login(self) -> bool:
        """Whether it is known who asks."""
        return bool(self.tokens or self.behind_proxy or self.is_hosted)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks.

    Attributes:
        name: The actor in the journal; empty when nobody is logged in.
        may_act: May change something at all.
        may: Whether a user may do what a verb says to a lane.
    """

    name: str = ""
    may_act: bool = False
    may: May = anybody

    @property
    def role(self) -> str:
        """`operator` or `viewer`."""
        return OPERATOR if self.may_act else VIEWER


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
    """Who asks."""
    name = request.user or ""
    return Visitor(name, may_act=bool(name) and site.settings.allow_actions, may=site.settings.may)
