"""Channels, and the delivery of each message once.

Apprise takes a second to load and says nothing of a URL that it cannot use; so it is loaded when
something is sent, and each URL is tried before the first message. A URL may hold a password: only
its private form is ever shown.

A process takes a message before it sends it, and notes that it was sent. If it dies in between, the
next one cannot know whether the message arrived: it sends it again, and the text says so. So no
message is left out, and one that could be there twice is marked.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from shedder.errors import InvalidInput, ShedderError
from shedder.incident.records import IncidentReceipt
from shedder.policy.model import IncidentPolicy
from shedder.store.keys import Keys
from shedder.store.store import Command, Store
from shedder.updates.messages import Message, messages_of

logger = logging.getLogger("shedder.channels")

SEND_SECONDS = 10.0
"""A channel whose URLs have not all taken a message by then has failed."""

VARIABLES = {"main": "SHEDDER_CHANNEL_MAIN", "notes": "SHEDDER_CHANNEL_NOTES"}
"""Environment variables with URLs, by spaces; they are added to those of the policy."""

PATIENCE_MS = 30_000
"""A process that took a message and has not sent it after this time has died."""

DELIVERING_SECONDS = 15.0
"""A round begins no message later than this: it must end before the lease of its watcher does."""

PAUSE_MS = 20_000
MOST_TRIES = 8
EXPIRY_SECONDS = 14 * 24 * 3600

REPEATED = "(This may be there already.) "


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
        found = {name: _resolved(name, each) for name, each in urls.items()}
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


def _resolved(channel: str, urls: Sequence[str]) -> tuple[str, ...]:
    """The URLs themselves, where the environment holds them.

    Raises:
        InvalidInput: a variable is not set.
    """
    found: list[str] = []
    for url in urls:
        name = url.removeprefix(_PREFIX)
        text = [url] if name == url else os.environ.get(name, "").split()
        if not text:
            raise InvalidInput(name=f"channel {channel}", value=url, accepted=f"a variable that is set: {name}")
        found += text
    return tuple(found)


def _services(channel: str, urls: Sequence[str]) -> tuple[Any, ...]:
    try:
        import apprise
    except ImportError as error:
        needed = "channels need Apprise; install shedder[incident], or take them out of the policy"
        raise ShedderError(needed) from error
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


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether a message is ours to send.

    Attributes:
        is_ours: It is.
        tries: How often it was tried before.
        is_doubtful: Somebody took it and was not heard of again: it may have arrived.
    """

    is_ours: bool
    tries: int
    is_doubtful: bool


@dataclass(slots=True)
class Round:
    """What the deliveries of one round share, those of all incidents.

    Attributes:
        began: When it began (monotonic clock, seconds).
        silent: Channels that have not taken a message: they may hang at each.
    """

    began: float = field(default_factory=time.monotonic)
    silent: set[str] = field(default_factory=set)

    def has_time_for(self, channel: str) -> bool:
        """Whether another message to `channel` may begin."""
        is_over = time.monotonic() - self.began > DELIVERING_SECONDS
        return not is_over and channel not in self.silent


def deliver(
    store: Store, incident: str, messages: Iterable[Message], send: Send, *, who: str, within: Round | None = None
) -> tuple[Message, ...]:
    """Send those of `messages` that nobody has sent; those that did not arrive now.

    Channels are sent to side by side. One that has not taken a message gets no more in the round
    `within`, and what a round has no time for stays for the next one.
    """
    within = within or Round()
    by_channel: dict[str, list[Message]] = {}
    for message in messages:
        by_channel.setdefault(message.channel, []).append(message)

    def deliver_to(channel: str) -> list[Message]:
        own = (each for each in by_channel[channel] if within.has_time_for(channel))
        return [each for each in own if not _arrives(store, incident, each, send, who, within)]

    if not by_channel:
        return ()
    with ThreadPoolExecutor(len(by_channel), thread_name_prefix="shedder-deliver") as pool:
        return tuple(each for failed in pool.map(deliver_to, by_channel) for each in failed)


def send_update(
    store: Store, policy: IncidentPolicy, channels: Channels, receipt: IncidentReceipt, *, who: str
) -> tuple[list[str], list[str]]:
    """Send the last update of an incident now: the places that took it, the channels that did not."""
    incident = receipt.incident
    name = f"update-{incident.updates[-1].number}"
    due = messages_of(incident, (), policy, receipt.at)
    own = [each for each in due if each.name == name and each.channel in channels.names]
    failed = deliver(store, incident.id, own, channels.send, who=who)
    sent_to = [place for each in own if each not in failed for place in channels.places(each.channel)]
    return sent_to, [each.channel for each in failed]


def _arrives(store: Store, incident: str, message: Message, send: Send, who: str, within: Round) -> bool:
    """Send `message` unless it is another's to send; false when its channel did not take it."""
    taken = store.run(note_delivery(store.keys, incident, message, "take", who=who))
    if not taken.is_ours:
        return True
    text = f"{REPEATED if taken.is_doubtful else ''}{message.text}"
    has_arrived = send(message.channel, message.title, text)
    if not has_arrived:
        within.silent.add(message.channel)
    mode = "sent" if has_arrived else "failed"
    store.run(note_delivery(store.keys, incident, message, mode, who=who))
    return has_arrived


def note_delivery(keys: Keys, incident: str, message: Message, mode: str, *, who: str) -> Command[Taken]:
    """Take a message, or note that it was `sent` or has `failed`."""
    return Command(
        "note_delivery",
        (keys.deliveries(incident),),
        (mode, f"{message.channel}/{message.name}", who, PATIENCE_MS, PAUSE_MS, MOST_TRIES, EXPIRY_SECONDS),
        lambda reply: Taken(bool(reply[0]), int(reply[1]), bool(reply[2])),
    )
