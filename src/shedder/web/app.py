"""`ControlRoom`: finds the view of a request, lets in who may, and answers."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from mimetypes import guess_type

from shedder.errors import ShedderError
from shedder.web import acting, incident_pages, login, pages, stream
from shedder.web.access import check_origin, visitor_of
from shedder.web.http import Refusal, Response, Route, WebRequest, redirect
from shedder.web.rendering import HEAD_ENDS, HTML, render_page
from shedder.web.site import STRANGER, Site, Visitor

logger = logging.getLogger("shedder.web")

CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

HEADERS = (
    ("Content-Security-Policy", CONTENT_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # with `no-referrer` a browser would send the Origin `null` with our own forms
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""What every answer says to a browser."""

NOT_KEPT = ("Cache-Control", "no-store")

WORTH_COMPRESSING = 1000
COMPRESSED_BY, GZIP = 5, 31
PACKED = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))

_STATUS = {2: 400, 3: 409, 4: 503}
"""The status of HTTP for the exit code that an error earns on a command line; 500 for others."""


class ControlRoom(Site):
    """The pages of one Redis, and how they answer."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """Which view answers what."""
        return routes()

    def handle(self, request: WebRequest) -> Response:
        """The answer to a request; may wait for Redis."""
        return _finished(request, self._answer(request))

    def begin(self, request: WebRequest) -> tuple[Response, Callable[[], bytes]] | None:
        """The head of a page, and what waits for Redis and gives the rest of it; None where the whole is waited for.

        So one sees at once where one is, and the browser loads what the page needs meanwhile.
        """
        head = self._head(request)
        if head is None:
            return None
        packer = zlib.compressobj(COMPRESSED_BY, wbits=GZIP) if _takes_gzip(request) else None

        def packed(text: bytes, flush: int) -> bytes:
            return packer.compress(text) + packer.flush(flush) if packer else text

        def rest() -> bytes:
            body = self._answer(request).body
            # what is said to strangers, as when the page failed, has no head that could be left out
            return packed(body.partition(HEAD_ENDS.encode())[2] or body, zlib.Z_FINISH)

        headers = (*HTML, *HEADERS, NOT_KEPT, *(PACKED if packer else ()))
        return Response(200, packed(head.encode("utf-8", "replace"), zlib.Z_SYNC_FLUSH), headers), rest

    def _head(self, request: WebRequest) -> str | None:
        if request.method != "GET" or self.last_reading is None:
            return None
        try:
            route, found = self.find(request)
            return route.head(self, found, self.admit(found, route)) if route.head else None
        except (Refusal, ShedderError):  # the answer says why
            return None

    def refuse(self, request: WebRequest, refusal: Refusal, visitor: Visitor = STRANGER) -> Response:
        """The page that says why a request is refused, and nothing else to a stranger."""
        return _finished(request, self._refused(request, refusal, visitor))

    def _refused(self, request: WebRequest, refusal: Refusal, visitor: Visitor) -> Response:
        template = "refused.html" if visitor.may_look else "stranger.html"
        return render_page(self, request, visitor, template, status=refusal.status, refusal=refusal)

    def admit(self, request: WebRequest, route: Route) -> Visitor:
        """Who asks, if they may look.

        Raises:
            Refusal: they may not, or another page has sent the request.
        """
        if route.method == "POST":
            check_origin(request)
        if route.is_open:
            return STRANGER
        visitor = visitor_of(self, request)
        if not visitor.may_look:
            raise Refusal(401, "Log in to see this page.", self._how_to_log_in())
        return visitor

    def _how_to_log_in(self) -> str:
        if self.settings.tokens:
            return "Say who you are, and the token that whoever runs these pages gave you."
        return "Log in at the application or the proxy through which you come here, then load this page again."

    def _answer(self, request: WebRequest) -> Response:
        try:
            route, found = self.find(request)
            return route.view(self, found, self.admit(found, route))
        except Refusal as refusal:
            if refusal.status == 401 and self._can_log_in(request):
                return redirect(request.url("/login", next=login.page_of(request)))
            return self._refused(request, refusal, self._visitor(request))
        except ShedderError as error:
            status = _STATUS.get(error.exit_code, 500)
            return self._refused(request, Refusal(status, f"{error}.", "Load this page again."), self._visitor(request))
        except Exception:
            logger.exception("a page failed")
            return self._refused(request, Refusal(500, "This page failed; the log says where."), STRANGER)

    def _visitor(self, request: WebRequest) -> Visitor:
        try:
            return visitor_of(self, request)
        except Refusal:
            return STRANGER

    def _can_log_in(self, request: WebRequest) -> bool:
        return bool(self.settings.tokens) and request.method in ("GET", "HEAD") and request.path != stream.LIVE_PATH


@cache
def routes() -> tuple[Route, ...]:
    """All pages."""
    return (
        Route("GET", f"{STATIC}(?P<file>[\\w.-]+)", static_file, is_open=True),
        *login.ROUTES,
        *stream.ROUTES,
        *pages.ROUTES,
        *incident_pages.ROUTES,
        *acting.ROUTES,
    )


STATIC = "/static/"


def static_file(_site: Site, request: WebRequest, _visitor: Visitor) -> Response:
    """A file that pages use: styles, the script, pictures."""
    found = _static_files().get(request.asked("file"))
    if found is None:
        raise Refusal(404, "There is no such file.")
    tag = next(value for name, value in found.headers if name == "ETag")
    is_known = tag in request.headers.get("if-none-match", "")
    return replace(found, status=304, body=b"") if is_known else found


@cache
def _static_files() -> dict[str, Response]:
    folder = files("shedder.web") / "static"
    return {each.name: _static(each.name, each.read_bytes()) for each in folder.iterdir() if each.is_file()}


def _static(name: str, body: bytes) -> Response:
    kind = guess_type(name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    tag = f'"{sha256(body).hexdigest()[:20]}"'
    # asked for again each time, so that a page and its script are of one version
    kept = (("Content-Type", kind + charset), ("ETag", tag), ("Cache-Control", "no-cache"))
    return Response(200, body, kept)


def _takes_gzip(request: WebRequest) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def _finished(request: WebRequest, response: Response) -> Response:
    """The answer with what every answer has, compressed where the browser takes it."""
    said = {name for name, _ in response.headers}
    more = [each for each in (*HEADERS, NOT_KEPT) if each[0] not in said]
    body = response.body
    if len(body) >= WORTH_COMPRESSING and _takes_gzip(request):
        body = gzip.compress(body, COMPRESSED_BY, mtime=0)
        more += PACKED
    if response.status != 304:
        more.append(("Content-Length", str(len(body))))
    return replace(response, body=b"" if request.method == "HEAD" else body, headers=(*response.headers, *more))
