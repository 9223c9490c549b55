"""Jobs of an application that has flags and limits."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from redis import Redis

from shedder import Shedder
from shedder.settings import watch
from shedder.settings.flags import FLAG_ATTRIBUTE
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS


@cache
def shed() -> Shedder:
    return Shedder(Redis.from_url(patient(f"unix://{os.environ['TEST_SOCKET']}")))


class _Late:
    """The flags of a connection that is made when the first job needs it."""

    def enabled(self, name, key=None):
        return shed().flags.enabled(name, key)

    def percent(self, name):
        return shed().flags.percent(name)


def note(path, text):
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def newsletter(path, word):
    note(path, f"newsletter {word}")


def receipt(path, word):
    note(path, f"receipt {word}")


def ask(path, word):
    """Note what a forked worker's child is told, and from which threads."""
    import threading

    from tests.features.conftest import with_patient_limits

    watch.FIRST_LOAD_SECONDS = PATIENCE_SECONDS  # in this process alone
    app = with_patient_limits(shed(), shed().store.connection)
    on = app.flags.enabled("search")
    within = app.limits.hit("reports")
    names = sorted(thread.name for thread in threading.enumerate())
    note(path, f"{word} {on} {within} {'shedder-settings' in names}")


setattr(newsletter, FLAG_ATTRIBUTE, (_Late(), "newsletters"))
