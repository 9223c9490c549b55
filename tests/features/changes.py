"""What tests of changes of flags and limits begin with, and what must hold after each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rq.defaults import RQ_KEY_PREFIX

from shedder import Rate, Shedder
from shedder.store.store import load_script
from tests.faults.proxy import Proxy, to_unix_socket


def prepare(redis) -> None:
    """Two flags of a group and a limit, all of them declared and set."""
    said = json.dumps({"v": 1, "group": "spare"})
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:flag-declarations", mapping={"hints": said, "faces": said})
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:limit-declarations", "reports", '{"v": 1, "default": "1/minute"}')
    redis.script_load(load_script("set_back_settings").text)  # the others are met right here
    operator = Shedder(redis, by="ana@desk")
    operator.degrade_flag("hints", percent=20, reason="before")
    operator.set_limit("reports", Rate(5, 60), reason="before")


def state(redis) -> dict[str, object]:
    """All settings, by name."""
    found = {**redis.hgetall(f"{RQ_KEY_PREFIX}:shedder:flags"), **redis.hgetall(f"{RQ_KEY_PREFIX}:shedder:limits")}
    return {name.decode(): _said(json.loads(text)) for name, text in found.items()}


def told(redis) -> dict[str, object]:
    """All settings, as the journal has them."""
    settings: dict[str, object] = {}
    for event in Shedder(redis).events(limit=1000):
        settings.update(event.after)
    return {name: _said(each) for name, each in settings.items() if "since" in each}


def _said(setting) -> dict[str, object]:
    """A setting without the id of the event that set it, which that event cannot hold."""
    return {name: value for name, value in setting.items() if name != "event"}


def count_of(redis) -> int:
    return redis.xlen(f"{RQ_KEY_PREFIX}:shedder:events")


def check(redis) -> None:
    """The journal says what is, and each change has one event and one version."""
    assert told(redis) == state(redis)
    assert count_of(redis) == int(redis.get(f"{RQ_KEY_PREFIX}:shedder:settings-version"))


@contextmanager
def proxy_to(server) -> Iterator[Proxy]:
    with Proxy(to_unix_socket(str(server.socket_path))) as proxy:
        child = os.fork()
        if not child:
            try:
                proxy.run()
            finally:
                os._exit(0)
        try:
            yield proxy
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
