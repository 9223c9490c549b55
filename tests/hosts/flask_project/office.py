"""A small application: it sends mail in the background."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, current_app

from shedder.flask import RQ

rq = RQ()


@rq.job(queue="mail")
def receipt(order: str) -> str:
    return note(f"receipt {order}")


@rq.job(queue="mail.low")
def newsletter(reader: str) -> str:
    return note(f"newsletter {reader}")


def note(text: str) -> str:
    """Leave one line, with the name of the application, which only its context knows."""
    with Path(os.environ["OFFICE_MARKS"]).open("a", encoding="utf-8") as marks:
        marks.write(f"{text} of {current_app.name}\n")
    return text


def create_app() -> Flask:
    app = Flask("office")
    app.config["RQ_CONNECTION"] = {"unix_socket_path": os.environ["OFFICE_SOCKET"], "socket_timeout": 600}
    app.config["RQ_QUEUES"] = ["default", "mail"]
    rq.init_app(app)
    return app
