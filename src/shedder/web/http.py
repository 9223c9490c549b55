"""A request and a response, of whatever host the pages run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class WebRequest:
    """What a browser asks.

    Attributes:
        method: `GET`, `HEAD` or `POST`.
        path: Below the place at which the pages are mounted; begins with `/`.
        base: Where they are mounted, such as `/shedder`; empty at the root.
        query: The values of each name behind the question mark.
        form: The values of each field of a form that was sent.
        headers: By name in lower case.
        cookies: By name.
        client: The address from which the request came.
        is_secure: It came over TLS.
        user: The person whom the host application has logged in; None when it says nobody.
        is_live: Only the parts of the page are wanted that move.
        streams: The host sends what moves as it comes; else pages ask again and again.
    """

    method: str
    path: str
    base: str = ""
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    is_secure: bool = False
    user: str | None = None
    is_live: bool = False
    streams: bool = False

    def asked(self, name: str, default: str = "") -> str:
        """The first value of a name behind the question mark."""
        return next(iter(self.query.get(name, ())), default)

    def said(self, name: str, default: str = "") -> str:
        """The first value of a field of the form."""
        return next(iter(self.form.get(name, ())), default)

    def url(self, path: str, **query: str | Sequence[str]) -> str:
        """The address of another page of the site, for a link."""
        return f"{self.base}{path}{'?' + urlencode(query, doseq=True, errors='replace') if query else ''}"


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered.

    Attributes:
        status: The status of HTTP.
        body: The bytes of the page.
        headers: Names and values, beside those that every answer has.
        parts: The HTML of each part that moves, by name; only where the request `is_live`.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)


View = Callable[[Any, WebRequest, Any], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """Which view answers.

    Attributes:
        method: `GET` (which answers HEAD too) or `POST`.
        pattern: A regular expression of the whole path; its named groups are in `WebRequest.query`.
        view: What answers.
        is_open: Answers whoever asks, also without a login.
        is_alike: What moves is the same for all who may do the same: the view is not told there who asks.
        is_own_to_act: But for those who may act, who see there what they did themselves.
        head: The head of the page, of what was read before; None for a page whose status has to be waited for.
    """

    method: str
    pattern: str
    view: View
    is_open: bool = False
    is_alike: bool = False
    is_own_to_act: bool = False
    head: Callable[[Any, WebRequest, Any], str] | None = None


def redirect(to: str) -> Response:
    """Send the browser to another page, which it asks for with GET."""
    return Response(303, headers=(("Location", to),))


class Refusal(Exception):
    """A view refuses: the page says the sentence, and what to do next.

    Args:
        status: The status of HTTP.
        sentence: What is wrong.
        advice: What to do about it.
    """

    def __init__(self, status: int, sentence: str, advice: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.advice = status, sentence, advice
