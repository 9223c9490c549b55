"""What the tests of flags and limits share."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from shedder import Shedder
from shedder.settings.limits import Limits
from shedder.settings.windows import SharedWindows
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis


def with_patient_limits(shedder: Shedder, client: Redis) -> Shedder:
    """`shedder`, whose limits wait for Redis: a machine may let 85 ms pass at any moment."""
    windows = SharedWindows(client, shedder.keys, patience=PATIENCE_SECONDS)
    vars(shedder)["limits"] = Limits(shedder._watch, windows, shedder.keys)
    return shedder


@pytest.fixture
def connect() -> Iterator[Callable[..., Shedder]]:
    """Makes a `Shedder` whose thread ends with the test.

    Its limits wait for Redis for as long as it takes, but with `in_haste` as long as they should.
    """
    with ExitStack() as opened:

        def make(client: Redis, *, in_haste: bool = False) -> Shedder:
            shedder = Shedder(client, by="oncall@ops")
            if not in_haste:
                with_patient_limits(shedder, client)
            opened.callback(shedder.close)
            return shedder

        yield make


@pytest.fixture
def app(redis: Redis, connect: Callable[..., Shedder]) -> Shedder:
    """The application: it declares and asks."""
    return connect(redis)


@pytest.fixture
def operator(redis: Redis, connect: Callable[..., Shedder]) -> Shedder:
    """The operator, in another process as far as flags and limits are concerned."""
    return connect(redis)


def declared(app: Shedder) -> None:
    """Return when Redis knows what `app` has declared."""
    app.flags.enabled("wake")
    wanted = {*app.flags._declared, *app.limits._declared}
    wait_until(
        lambda: wanted <= {each.name for each in (*app.flag_states(), *app.limit_states())},
        what="declarations in Redis",
    )
