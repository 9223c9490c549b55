"""Who may: who asks, by which login, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from shedder.web.http import Refusal, WebRequest
from shedder.web.login import session_in, why_no_name
from shedder.web.site import OPERATOR, STRANGER, VIEWER, Site, SiteSettings, Visitor

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


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


def visitor_of(site: Site, request: WebRequest) -> Visitor:
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


def _check_host(request: WebRequest) -> None:
    """Without a login, pages of other names must not read ours: a name can be made to lead to 127.0.0.1."""
    host = request.headers.get("host", "localhost").lower()
    if _without_port(host) not in LOOPBACK_NAMES:
        raise Refusal(403, "Without a login these pages are for this machine only.", "Open http://127.0.0.1 instead.")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def check_origin(request: WebRequest) -> None:
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
