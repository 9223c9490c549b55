"""How is each message sent once?

Who sends a message takes it first, and notes when it was sent. Who dies in between leaves it to
the next, who cannot know whether it arrived: it is sent again, and says so. So no message is left
out, and one that could be there twice is marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shedder.heartbeat.channels import Send
from shedder.heartbeat.messages import Message
from shedder.keys import Keys
from shedder.store import Command, Store

PATIENCE_MS = 30_000
"""Who has taken a message and not sent it for so long has died."""

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


def deliver(
    store: Store, keys: Keys, incident: str, messages: Iterable[Message], send: Send, *, who: str
) -> tuple[Message, ...]:
    """Send those of `messages` that nobody has sent; those that did not arrive now.

    A channel that has not taken one gets no more in this round: it may hang at each.
    """
    failed: list[Message] = []
    for message in messages:
        if message.channel in {each.channel for each in failed}:
            continue
        taken = store.run(note_delivery(keys, incident, message, "take", who=who))
        if not taken.is_ours:
            continue
        text = f"{REPEATED if taken.is_doubtful else ''}{message.text}"
        if send(message.channel, message.title, text):
            store.run(note_delivery(keys, incident, message, "sent", who=who))
        else:
            store.run(note_delivery(keys, incident, message, "failed", who=who))
            failed.append(message)
    return tuple(failed)


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
