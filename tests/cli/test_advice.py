"""Each command that is proposed works as it is typed, and does what the sentence says."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import closing

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Rate, Selection, Shedder
from shedder.engine.names import rq_keys
from shedder.events import Cause
from shedder.lanes import lane_of
from shedder.policy.model import Policy
from shedder.queues.divert import divert_lanes
from shedder.queues.pause import park_lane
from shedder.status.findings import lanes_findings, server_findings
from tests.cli.conftest import fill, start_worker
from tests.forked import run_module
from tests.waiting import wait_until

KEYS = rq_keys()
DAY_MS = 24 * 3_600_000
FUNCTION = "tests.cli.jobs.send_receipt"


@pytest.fixture
def operator(redis):
    with closing(Shedder(redis, by="oncall@ops")) as shedder:
        yield shedder


def findings(operator, check):
    status = operator.status()
    return [each for each in (*lanes_findings(status), *server_findings(status))
            if each.check == check]  # fmt: skip


def change(redis, key, name, **fields):
    """Change a stored record by hand."""
    stored = json.loads(redis.hget(key, name))
    for each in stored if isinstance(stored, list) else [stored]:
        each.update(fields)
    redis.hset(key, name, json.dumps(stored))


def make_old(redis, key, *names):
    for name in names:
        stored = json.loads(redis.hget(key, name))
        first = stored[0] if isinstance(stored, list) else stored
        change(redis, key, name, since=first["since"] - 2 * DAY_MS)


def old_pause(operator, redis):
    operator.pause("mail", reason="r")
    make_old(redis, KEYS.pauses, "mail")


def old_divert(operator, redis):
    operator.divert("mail", reason="r")
    make_old(redis, KEYS.diverts, "mail")


def old_limit(operator, redis):
    operator.limit_starts("mail", rate=Rate(1, 3600.0), reason="r")
    make_old(redis, KEYS.diverts, "mail")


def old_bound(operator, redis):
    operator.limit_starts("mail", most=1, reason="r")
    make_old(redis, KEYS.diverts, "mail")


def old_divert_of_a_flag(operator, redis):
    operator.degrade_flag("news:daily", reason="r", force=True)
    order, selection = f"flag-news:daily/{FUNCTION}", Selection(functions=(FUNCTION,))
    cause = Cause("shedder", "the flag news:daily is degraded")
    for lane in ("mail", "mail.low"):
        operator.store.run(divert_lanes(KEYS, [lane_of(lane)], selection, cause, order=order))
    make_old(redis, KEYS.diverts, "mail")


def old_flag(operator, redis):
    operator.degrade_flag("hints", reason="r", force=True)
    make_old(redis, KEYS.flags, "hints")


def old_limit_in_code(operator, redis):
    operator.set_limit("search", Rate(5), key="tenant=a b", reason="r", force=True)
    (name,) = redis.hkeys(KEYS.limits)
    make_old(redis, KEYS.limits, name)


@pytest.mark.parametrize(
    ("prepare", "verb", "others"),
    [
        (old_pause, "resume", 3),
        (old_divert, "drain", 3),
        (old_limit, "limit lift", 3),
        (old_bound, "limit lift", 3),
        (old_divert_of_a_flag, "flag restore", 0),
        (old_flag, "flag restore", 0),
        (old_limit_in_code, "limit clear", 0),
    ],
)
def test_an_old_control_ends_as_proposed(invoke, operator, redis, mail, prepare, verb, others):
    """The command ends what is old, and nothing that was set for the other lanes."""
    prepare(operator, redis)
    (old,) = findings(operator, "old control")
    assert f"`shedder {shlex.join(old.command)}`" in old.says
    assert verb == " ".join(old.command[: len(verb.split())])
    shown = " ".join(invoke("status").out.split())
    assert f"`shedder {shlex.join(old.command)}`" in shown
    assert old.says.rstrip(".") in invoke("check").out
    done = invoke(*old.command, "-r", "over")
    assert 0 == done.code, done.err
    assert [] == findings(operator, "old control")
    assert others == _standing(operator)


def _standing(operator):
    """Controls that stand and do not drain."""
    status = operator.status()
    diverts = [each for lane in status.lanes for each in lane.diverts]
    pauses = [lane for lane in status.lanes if lane.pause]
    standing = [each for each in diverts if each.is_limit or not each.drain]
    return len(pauses) + len(standing) + len(status.flags) + len(status.limits)


def parked(operator, redis):
    operator.pause("mail", reason="r")
    operator.store.run(park_lane(KEYS, "mail"))
    redis.hdel(KEYS.pauses, "mail")


def unreadable(operator, redis):
    redis.hset(KEYS.pauses, "mail", "garbage")


def set_aside(operator, redis):
    redis.rename(f"{RQ_KEY_PREFIX}:queue:mail", KEYS.stale("mail"))


def half_restored(operator, redis):
    operator.divert("mail.normal", reason="r")
    change(redis, KEYS.diverts, "mail", restoring=True)


def half_lifted(operator, redis):
    operator.limit_starts("mail.normal", most=1, reason="r")
    change(redis, KEYS.diverts, "mail", restoring=True)


@pytest.mark.parametrize(
    ("prepare", "check", "more"),
    [
        (parked, "left-over lists", ()),
        (unreadable, "records", ()),
        (set_aside, "set aside", ()),
        (half_restored, "unfinished orders", ("--yes",)),
        (half_lifted, "unfinished orders", ()),
    ],
)
def test_what_is_wrong_ends_as_proposed(invoke, operator, redis, mail, prepare, check, more):
    """After the command the finding is gone, and all jobs are where they were."""
    prepare(operator, redis)
    (found,) = findings(operator, check)
    assert f"`shedder {shlex.join(found.command)}`" in found.says
    done = invoke(*found.command, "-r", "why", *more)
    assert 0 == done.code, done.err
    assert [] == findings(operator, check)
    assert 3 == redis.llen(f"{RQ_KEY_PREFIX}:queue:mail")


@pytest.mark.parametrize(("verb", "more"), [("divert", ()), ("limit starts", ("--at-once", "1"))])
def test_a_pass_is_finished_by_the_same_command(invoke, operator, redis, mail, verb, more):
    """A divert or a limit that has not looked at all jobs has, when it is ordered again."""
    words = (*verb.split(), "mail.normal", "--function", FUNCTION, *more, "-r", "why")
    assert 0 == invoke(*words).code
    change(redis, KEYS.diverts, "mail", scanning=True)
    (found,) = findings(operator, "unfinished orders")
    assert f"give the same `shedder {verb}` again" in found.says
    assert 0 == invoke(*words).code
    assert [] == findings(operator, "unfinished orders")


def test_a_worker_is_started_as_proposed(invoke, operator, redis, mail, background):
    """The lanes that have no worker are served by the one that is named."""
    found = findings(operator, "no worker")
    assert {("worker", "mail")} == {each.command for each in found}
    start_worker(background, redis, *found[0].command[1:])
    assert [] == findings(operator, "no worker")


def test_rqs_suspend_ends_as_proposed(env, operator, redis):
    """`rq resume` is a command of RQ."""
    redis.set(KEYS.engine.suspended, 1)
    (found,) = findings(operator, "suspend")
    assert "`rq resume`" in found.says
    url = env["SHEDDER_REDIS_URL"]
    assert 0 == run_module("rq.cli", "resume", "-u", url, env=env).returncode
    assert [] == findings(operator, "suspend")


def test_an_unreadable_policy_is_replaced_as_proposed(invoke, operator, redis, tmp_path):
    """A damaged policy is a problem, until one is applied by force."""
    operator.policies.apply(Policy(), reason="setup")
    redis.hset(KEYS.policy, "current", b"garbage")
    (found,) = findings(operator, "policy")
    assert 3 == invoke("check").code
    file = tmp_path / "shedder.toml"
    file.write_text('version = 1\n[defaults]\ndrain_rate = "5/second"\n')
    done = invoke(*found.command, str(file), "-r", "why")
    assert 0 == done.code, done.err
    assert [] == findings(operator, "policy")


def test_what_triage_proposes_can_be_typed(invoke, operator, redis, mail):
    """Each complete command of the checklist is accepted, and is not proposed again."""
    fill(mail, receipts=30)
    operator.flags.declare("hints", group="non-critical")
    operator.flags.declare("avatars")
    operator.limits.declare("search", default="10/second")
    operator.limits.hit("search")
    wait_until(lambda: redis.exists(KEYS.limit_declarations), what="a declaration")
    wait_until(lambda: redis.exists(KEYS.flag_declarations), what="a declaration")
    typed = proposed(invoke)
    assert {"limit set", "flag degrade", "pause mail", "divert mail.low"} <= {" ".join(words[:2]) for words in typed}
    for words in typed:
        done = invoke(*words)
        assert 0 == done.code, (words, done.err)
    status = operator.status()
    assert {"hints", "avatars"} == {each.name for each in status.flags}
    assert [Rate(5)] == [each.rate for each in status.limits]
    assert not [words for words in proposed(invoke) if words in typed]


def proposed(invoke):
    """The commands of the checklist, with the blank of the reason filled in."""
    steps = invoke("triage", "--json").json["steps"]
    commands = [each["words"] for step in steps for each in step["commands"]]
    return [[*words[:-1], "why"] for words in commands if words[-1] == "REASON"]


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        ("pause mail", "resume"),
        ("pause mail", "undo"),
        ("divert mail", "drain"),
        ("divert mail", "undo"),
        ("limit starts mail --rate 1/hour", "limit lift"),
        ("limit starts mail --at-once 1", "undo"),
        ("flag degrade hints --force", "flag restore"),
        ("flag degrade hints --force", "undo"),
        ("limit set search 5/second --force", "limit clear"),
        ("limit set search 5/second --force --key tenant=a", "limit clear"),
        ("limit set search 5/second --force", "undo"),
    ],
)
def test_a_receipt_names_the_way_back(invoke, operator, mail, words, verb):
    """The command in a receipt ends what was done."""
    done = invoke(*shlex.split(words), "-r", "why")
    assert 0 == done.code, done.err
    (line,) = re.findall(rf"shedder ({verb} .*)$", done.out, re.MULTILINE)
    back = invoke(*shlex.split(line), "-r", "over")
    assert 0 == back.code, back.err
    assert 0 == _standing(operator)
