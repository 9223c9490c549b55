"""Somebody changes by hand what is no job and no control: policy, settings, incidents, samples.

Each verb then says in a sentence what it cannot read, or does without; producers and workers go on,
and no job is lost.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from shedder.cli import main
from shedder.cli.output import json_text
from shedder.engine.names import rq_keys
from shedder.policy.model import Policy
from shedder.queues.claims import Claimed, claim_job, release_claim
from shedder.queues.maintenance import Upkeep
from shedder.rq import Queue, SimpleWorker
from shedder.store.store import Store
from shedder.units import Rate
from tests import jobs
from tests.cli.every_verb import CHANGES, LOOKS, POLICY
from tests.faults.accounting import Wrong, append_line
from tests.faults.schedule import Fault
from tests.faults.states import age, fill_as
from tests.faults.verbs import finish_begun
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder import Shedder
    from tests.faults.stage import Stage

DELETED, OTHER, DAMAGED, NEWER, BARE = (
    "deleted",
    "of another type",
    "damaged",
    "of a newer version",
    "without what was not always there",
)
GARBAGE = ("", "x", "null", "[]", "7", '{"v": 1}', '{"v": "1", "at": {}}', "[" * 5000, "\x00\xff")
ALWAYS_THERE = ("v", "id", "number", "document")

ELSEWHERE = (":claims", ":pauses", ":diverts", ":backlog:", ":stale:", ":operation:", ":starting")
"""Keys that hold jobs or controls, which other rows are about."""

FEW_VERBS = 8
"""So many are typed for each key in a short run; all in a long one."""

LONG = 10
EXIT_CODES = (0, 1, 3)


def lived_in(stage: Stage) -> None:
    """An installation in which everything was used once."""
    operator, keys = stage.operator(), stage.keys
    operator.policies.apply(Policy(stale_after=timedelta(days=1)), reason="before")
    age(stage, fill_as(stage, "old", "mail", 3))
    fill_as(stage, "young", "mail", 3)
    fill_as(stage, "other", "reports", 2)
    operator.divert("mail", reason="before")
    finish_begun(operator)
    operator.limit_starts("reports", rate=Rate(1000.0), reason="before")
    fill_as(stage, "slow", "sms", 2)
    operator.divert("sms", reason="before")
    operator.drain("sms", rate=Rate(0.001), reason="before")
    _use_settings(operator)
    declared = (keys.flag_declarations, keys.limit_declarations)
    wait_until(lambda: stage.redis.exists(*declared) == len(declared), what="declarations")
    operator.degrade_flag("avatars", reason="before")
    operator.set_limit("reports", rate=Rate.parse("5/minute"), reason="before")
    _keep_incident(operator)
    finish_begun(operator)
    found = operator.store.run(claim_job(keys, ("reports",), worker="w"))
    if isinstance(found, Claimed):
        operator.store.run(release_claim(keys, found.token))
    stage.redis.hincrby(keys.meters, "reports:started", 1)
    operator.close()
    stage.redis.set(keys.watch_lease, "somebody", px=40_000)


def _use_settings(operator: Shedder) -> tuple[bool, bool]:
    operator.flags.declare("avatars")
    operator.limits.declare("reports", default="10/minute")
    return operator.flags.enabled("avatars"), operator.limits.hit("reports")


def _keep_incident(operator: Shedder) -> None:
    """An open incident, a part of which came back from a copy."""
    redis, keys = operator.store.connection, operator.keys
    incident = operator.incidents.open("late", severity=2, reason="before").incident.id
    operator.incidents.note("found", incident=incident)
    copy = operator.incidents.export()
    redis.delete(keys.incident(incident), keys.incidents, keys.open_incidents)
    operator.incidents.bring_back(copy)
    redis.hset(keys.deliveries(incident), "1 chat", "sent")


def spoil(stage: Stage, key: str, how: str) -> None:
    """Change a key as `how` says."""
    redis, kind = stage.redis, stage.redis.type(key).decode()
    garbage = stage.dice.choice(GARBAGE)
    if how in (DELETED, OTHER):
        redis.delete(key)
    if how == OTHER:
        kinds = sorted({*_MADE} - {kind})
        _MADE[stage.dice.choice(kinds)](redis, key)
    elif how != DELETED:
        _CHANGED[kind](redis, key, lambda value: _changed(value, how, garbage))


_MADE: dict[str, Callable[[Any, str], object]] = {
    "string": lambda redis, key: redis.set(key, "x"),
    "list": lambda redis, key: redis.rpush(key, "x"),
    "hash": lambda redis, key: redis.hset(key, "x", "y"),
    "zset": lambda redis, key: redis.zadd(key, {"x": 1}),
}

Change = Callable[[bytes], str | bytes]


def _change_list(redis: Redis, key: str, change: Change) -> None:
    values: Any = redis.lrange(key, 0, -1)
    redis.delete(key)
    redis.rpush(key, *map(change, values))


def _change_hash(redis: Redis, key: str, change: Change) -> None:
    fields: Any = redis.hgetall(key)
    redis.hset(key, mapping={field: change(value) for field, value in fields.items()})


_CHANGED: dict[str, Callable[[Any, str, Change], object]] = {
    "string": lambda redis, key, change: redis.set(key, change(redis.get(key)), keepttl=True),
    "hash": _change_hash,
    "list": _change_list,
    "zset": lambda redis, key, change: redis.zadd(key, {change(b"x"): 1}),
    "set": lambda redis, key, change: redis.sadd(key, change(b"x")),
    "stream": lambda redis, key, change: redis.xadd(key, {"event": change(b"x")}),
}


def _changed(value: bytes, how: str, garbage: str) -> str | bytes:
    if how == DAMAGED:
        return garbage
    try:
        record = json.loads(value)
    except ValueError:
        return value
    if not isinstance(record, dict):
        return value
    if how == NEWER:
        return json.dumps({**record, "v": 99, "of_the_future": True})
    return json.dumps({name: record[name] for name in ALWAYS_THERE if name in record})


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A key is changed; then a producer enqueues, a worker works, and verbs are typed.

    Attributes:
        how: What is done to the key.
    """

    how: str

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        lived_in(stage)
        keys = self._keys(stage)
        for key in stage.dice.sample(keys, min(stage.size, len(keys))):
            stage.redis.flushall()
            stage.forget()
            stage.clear_marks()
            lived_in(stage)
            self._play(stage, next(each for each in self._keys(stage) if _name(each) == _name(key)))

    def _keys(self, stage: Stage) -> list[str]:
        ours = sorted(key for key in stage.snapshot().keys if key.startswith(stage.keys.root))
        return [key for key in ours if not any(part in key for part in ELSEWHERE)]

    def _play(self, stage: Stage, key: str) -> None:
        spoil(stage, key, self.how)
        stage.outcome.injected += 1
        what = f"{key} {self.how} ({stage.redis.type(key).decode()})"
        verbs = (*LOOKS, *CHANGES)
        if stage.size < LONG:
            verbs = stage.dice.sample(verbs, FEW_VERBS)
        trials = Trials(stage, key, verbs, is_of_another_type=self.how == OTHER)
        trials.said.write_text("")
        # in a process of its own: the command line says how this process logs, and follows settings
        child = stage.start(trials.do)
        said = child.said() if child.wait(timeout=PATIENCE_SECONDS) else ""
        for line in (*trials.said.read_text().splitlines(), *filter(None, [said])):
            stage.outcome.wrong.append(Wrong("other", f"{what}: {line}"))
        stage.outcome.jobs += len(stage.book.sure)
        stage.check_now()


def _name(key: str) -> str:
    """A key without the id of an order, which is another one each time."""
    return _ORDER.sub("", key)


_ORDER = re.compile("[0-9a-f]{32}")


class Trials:
    """What is done once a key was changed; each that fails leaves a line in a file."""

    def __init__(self, stage: Stage, key: str, verbs: Sequence[tuple[str, ...]], *, is_of_another_type: bool) -> None:
        self.said: Path = stage.folder / "said"
        self._stage = stage
        self._key = key
        self._verbs = verbs
        self._is_of_another_type = is_of_another_type
        self._paths = {name: str(stage.folder / name) for name in ("POLICY", "COPY", "OUT")}

    def do(self) -> None:
        """Do it all."""
        stage = self._stage
        (stage.folder / "POLICY").write_text(POLICY)
        (stage.folder / "COPY").write_text(json_text({}))
        client = stage.server.client()
        self._try("an application", lambda: _use_settings(stage.operator(client)))
        self._try("a producer", lambda: self._enqueue(client))
        self._try("the upkeep", lambda: self._look_after(client))
        for words in self._verbs:
            self._type(words)
        self._try("a worker", lambda: self._work(client))

    def _try(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception:  # noqa: BLE001 - this is what is looked for
            append_line(self.said, what, traceback.format_exc(limit=-3).replace("\n", " / "))

    def _enqueue(self, client: Redis) -> None:
        queue = Queue("reports", connection=client)
        queue.enqueue(jobs.mark, self._stage.marks_path, "new", job_id="new")

    def _look_after(self, client: Redis) -> None:
        Upkeep(Store(client, rq_keys()), ("mail", "reports")).do()

    def _work(self, client: Redis) -> None:
        run_burst(SimpleWorker(["reports"], connection=client))
        if self._is_of_another_type and not self._has_run():  # a burst does not wait for it
            client.delete(self._key)
            run_burst(SimpleWorker(["reports"], connection=client))
        if not self._has_run():
            append_line(self.said, "a worker", "did not run the new job")

    def _has_run(self) -> bool:
        return "new" in jobs.started(self._stage.marks_path)

    def _type(self, words: Sequence[str]) -> None:
        line = ["-u", patient(self._stage.server.url), *(self._paths.get(word, word) for word in words)]
        done = CliRunner().invoke(main, line)
        # an import may find a damaged file, and `shed` that no policy is in force
        is_usage = "import" in words or "shed" in words
        is_told = done.exit_code in (*EXIT_CODES, *([2] if is_usage else []))
        surprises = ("(unexpected", "Traceback", "refused the command")
        if not is_told or any(each in done.stderr for each in surprises):
            last = [*done.stderr.strip().splitlines(), ""][0 if not is_told else -2]
            append_line(self.said, " ".join(words), done.exit_code, last[:300])


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault(f"by hand: policy, settings, incidents or samples {how}", "settings", Spoilt(how))
        for how in (DELETED, OTHER, DAMAGED, NEWER, BARE)
    ]
