"""The page of the keys names every key that there is, and none that there is not."""

from __future__ import annotations

import importlib
import inspect
import re
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING

from shedder import Rate, Selection, Shedder
from shedder.engine.names import rq_keys
from shedder.incident.incidents import MOST_EVENTS
from shedder.incident.store import LARGEST_RECORD
from shedder.policy.applied import POLICIES_KEPT
from shedder.queues.claims import claim_job
from shedder.queues.maintenance import Upkeep
from shedder.queues.samples import EXPIRY, SAMPLES_KEPT
from shedder.rq import Queue, SimpleWorker
from shedder.store.keys import SAMPLE_STEPS, Keys, kind_of
from shedder.updates.channels import EXPIRY_SECONDS
from tests.docs.pages import DOCS
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

PAGE = (DOCS / "reference" / "keys.md").read_text(encoding="utf-8")
PLACEHOLDERS = {"identifier": "<operation>"}
NOT_KEYS = {"backlogs", "lane", "lanes", "root"}


def names_on_page() -> set[str]:
    return set(re.findall(r"^\| `(rq:shedder:[^`]+)` \|", PAGE, re.MULTILINE))


def names_in_code() -> Iterator[str]:
    keys = rq_keys()
    for name, member in vars(Keys).items():
        if name.startswith("_") or name in NOT_KEYS or name == "engine":
            continue
        if isinstance(member, property):
            found = getattr(keys, name)
        else:
            parameters = list(inspect.signature(member).parameters)[1:]
            found = getattr(keys, name)(*(PLACEHOLDERS.get(each, f"<{each}>") for each in parameters))
        yield from (found,) if isinstance(found, str) else found


def test_page_and_code_name_the_same_keys() -> None:
    """Each name that `Keys` gives has a row, and each row is such a name."""
    assert set(names_in_code()) == names_on_page()


def test_page_and_code_say_the_same_types() -> None:
    """Errors name the type that a key should have, and the page says the same."""
    rows = re.findall(r"^\| `(rq:shedder:[^`]+)` \| ([a-z ]+) \|", PAGE, re.MULTILINE)
    said = {name: {"sorted set": "zset"}.get(kind, kind) for name, kind in rows}
    assert said == {name: kind_of(name) or "channel" for name in said}


def test_no_key_appears_at_run_time_that_is_not_on_the_page(redis: Redis) -> None:
    """Whatever an incident leaves in Redis is a key of RQ or one that the page describes."""
    patterns = [re.sub(r"<\\?\w+>", "[^:]+", re.escape(name)) for name in names_on_page()]
    known = re.compile("|".join(patterns))
    incident = Incident(redis)
    incident.run()
    assert set() == {key for key in incident.seen if not known.fullmatch(key)}
    kinds = {key.split(":")[2] for key in incident.seen}
    assert set() == {"kept", "parked", "backlog", "claims", "drain", "skipped", "series"} - kinds


def test_how_long_an_incident_is_kept_is_what_the_code_says() -> None:
    """The table names where each time and number is said, and says the same."""
    section = PAGE.partition("### How long it is kept")[2].partition("\n## ")[0]
    rows = {what: (kept, said) for what, kept, said in
            re.findall(r"^\| (\S.*?) \| (.*?) \| (.*?) \|$", section, re.MULTILINE)}  # fmt: skip
    for _, said in rows.values():
        for module, name in re.findall(r"`(shedder\.[a-z_.]+)\.([A-Z_]+)`", said):
            assert hasattr(importlib.import_module(module), name), name
    assert f"{LARGEST_RECORD // 1024} KiB" in rows["The record of an incident, and its place in the list"][0]
    journal = files("shedder").joinpath("lua", "lib", "journal.lua").read_text(encoding="utf-8")
    assert "JOURNAL_LENGTH = 100000\n" in journal
    assert (rows["Its events"][0]).count(f"{MOST_EVENTS:,}") == 2
    assert rows["What was sent of it"][0] == f"{EXPIRY_SECONDS // 86400} days"
    assert rows["Policies that were in force"][0] == f"the last {POLICIES_KEPT}"
    steps = [kept * step for kept, step in zip(SAMPLES_KEPT, SAMPLE_STEPS, strict=True)]
    assert [600, 3600, 3 * 86400, 14 * 86400] == steps
    assert timedelta(days=14) == EXPIRY
    assert rows["Samples of a lane"][0].startswith("10 minutes, an hour, 3 days and 14 days")


class Incident:
    """Something of everything, and the keys that were seen after each step of it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.shedder = Shedder(redis)
        self.mail = Queue("mail", connection=redis)
        self.seen: set[str] = set()

    def run(self) -> None:
        self.fill()
        steps = (self.pause, self.divert, self.drain, self.claim, self.work, self.restore)
        for step in steps:
            step()
            self.look()

    def look(self, *_: object) -> None:
        self.seen |= {key.decode() for key in self.redis.keys("rq:shedder:*")}

    def fill(self) -> None:
        functions = ("tests.jobs.mark", "tests.jobs.hold") * 300
        self.mail.enqueue_many(Queue.prepare_data(name, ("/dev/null", "")) for name in functions)
        self.redis.sadd("rq:workers:mail", "rq:worker:stock")
        self.redis.hset("rq:worker:stock", mapping={"state": "idle", "queues": "mail"})

    def pause(self) -> None:
        self.shedder.pause("mail", reason="test", expires_in=timedelta(hours=1))

    def divert(self) -> None:
        marks = Selection(functions=("*.mark",))
        self.shedder.divert("mail", selection=marks, reason="test", on_progress=self.look)
        self.shedder.resume("mail", reason="test")

    def drain(self) -> None:
        self.shedder.drain("mail", rate=Rate(1000), reason="test")
        first = next(key for key in self.seen if key.endswith(":mail:rest"))
        self.redis.delete(f"rq:job:{self.redis.lindex(first, 0).decode()}")

    def claim(self) -> None:
        self.shedder.store.run(claim_job(self.shedder.keys, ["mail"], worker="test"))

    def work(self) -> None:
        run_burst(SimpleWorker(["mail"], connection=self.redis), max_jobs=3)
        Upkeep(self.shedder.store, ["mail"]).do()

    def restore(self) -> None:
        self.shedder.drain_at_once("mail", reason="test", on_progress=self.look)
