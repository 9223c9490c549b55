"""Prints as JSON what a project of Django answers that has the pages at `/shedder/`; with `serve`, serves it."""

from __future__ import annotations

import json
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of the tests",
    ALLOWED_HOSTS=["testserver", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
django.setup()

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.test import Client
from django.urls import include, path
from redis import Redis

import shedder.web
from tests.web.beating import add_beat

add_beat(pytest.MonkeyPatch())
connection = Redis.from_url(sys.argv[1])
urlpatterns = [path("shedder/", include(shedder.web.urls(connection, allow_actions=True)))]


def main() -> None:
    call_command("migrate", verbosity=0)
    nobody, customer, staff = (Client(enforce_csrf_checks=True) for _ in range(3))
    customer.force_login(User.objects.create(username="customer"))
    staff.force_login(User.objects.create(username="desk", is_staff=True))
    page = staff.get("/shedder/beat")
    ours, theirs = {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "cross-site"}
    kind = "application/x-www-form-urlencoded"
    sent = staff.post("/shedder/beat", "text=na%C3%AFve", content_type=kind, headers=ours)
    found = {
        "nobody": nobody.get("/shedder/beat").status_code,
        "customer": customer.get("/shedder/beat").status_code,
        "staff": {"status": page.status_code, "text": page.content.decode(), "policy": page["content-security-policy"]},
        "form": {"status": sent.status_code, "text": sent.content.decode()},
        "other page": staff.post("/shedder/beat", "text=x", content_type=kind, headers=theirs).status_code,
        "unknown page": staff.post("/shedder/beat", "text=x", content_type=kind).status_code,
        "long form": staff.post("/shedder/beat", "text=" + "x" * 70_000, content_type=kind, headers=ours).status_code,
        "delete": staff.delete("/shedder/beat").status_code,
        "live": staff.get("/shedder/live?page=/beat&once=1").json(),
    }
    print(json.dumps(found))


class Silent(WSGIRequestHandler):
    """A server that writes no log."""

    def log_message(self, *_: object) -> None:
        """Nothing is written."""


def serve() -> None:
    """Serve in this thread, which has the database, and print the URL and the session of a member of the staff."""
    call_command("migrate", verbosity=0)
    staff = Client()
    staff.force_login(User.objects.create(username="ana@desk", is_staff=True))
    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Silent) as server:
        print(f"http://127.0.0.1:{server.server_port} {staff.cookies['sessionid'].value}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve() if sys.argv[2:] == ["serve"] else main()
