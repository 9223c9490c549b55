"""Asks a site for pages, without a host."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Any

from shedder.web.app import ControlRoom
from shedder.web.http import Response, WebRequest

OURS = {"sec-fetch-site": "same-origin", "host": "localhost"}
TOKEN = "a token of the tests, long enough"


def get(site: ControlRoom, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    return site.handle(WebRequest("GET", path, headers={"host": "localhost"} | (headers or {}), **more))


def post(
    site: ControlRoom, path: str, form: dict[str, str], *, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    said = {name: (value,) for name, value in form.items()}
    return site.handle(WebRequest("POST", path, form=said, headers=OURS if headers is None else headers, **more))


def log_in(site: ControlRoom, *, token: str = TOKEN, name: str = "ana@desk", **more: Any) -> Response:
    return post(site, "/login", {"name": name, "token": token, "next": "/journal?n=5"}, **more)


def cookies_of(response: Response) -> dict[str, str]:
    """What a browser would send from now on."""
    value = header(response, "Set-Cookie").partition(";")[0]
    return dict([value.split("=", 1)])


def header(response: Response, name: str) -> str:
    return next((value for each, value in response.headers if each == name), "")


def text(response: Response) -> str:
    is_packed = header(response, "Content-Encoding") == "gzip"
    return (gzip.decompress(response.body) if is_packed else response.body).decode()


def without(response: Response, *names: str) -> Response:
    return replace(response, headers=tuple(each for each in response.headers if each[0] not in names))
