"""The pages in a host: an ASGI app, a blueprint of Flask, patterns of URLs for Django.

The host says who is logged in. A body is read only where it is short, and a form is the only kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs

from shedder.errors import InvalidInput
from shedder.later import later
from shedder.web.app import HEADERS, NOT_KEPT, ControlRoom
from shedder.web.http import Refusal, Response, WebRequest
from shedder.web.site import SiteSettings
from shedder.web.stream import LIVE_PATH, moving

if TYPE_CHECKING:
    import redis
    from flask import Blueprint
    from starlette.requests import Request as AsgiRequest
    from starlette.routing import Router

    from shedder.web.reading import SharedReading
    from shedder.web.stream import Moving
else:
    globals().update(later((("starlette.routing", "Router"),)))

T = TypeVar("T")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

METHODS = ("GET", "HEAD", "POST")
EVERY_METHOD = (*METHODS, "DELETE", "OPTIONS", "PATCH", "PUT")

MOST_BODY = 64 * 1024
MOST_FIELDS = 200
FORM = "application/x-www-form-urlencoded"

THREADS = 16
"""Requests that wait for Redis at once; the others wait for a thread."""

STREAM_THREADS = 4
"""Threads that read and render for open pages, so that they go on while all others are busy."""

TICK_SECONDS = 1.0
"""How often an open page is told how it is."""

GOLDEN_RATIO = 0.618034

STREAM_TICKS = 900
"""After so many a page has to ask again, so that the host can say anew who is logged in."""


def asgi(connection: redis.Redis, *, user: Callable[[Any], str | None] | None = None, **decided: Any) -> AsgiApp:
    """The pages as an ASGI app, to be mounted or to stand alone; it needs no lifespan.

    ```python
    app.mount("/shedder", shedder.web.asgi(connection, user=lambda request: request.user.username))
    ```

    Args:
        connection: The client that the application uses; it stays as it is.
        user: From a request of Starlette to the name of who is logged in; None for nobody.
        decided: As in `SiteSettings`.

    Raises:
        InvalidInput: nothing says who may see the pages.
    """
    return AsgiApp(_site(connection, user, decided), user)


def blueprint(connection: redis.Redis, *, user: Callable[[Any], str | None] | None = None, **decided: Any) -> Blueprint:
    """The pages as a blueprint of Flask.

    ```python
    app.register_blueprint(
        shedder.web.blueprint(connection, user=lambda request: current_user.name), url_prefix="/shedder"
    )
    ```

    Args:
        connection: The client that the application uses; it stays as it is.
        user: From a request of Flask to the name of who is logged in; None for nobody.
        decided: As in `SiteSettings`.

    Raises:
        InvalidInput: nothing says who may see the pages.
    """
    from flask import Blueprint, request
    from flask import Response as FlaskResponse

    site = _site(connection, user, decided)
    pages = Blueprint("shedder", __name__)

    @pages.route("/", methods=EVERY_METHOD, provide_automatic_options=False)
    @pages.route("/<path:path>", methods=EVERY_METHOD, provide_automatic_options=False)
    def page(path: str = "") -> FlaskResponse:
        place = request.script_root + request.path
        asked = WebRequest(
            method=request.method,
            path=f"/{path}",
            base=place.removesuffix(f"/{path}"),
            query=request.args.to_dict(flat=False),
            headers={name.lower(): value for name, value in request.headers.items()},
            cookies=request.cookies,
            client=request.remote_addr or "",
            is_secure=request.is_secure,
            user=user(request) if user else None,
        )
        answer = _answer_with_form(site, asked, lambda: request.form.to_dict(flat=False))
        return FlaskResponse([answer.body], answer.status, list(answer.headers))

    return pages


def _staff(request: Any) -> str | None:
    """The name of a user of Django's who may see its admin; None of others."""
    return request.user.get_username() if request.user.is_active and request.user.is_staff else None


def urls(
    connection: redis.Redis, *, user: Callable[[Any], str | None] | None = _staff, **decided: Any
) -> tuple[list[Any], str]:
    """The pages as patterns of Django, for `include`.

    ```python
    urlpatterns = [path("shedder/", include(shedder.web.urls(django_rq.get_connection())))]
    ```

    Args:
        connection: The client that the application uses; it stays as it is.
        user: From a request of Django to the name of who is logged in, None for nobody; the members of
            the staff when it is not given.
        decided: As in `SiteSettings`.
    """
    from django.http import HttpResponse  # type: ignore[import-untyped]
    from django.urls import re_path  # type: ignore[import-untyped]
    from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]

    site = _site(connection, user, decided)

    def page(request: Any, path: str) -> Any:
        asked = WebRequest(
            method=request.method,
            path=f"/{path}",
            base=request.path.removesuffix(f"/{path}"),
            query=dict(request.GET.lists()),
            headers={name.lower(): value for name, value in request.headers.items()},
            cookies=request.COOKIES,
            client=request.META.get("REMOTE_ADDR", ""),
            is_secure=request.is_secure(),
            user=user(request) if user else None,
        )
        answer = _answer_with_form(site, asked, lambda: dict(request.POST.lists()))
        response = HttpResponse(answer.body, status=answer.status)
        for name, value in answer.headers:
            response.headers[name] = value
        return response

    # where a form comes from is checked by the site itself, as in other hosts
    return [re_path(r"^(?P<path>.*)$", csrf_exempt(page), name="page")], "shedder"


def _site(connection: redis.Redis, user: object, decided: Mapping[str, Any]) -> ControlRoom:
    settings = SiteSettings(**{"is_hosted": user is not None, **decided})
    if not settings.has_login:
        says = "say who may see the pages: user=, tokens=, or behind_proxy= and trusted="
        raise InvalidInput(name="user", value=None, accepted="a function", says=says)
    return ControlRoom(connection, settings)


def _answer_with_form(
    site: ControlRoom, request: WebRequest, form: Callable[[], Mapping[str, Sequence[str]]]
) -> Response:
    """The answer of a host that reads and parses forms itself."""
    if request.method not in METHODS:
        return site.refuse(request, Refusal(405, f"No page takes {request.method}."))
    if request.method == "POST":
        try:
            _check_body(request.headers)
        except Refusal as refusal:
            return site.refuse(request, refusal)
        request = replace(request, form=form())
    return site.handle(request)


def _check_body(headers: Mapping[str, str]) -> None:
    """Return if a body is a form, and short.

    Raises:
        Refusal: it is not.
    """
    length = headers.get("content-length") or "0"
    if "transfer-encoding" in headers or not length.isdecimal():
        raise Refusal(411, "The length of the form has to be said.")
    if int(length) > MOST_BODY:
        raise _too_long()
    if int(length):
        _check_kind(headers)


def _check_kind(headers: Mapping[str, str]) -> None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refusal(415, f"Forms come as {FORM}.")


def _too_long() -> Refusal:
    return Refusal(413, f"A form has at most {MOST_BODY // 1024} kB.", "Say it shorter.")


class AsgiApp:
    """The pages as an ASGI app: what waits for Redis or makes a page does so in threads.

    Args:
        site: The pages.
        user: From a request of Starlette to the name of who is logged in.
    """

    def __init__(self, site: ControlRoom, user: Callable[[Any], str | None] | None = None) -> None:
        self.site = site
        self._user = user
        self._threads = ThreadPoolExecutor(THREADS, "shedder-web")
        self._stream_threads = ThreadPoolExecutor(STREAM_THREADS, "shedder-web-stream")
        self._reading: asyncio.Future[SharedReading] | None = None
        self._moments = moments()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await Router()(scope, receive, send)  # there is nothing to begin or to end, and no WebSocket

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request as AsgiRequest

        asked = AsgiRequest(scope, receive)
        request = _request_of(asked, self._user(asked) if self._user else None)
        is_stream = request.path == LIVE_PATH and request.method == "GET" and not request.asked("once")
        if is_stream and await _in_thread(self._threads, self._may_stream, request):
            await self._stream(request)(scope, receive, send)
            return
        if begun := await _in_thread(self._threads, self.site.begin, request):
            head, rest = begun
            await _send(send, head, is_all=False)
            await send({"type": "http.response.body", "body": await _in_thread(self._threads, rest)})
            return
        await _send(send, await self._answer(asked, request))

    async def _answer(self, asked: AsgiRequest, request: WebRequest) -> Response:
        if request.method not in METHODS:
            return self.site.refuse(request, Refusal(405, f"No page takes {request.method}."))
        try:
            form = await _form_in(asked) if request.method == "POST" else {}
        except Refusal as refusal:
            return self.site.refuse(request, refusal)
        return await _in_thread(self._threads, self.site.handle, replace(request, form=form))

    def _may_stream(self, request: WebRequest) -> bool:
        try:
            route, request = self.site.find(request)
            moving(self.site, request, self.site.admit(request, route))
        except Refusal:  # the answer says why
            return False
        return True

    def _stream(self, request: WebRequest) -> Any:
        from sse_starlette import EventSourceResponse

        headers = dict((*HEADERS, NOT_KEPT))
        return EventSourceResponse(self._messages(request), headers=headers, send_timeout=30)

    async def _messages(self, request: WebRequest) -> AsyncIterator[bytes]:
        moment, clock = next(self._moments), asyncio.get_running_loop().time
        shown: Moving | None = None
        for _ in range(STREAM_TICKS):
            await self._read()
            try:
                message, shown = await _in_thread(self._stream_threads, self._message, request, shown)
            except Refusal:  # who asked is not logged in any more
                return
            yield message
            await asyncio.sleep(until_next(moment, clock()))

    def _message(self, request: WebRequest, shown: Moving | None) -> tuple[bytes, Moving]:
        """What a stream sends: made here, as the event loop would take as long for each page."""
        route, request = self.site.find(request)
        now = moving(self.site, request, self.site.admit(request, route))
        return b"data: " + now.message(shown) + b"\r\n\r\n", now

    async def _read(self) -> SharedReading:
        """One thread reads for all who wait on this loop."""
        loop, reading = asyncio.get_running_loop(), self._reading
        if reading is None or reading.done() or reading.get_loop() is not loop:
            reading = self._reading = loop.run_in_executor(self._stream_threads, self.site.read)
        return await asyncio.shield(reading)


def moments() -> Iterator[float]:
    """For each open page the moment of a tick at which it is told: any number of them are spread evenly.

    Pages that are told at once would hold the event loop for as long as all of them take.
    """
    return (TICK_SECONDS * number * GOLDEN_RATIO % TICK_SECONDS for number in count())


def until_next(moment: float, now: float) -> float:
    """Seconds from `now` until a tick is at its `moment` again."""
    return TICK_SECONDS - (now - moment) % TICK_SECONDS


async def _send(send: Send, answer: Response, *, is_all: bool = True) -> None:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not is_all})


async def _in_thread(threads: ThreadPoolExecutor, function: Callable[..., T], *args: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *args))


def _request_of(asked: AsgiRequest, user: str | None) -> WebRequest:
    base = asked.scope.get("root_path", "").rstrip("/")
    path = asked.scope["path"]
    # some hosts leave where the app is mounted in the path, and some do not
    below = path.removeprefix(base) if path.startswith(f"{base}/") or path == base else path
    return WebRequest(
        method=asked.method,
        path=below or "/",
        base=base,
        query=_several(asked.query_params.multi_items()),
        headers=_joined(asked.headers.items()),
        cookies=asked.cookies,
        client=asked.client.host if asked.client else "",
        is_secure=asked.url.scheme == "https",
        user=user,
        streams=True,
    )


def _several(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A header that comes twice has both values, as in other hosts."""
    return {name: ", ".join(values) for name, values in _several(pairs).items()}


async def _form_in(asked: AsgiRequest) -> Mapping[str, Sequence[str]]:
    body = b""
    async for chunk in asked.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise _too_long()
    if body:
        _check_kind(_joined(asked.headers.items()))
    try:
        return parse_qs(
            body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise Refusal(400, "The form has too many fields.") from None
