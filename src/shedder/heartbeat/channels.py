"""How does a message reach people? Through Apprise, and never for longer than it may take.

Apprise takes a second to load and says nothing of a URL that it cannot use; so it is loaded when
something is sent, and each URL is tried before the first message. A URL may hold a password: only
its private form is ever shown.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shedder.errors import InvalidInput, ShedderError

logger = logging.getLogger("shedder.channels")

SEND_SECONDS = 10.0
"""A channel whose URLs have not all taken a message by then has failed."""

VARIABLES = {"main": "SHEDDER_CHANNEL_MAIN", "notes": "SHEDDER_CHANNEL_NOTES"}
"""Environment variables with URLs, by spaces; they are added to those of the policy."""

_PREFIX = "env:"

Send = Callable[[str, str, str], bool]
"""Sends a title and a text to a channel of that name; whether all of its URLs took it."""


class Channels:
    """Where messages go.

    Args:
        urls: By channel its Apprise URLs, or `env:NAME` for those that the environment holds.

    Raises:
        InvalidInput: a URL is none that Apprise knows, or a variable is not set.
        ShedderError: Apprise is not installed, and there is a URL.
    """

    def __init__(self, urls: Mapping[str, Sequence[str]]) -> None:
        found = {name: resolved(name, each) for name, each in urls.items()}
        self._services = {name: _services(name, each) for name, each in found.items() if each}

    @property
    def names(self) -> frozenset[str]:
        """The channels that lead anywhere."""
        return frozenset(self._services)

    def places(self, channel: str) -> tuple[str, ...]:
        """Where a channel leads, without what is secret."""
        return tuple(str(each.url(privacy=True)) for each in self._services.get(channel, ()))

    def send(self, channel: str, title: str, text: str) -> bool:
        """Send to all places of a channel at once; whether all took it within `SEND_SECONDS`."""
        services = self._services.get(channel, ())
        taken = [False] * len(services)

        def notify(index: int, service: Any) -> None:
            taken[index] = _notify(service, title, text)

        threads = [
            threading.Thread(target=notify, args=each, name="shedder-channel", daemon=True)
            for each in enumerate(services)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + SEND_SECONDS  # for all of them, not for each
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        for is_taken, service in zip(taken, services, strict=True):
            if not is_taken:
                logger.warning("%s did not take a message", service.url(privacy=True))
        return all(taken)


def channel_urls(policy: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The URLs of the policy, and those that the environment adds."""
    urls = {name: tuple(each) for name, each in policy.items()}
    for name, variable in VARIABLES.items():
        if text := os.environ.get(variable, "").split():
            urls[name] = (*urls.get(name, ()), *text)
    return urls


def resolved(channel: str, urls: Sequence[str]) -> tuple[str, ...]:
    """The URLs themselves, where the environment holds them.

    Raises:
        InvalidInput: a variable is not set.
    """
    found: list[str] = []
    for url in urls:
        if not url.startswith(_PREFIX):
            found.append(url)
            continue
        name = url.removeprefix(_PREFIX)
        text = os.environ.get(name, "").split()
        if not text:
            raise InvalidInput(
                name=f"channel {channel}", value=url, accepted=f"a variable that is set: {name}"
            )
        found += text
    return tuple(found)


def _services(channel: str, urls: Sequence[str]) -> tuple[Any, ...]:
    try:
        import apprise
    except ImportError as error:
        raise ShedderError(
            "channels need Apprise; install shedder[incident], or take them out of the policy"
        ) from error
    # its records hold URLs as they are written
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    found = []
    for number, url in enumerate(urls, start=1):
        service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if service is None:
            scheme = url.partition("://")[0] if "://" in url else "?"
            raise InvalidInput(
                name=f"channel {channel}", value=f"URL {number} ({scheme}://...)",
                accepted="a URL that Apprise knows, such as json://host/path or mailto://...",
            )  # fmt: skip
        found.append(service)
    return tuple(found)


def _notify(service: Any, title: str, text: str) -> bool:
    try:
        return bool(service.notify(body=text, title=title))
    except Exception as error:  # noqa: BLE001 - a service may raise what it likes; it did not take it
        logger.debug("a channel raised %s", type(error).__name__)
        return False
