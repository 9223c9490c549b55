"""A whole bad night, played from the shell: no sentence that shedder says on the way is false.

Newsletters flood the queue in front of receipts; the database dies while their backlog drains, and
comes back. At each moment all that shedder says is read beside the truth, which comes from what the
jobs wrote down and from the lists in Redis, not from shedder.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shedder.engine.jobs import time_of
from shedder.engine.names import rq_keys
from shedder.rq import Queue, SimpleWorker
from shedder.store.keys import BACKLOG_PARTS
from tests.cli import night_jobs
from tests.cli.conftest import Run
from tests.heartbeat.sink import Sink
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

KEYS = rq_keys()
TOLERANCE = 4.0
POLICY = f"""
version = 1
[[rules]]
queue = "mail"
function = "*.send_receipt"
label = "receipts"
tolerance = "{TOLERANCE:g}s"

[[rules]]
queue = "mail"
function = "*.send_newsletter"
label = "newsletters"
shed = 1

[[rules]]
queue = "pay"
label = "card charges"
priority = "critical"
tolerance = "{TOLERANCE:g}s"

[defaults]
drain_rate = "50/second"

[incident]
channels = {{ main = ["SINK"] }}
posts_by_itself = true
"""
NEWSLETTERS = 1200
LOOK_EVERY = 0.25
"""Seconds between two looks, each of which costs what a command costs."""

LABELS = {"charge": "card charges", "receipt": "receipts", "newsletter": "newsletters"}

WELL = re.compile(
    r"\bOK\b|no problem|nothing (?:of it )?is (?:late|wrong)|not affected|\bon time\b|\bfine\b|as usual|"
    r"works? normally|all is well|all (?:jobs|work) (?:is|are) served",
    re.IGNORECASE,
)
"""What a sentence says that gives an all-clear."""


@dataclass(frozen=True)
class Truth:
    """What was true at a moment.

    Attributes:
        failed: By label, the jobs that failed in the last minute.
        late: By label, the jobs that wait longer than is tolerated.
        held: By label, the jobs in backlogs.
    """

    failed: dict[str, int]
    late: dict[str, int]
    held: dict[str, int]

    @property
    def is_well(self) -> bool:
        return not any(self.failed.values()) and not any(self.late.values())


@dataclass
class Night:
    """What was said in the night, with the truth of the moment.

    Attributes:
        redis: The server.
        run: Runs `shedder`.
        folder: Where the jobs write, and where their database is.
        sink: The team's channel.
        said: Moment, command, sentence, truth.
    """

    redis: Redis
    run: Run
    folder: Path
    sink: Sink
    said: list[tuple[str, str, str, Truth]] = field(default_factory=list)
    heard: int = 0
    last: Truth = field(default_factory=lambda: Truth({}, {}, {}))

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def database(self) -> Path:
        return self.folder / "database"

    def enqueue(self, queue: str, kind: str, count: int) -> None:
        function = getattr(night_jobs, {"charge": "charge"}.get(kind, f"send_{kind}"))
        many = [Queue.prepare_data(function, (str(self.log), str(self.database), f"{kind}-{number}"))
                for number in range(count)]  # fmt: skip
        Queue(queue, connection=self.redis).enqueue_many(many)

    def ended(self, kind: str, how: str = "", *, seconds: float = 1e9) -> int:
        """Jobs that ended in the last seconds, as they wrote themselves."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        rows = [line.split() for line in lines]
        return sum(row[1] == kind and how in ("", row[3]) and time.time() - float(row[0]) <= seconds for row in rows)

    def truth(self) -> Truth:
        waiting, held = list(self._standing())
        late = {LABELS[kind]: sum(1 for each, age in waiting if each == kind and age > TOLERANCE)
                for kind in ("charge", "receipt")}  # fmt: skip
        failed = {label: self.ended(kind, "failed", seconds=60) for kind, label in LABELS.items()}
        return Truth(failed, late, {label: sum(each == kind for each, _ in held) for kind, label in LABELS.items()})

    def _standing(self) -> Iterator[list[tuple[str, float]]]:
        """The jobs in lanes, and those in backlogs: kind and age in seconds of each."""
        lanes = [key for name in ("mail", "pay") for lane in ("", ".critical", ".high", ".low")
                 for key in KEYS.lane(name + lane)[:3]]  # fmt: skip
        backlogs = [key for key in self.redis.scan_iter(f"{KEYS.backlogs}*", count=10_000)
                    if key.decode().rpartition(":")[2] in BACKLOG_PARTS]  # fmt: skip
        for keys in (lanes, backlogs):
            ids = [job.decode() for key in keys for job in self.redis.lrange(key, 0, -1)]
            with self.redis.pipeline() as ask:
                for job in ids:
                    ask.hmget(KEYS.engine.jobs + job, "shedder", "enqueued_at")
                rows = ask.execute()
            yield [(re.split(r"[._]", note.decode())[-1], _age(at)) for note, at in rows if note]

    def look(self, moment: str, *commands: str) -> str:
        """All that these commands say now, with the truth beside it."""
        texts = []
        self._hear(moment)
        for command in commands or LOOKS:
            before = self.truth()
            done = self.run(*command.split())
            after = self.truth()
            truth = in_both(before, after)
            for sentence in sentences(done.out):
                self.said.append((moment, command, sentence, truth))
            texts.append(done.out + done.err)
        return "\n".join(texts)

    def _hear(self, moment: str) -> None:
        """What the channel has heard since the last look, with what was true all the while."""
        now = self.truth()
        always = in_both(self.last, now)
        for _, title, text in self.sink.taken[self.heard :]:
            self.said += [(moment, "channel", each, always) for each in sentences(f"{title}\n{text}")]
        self.heard, self.last = len(self.sink.taken), now

    def false_sentences(self) -> list[str]:
        """Those that give an all-clear about work that fails or is late."""
        return [f"{moment}: `{command}`: {sentence}   (failed {truth.failed}, late {truth.late})"
                for moment, command, sentence, truth in self.said if is_false(sentence, truth)]  # fmt: skip


LOOKS = ("status", "check", "triage", "plan", "doctor", "incident update --preview",
         "incident update --preview --audience team")  # fmt: skip


def in_both(before: Truth, after: Truth) -> Truth:
    """What was true at both moments: what became true or false in between is no lie."""
    pairs = ((before.failed, after.failed), (before.late, after.late), (before.held, after.held))
    return Truth(*({label: min(one[label], other.get(label, 0)) for label in one} for one, other in pairs))


def _age(at: bytes | None) -> float:
    when = time_of(at)
    return (datetime.now(UTC) - when).total_seconds() if when else 0.0


def sentences(text: str) -> list[str]:
    """The lines and sentences of an output."""
    return [each.strip() for line in text.splitlines() for each in re.split(r"(?<=[.;])\s", line) if each.strip()]


def is_false(sentence: str, truth: Truth) -> bool:
    """Whether it gives an all-clear: of the work that it names, or of everything when it names none."""
    if not WELL.search(sentence) or sentence.startswith("fine "):  # of a check of the installation
        return False
    named = [label for label in LABELS.values() if label in sentence.lower()] or [*LABELS.values()]
    return any(truth.failed[label] or truth.late.get(label, 0) for label in named)


@pytest.fixture
def yard(server: EmbeddedServer, tmp_path: Path) -> Iterator[Yard]:
    """Starts workers, and ends them with the test."""
    with Yard(server, tmp_path) as workers:
        yield workers


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The team's channel."""
    with Sink() as server:
        yield server


@pytest.fixture
def night(redis: Redis, invoke: Run, tmp_path: Path, sink: Sink) -> Night:
    """A night that has not begun: the policy is in force and the database is up."""
    file = tmp_path / "shedder.toml"
    file.write_text(POLICY.replace("SINK", sink.url("main")))
    night = Night(redis, invoke, tmp_path, sink)
    night.database.touch()
    assert 0 == invoke("policy", "apply", str(file), "-r", "the team's policy").code
    return night


@pytest.mark.slow
def test_the_whole_night(night: Night, yard: Yard, background: Callable[..., Any]) -> None:
    """Flood, divert, a drain into a dead database that halts, recovery, the end, the post-mortem."""
    run = night.run
    for _ in range(2):
        yard.start("pay", "mail", worker_class=SimpleWorker)
    night.enqueue("pay", "charge", 5)
    wait_until(lambda: night.ended("charge", "well") == 5, what="the first charges")
    night.look("a quiet evening", "status", "check", "triage")

    # receipts stand behind a flood of newsletters
    (night.folder / night_jobs.FLOOD).touch()
    night.enqueue("mail", "newsletter", NEWSLETTERS)
    night.enqueue("mail", "receipt", 60)
    assert (
        0
        == run("incident", "open", "receipts come late", "-s", "2", "--by", "ana@desk", "--commander", "ana@desk").code
    )
    background("shedder", "incident", "watch")
    wait_until(lambda: night.truth().late["receipts"] > 30, interval=LOOK_EVERY, what="receipts that are late")
    flood = night.look("receipts behind newsletters")
    assert re.search(r"receipts (?:are|may be) late", flood), flood

    # put aside what may wait
    assert 0 == run("shed", "--yes", "-r", "receipts first", "--by", "ana@desk").code
    wait_until(lambda: night.ended("receipt", "well") == 60, what="the receipts")
    wait_until(lambda: not night.truth().late["receipts"], interval=LOOK_EVERY, what="receipts on time")
    night.look("newsletters are put aside")
    aside = night.truth().held["newsletters"]
    assert aside > NEWSLETTERS / 2
    (night.folder / night_jobs.FLOOD).unlink()

    # the database dies; charges fail, and a drain into it
    night.database.unlink()
    night.enqueue("pay", "charge", 40)
    wait_until(lambda: night.ended("charge", "failed") == 40, what="charges that fail")
    burning = night.look("charges fail")
    assert re.search(r"card charges (?:fail|.*failed)", burning, re.IGNORECASE), burning
    drained = run(
        "drain", "mail", "--rate", "100/second", "--detach", "--force", "-r", "it looks better", "--by", "ana@desk"
    )
    assert 0 == drained.code, drained
    wait_until(lambda: "drain halted" in run("events").out, interval=LOOK_EVERY, what="the halt")
    wait_until(
        lambda: run("status").code == 0 and not re.search("running [1-9]", run("status").out),
        interval=LOOK_EVERY,
        what="rest",
    )
    halted = night.look("the drain has halted")
    assert re.search(r"halted", halted), halted
    burned = night.ended("newsletter", "failed")
    assert 20 <= burned <= 22
    assert aside - night.ended("newsletter", "failed") == night.truth().held["newsletters"]

    # it comes back, and the rest goes out
    night.database.touch()
    again = run(
        "drain",
        "mail",
        "--rate",
        "2000/second",
        "--detach",
        "--force",
        "-r",
        "the database is back",
        "--by",
        "ana@desk",
    )
    assert 0 == again.code, again
    night.look("the rest goes out")
    wait_until(lambda: night.truth().held["newsletters"] == 0, interval=LOOK_EVERY, what="an empty backlog")
    wait_until(lambda: night.ended("newsletter") == NEWSLETTERS, what="all newsletters")
    night.look("the backlog is empty")
    assert 0 == run("incident", "mitigated", "-r", "receipts go out at once", "--by", "ana@desk").code
    assert 0 == run("incident", "resolve", "-r", "the backlog is empty", "--by", "ana@desk").code

    def is_told(word: str) -> bool:
        return any(word in text for text in night.sink.texts("main"))

    wait_until(lambda: is_told("halted"), interval=LOOK_EVERY, what="the halt in the channel")
    night.look("all is over", "status")
    heard = "\n".join(text for _, command, text, _ in night.said if command == "channel")
    assert re.search(r"halted", heard), heard
    assert re.search(r"commander: put aside jobs of mail", heard), heard

    # what is written about it
    out = night.folder / "review"
    assert 0 == run("incident", "postmortem", "--no-plots", "--out", str(out)).code
    [page] = out.rglob("*.md")
    text = page.read_text()
    failed = night.ended("charge", "failed"), night.ended("newsletter", "failed")
    for count in failed:
        assert re.search(rf"\b{count}\b.*fail|fail.*\b{count}\b", text), f"{count} in\n{text}"
    truth = night.truth()
    night.said += [("the post-mortem", "postmortem", each, truth) for each in sentences(text)]
    (night.folder / "said.json").write_text(json.dumps([[*said[:3], vars(said[3])] for said in night.said], indent=1))
    assert [] == night.false_sentences()


@pytest.mark.parametrize(
    ("sentence", "failed", "late", "want"),
    [
        ("Card charges are not affected.", 3, 0, True),
        ("Receipts are on time.", 3, 0, False),
        ("OK", 3, 0, True),
        ("OK", 0, 0, False),
        ("Card charges fail: 3 in the last minute.", 3, 0, False),
        ("Card charges are on time.", 0, 2, True),
    ],
)
def test_the_night_knows_a_false_sentence(sentence: str, failed: int, late: int, want: bool) -> None:
    """The check of the night can fail."""
    nothing = dict.fromkeys(LABELS.values(), 0)
    truth = Truth({**nothing, "card charges": failed}, {**nothing, "card charges": late}, nothing)
    assert want == is_false(sentence, truth)
