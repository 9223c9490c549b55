"""A page that moves with each reading, beside those of the site, and hosts in threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from jinja2 import ChoiceLoader, DictLoader
from werkzeug.serving import make_server

from shedder.web import app
from shedder.web.app import ControlRoom
from shedder.web.http import Response, Route, WebRequest
from shedder.web.rendering import ENVIRONMENT, render_page
from shedder.web.site import Visitor
from tests.waiting import wait_until

if TYPE_CHECKING:
    import pytest

TEMPLATE = """\
{% extends "base.html" %}
{% set word = "reading" %}
{% block title %}beat{% endblock %}
{% block main %}
<h1>{{ visitor.name }}</h1>
<section data-live="beat">{% block live_beat %}{{ word }} {{ number }}{% endblock %}</section>
<section data-live="still">{% block live_still %}<b>still</b>{% endblock %}</section>
<p>{{ request.said("text") }}{{ request.asked("q") }} {{ request.url("/login") }}</p>
{% endblock %}
"""


class Beats:
    """How often the page was made."""

    count = 0


def add_beat(monkeypatch: pytest.MonkeyPatch) -> type[Beats]:
    """Let all sites of this process have the page `/beat`, which forms may be sent to."""

    class Own(Beats):
        pass

    def beat(site: ControlRoom, request: WebRequest, visitor: Visitor) -> Response:
        Own.count += 1
        return render_page(site, request, visitor, "beat.html", number=site.read().number)

    every = (*app.routes(), Route("GET", "/beat", beat), Route("POST", "/beat", beat))
    monkeypatch.setattr(app, "routes", lambda: every)
    monkeypatch.setattr(ENVIRONMENT, "loader", ChoiceLoader([DictLoader({"beat.html": TEMPLATE}), ENVIRONMENT.loader]))
    return Own


@contextmanager
def uvicorn_of(application: Any) -> Iterator[str]:
    """The URL at which an ASGI app is served meanwhile."""
    server = uvicorn.Server(
        uvicorn.Config(
            application, host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="uvicorn")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def werkzeug_of(application: Any) -> Iterator[str]:
    """The URL at which a WSGI app is served meanwhile."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
