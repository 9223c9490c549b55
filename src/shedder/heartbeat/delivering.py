"""How is each message sent once?

Who sends a message takes it first, and notes when it was sent. Who dies in between leaves it to
the next, who cannot know whether it arrived: it is sent again, and says so. So no message is left
out, and one that could be there twice is marked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from shedder.heartbeat.channels import Send
from shedder.heartbeat.messages import Message
from shedder.keys import Keys
from shedder.store import Command, Store

PATIENCE_MS = 30_000
"""Who has taken a message and not sent it for so long has died."""

DELIVERING_SECONDS = 15.0
"""A round begins no message later than that: it must end before the lease of who leads does."""

PAUSE_MS = 20_000
MOST_TRIES = 8
EXPIRY_SECONDS = 14 * 24 * 3600

REPEATED = "(This may be there already.) "


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
    store: Store,
    keys: Keys,
    incident: str,
    messages: Iterable[Message],
    send: Send,
    *,
    who: str,
    within: Round | None = None,
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
        return [
            each for each in own if not _arrives(store, keys, incident, each, send, who, within)
        ]

    if not by_channel:
        return ()
    with ThreadPoolExecutor(len(by_channel), thread_name_prefix="shedder-deliver") as pool:
        return tuple(each for failed in pool.map(deliver_to, by_channel) for each in failed)


def _arrives(
    store: Store, keys: Keys, incident: str, message: Message, send: Send, who: str, within: Round
) -> bool:
    """Send `message` unless it is another's to send; false when its channel did not take it."""
    taken = store.run(note_delivery(keys, incident, message, "take", who=who))
    if not taken.is_ours:
        return True
    text = f"{REPEATED if taken.is_doubtful else ''}{message.text}"
    has_arrived = send(message.channel, message.title, text)
    if not has_arrived:
        within.silent.add(message.channel)
    mode = "sent" if has_arrived else "failed"
    store.run(note_delivery(keys, incident, message, mode, who=who))
    return has_arrived


def note_delivery(
    keys: Keys, incident: str, message: Message, mode: str, *, who: str
) -> Command[Taken]:
    """Take a message, or note that it was `sent` or has `failed`."""
    return Command(
        "note_delivery",
        (keys.deliveries(incident),),
        (mode, f"{message.channel}/{message.name}", who, PATIENCE_MS, PAUSE_MS, MOST_TRIES,
         EXPIRY_SECONDS),
        lambda reply: Taken(bool(reply[0]), int(reply[1]), bool(reply[2])),
    )  # fmt: skip
