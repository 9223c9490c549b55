"""The login with a token: sessions that are signed and kept nowhere, and a limit on failed attempts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import string
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from shedder.web.http import Refusal, Response, Route, WebRequest
from shedder.web.rendering import render_page
from shedder.wording import drives_terminals

if TYPE_CHECKING:
    from shedder.web.site import Site, Visitor

COOKIE = "shedder_session"
SESSION_SECONDS = 12 * 3600

MOST_FAILURES = 5
FAILURES_FOR_SECONDS = 300.0
MOST_ADDRESSES = 10_000

LONGEST_TOKEN = 1000
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Session:
    """Who has logged in.

    Attributes:
        name: As they said it.
        role: Of the token that they had.
        ends: When it ends, in seconds since 1970.
    """

    name: str
    role: str
    ends: float


def session_in(tokens: Mapping[str, str], request: WebRequest) -> Session | None:
    """The session that a cookie of the request proves; None without one, or when it has ended."""
    text, _, signature = request.cookies.get(COOKIE, "").partition(".")
    if not hmac.compare_digest(_signature(tokens, text).encode(), signature.encode("utf-8", "replace")):
        return None
    name, role, ends = json.loads(base64.urlsafe_b64decode(text))
    # who has all tokens can sign any session, which must not give what none of them does
    return Session(name, role, ends) if time.time() < ends and role in tokens.values() else None


def session_cookie(tokens: Mapping[str, str], session: Session, request: WebRequest) -> tuple[str, str]:
    """The header that gives a browser its session."""
    said = json.dumps([session.name, session.role, session.ends])
    text = base64.urlsafe_b64encode(said.encode()).decode()
    return _cookie(request, f"{text}.{_signature(tokens, text)}", SESSION_SECONDS)


def _cookie(request: WebRequest, value: str, seconds: int) -> tuple[str, str]:
    secure = "; Secure" if request.is_secure else ""
    path = request.base or "/"
    return "Set-Cookie", f"{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _signature(tokens: Mapping[str, str], text: str) -> str:
    return hmac.new(_key(tuple(sorted(tokens))), text.encode("utf-8", "replace"), "sha256").hexdigest()


@lru_cache(maxsize=8)
def _key(tokens: tuple[str, ...]) -> bytes:
    """Made of the tokens alone: Redis may be away, all processes agree, and another token ends all sessions."""
    return hashlib.pbkdf2_hmac("sha256", "\0".join(tokens).encode(), b"session of shedder's pages", 200_000)


class FailedLogins:
    """How often a wrong token came from each address lately; in this process.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def seconds_left(self, address: str) -> float:
        """For how long nobody may log in from `address`; 0 for no time."""
        with self._lock:
            times = self._failures.get(_network_of(address), ())
            recent = [each for each in times if each > self._clock() - FAILURES_FOR_SECONDS]
            return recent[0] + FAILURES_FOR_SECONDS - self._clock() if len(recent) >= MOST_FAILURES else 0.0

    def note(self, address: str) -> None:
        """One more came."""
        network = _network_of(address)
        with self._lock:
            self._failures.setdefault(network, deque(maxlen=MOST_FAILURES)).append(self._clock())
            self._failures.move_to_end(network)
            if len(self._failures) > MOST_ADDRESSES:
                self._failures.popitem(last=False)


def _network_of(address: str) -> str:
    """An address of IPv4, or the network that one customer has of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if found.version == 6 else address


def show_login(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """The form of the login."""
    _check_tokens(site)
    return render_page(site, request, visitor, "login.html", problem="", target=_target(request.asked("next")))


def log_in(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """A session for whoever has a token, and the page that was asked for."""
    _check_tokens(site)
    left = site.part(FailedLogins).seconds_left(request.client)
    if left:
        raise Refusal(429, "Too many wrong tokens came from this address.", f"Wait {left / 60:.0f} min, then log in.")
    target, name = _target(request.said("next")), request.said("name").strip()
    role = _role_of(site.settings.tokens, request.said("token"))
    problem = "" if role else "This is not the token."
    if role:
        problem = f"The name {why}." if (why := why_no_name(name)) else ""
    else:
        site.part(FailedLogins).note(request.client)
    if problem:
        return render_page(site, request, visitor, "login.html", status=403, problem=problem, target=target)
    session = Session(name, role, time.time() + SESSION_SECONDS)
    return Response(
        303, headers=(("Location", request.base + target), session_cookie(site.settings.tokens, session, request))
    )


def log_out(_site: Site, request: WebRequest, _visitor: Visitor) -> Response:
    """The browser forgets its session."""
    return Response(303, headers=(("Location", request.url("/login")), _cookie(request, "", 0)))


def _check_tokens(site: Site) -> None:
    if not site.settings.tokens:
        raise Refusal(404, "There is no login with a token here.", "Go to the lanes.")


def _role_of(tokens: Mapping[str, str], said: str) -> str:
    given = said.strip()[:LONGEST_TOKEN].encode("utf-8", "replace")
    found = [role for token, role in tokens.items() if hmac.compare_digest(token.encode(), given)]
    return found[0] if found else ""


def page_of(request: WebRequest) -> str:
    """The page that a request asks for, with what stands behind its question mark."""
    return request.path + (f"?{urlencode(request.query, doseq=True)}" if request.query else "")


def why_no_name(name: str) -> str:
    """What keeps a text from being the name of a person; empty when nothing does."""
    if not name.strip() or len(name) > LONGEST_NAME:
        return f"does not have 1 to {LONGEST_NAME} characters"
    return "has a character that cannot be seen" if any(map(drives_terminals, name)) else ""


def _target(path: str) -> str:
    """A page of ours; what leads elsewhere is the first page."""
    is_ours = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return quote(path, safe=string.punctuation) if is_ours else "/"


ROUTES = (
    Route("GET", "/login", show_login, is_open=True),
    Route("POST", "/login", log_in, is_open=True),
    Route("POST", "/logout", log_out, is_open=True),
)
