"""Every process knows soon, and a fork is safe."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.queues.maintenance import Upkeep
from shedder.rq import Queue, SimpleWorker
from shedder.settings.watch import _Look
from tests.features import skippable
from tests.features.conftest import declared
from tests.jobs import whole_lines
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

ROOT = Path(__file__).parents[2]


@pytest.fixture
def socket_path(redis, monkeypatch):
    path = redis.connection_pool.connection_kwargs["path"]
    monkeypatch.setenv("TEST_SOCKET", path)
    yield path
    if skippable.shed.cache_info().currsize:
        skippable.shed().close()
    skippable.shed.cache_clear()


@pytest.fixture
def follow(socket_path):
    """Starts so many processes that follow a flag."""
    with ExitStack() as started:

        def start(*, count, poll):
            words = [sys.executable, "-m", "tests.features.followers", socket_path]
            process = subprocess.Popen([*words, str(count), str(poll)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
            started.callback(end, process)
            return process

        yield start


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


def lines_of(process, count):
    return [process.stdout.readline().split()[0] for _ in range(count)]


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.long)])
def test_a_message_tells_all_processes(follow, operator, count):
    """None of them would ask for the version within the test: the message alone must do it."""
    process = follow(count=count, poll=86_400)
    assert ["ready"] * count == lines_of(process, count)
    operator.degrade_flag("wave", reason="test", force=True)
    assert ["seen"] * count == lines_of(process, count)


def test_processes_that_follow_end_with_the_test_that_started_them(socket_path):
    """However the process of the tests ends, none stays behind."""
    words = [sys.executable, "-m", "tests.features.followers", socket_path, "2", "600"]
    program = f"import subprocess; subprocess.Popen({words!r}).wait()"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert ["ready"] * 2 == lines_of(process, 2)
    process.kill()
    process.wait()
    assert "" == process.stdout.read()  # its end comes when the last of them has closed it
    process.stdout.close()


def test_a_change_is_seen_without_its_message(follow, redis):
    """When the message is lost, the version that each asks for once a second tells."""
    process = follow(count=8, poll=1.0)
    assert ["ready"] * 8 == lines_of(process, 8)
    set_silently(redis, "wave")
    redis.incr(f"{RQ_KEY_PREFIX}:shedder:settings-version")
    assert ["seen"] * 8 == lines_of(process, 8)


def set_silently(redis, flag):
    record = '{"v":1,"since":1,"percent":100,"by":"","why":""}'
    redis.hset(f"{RQ_KEY_PREFIX}:shedder:flags", flag, record)


def test_who_connects_again_reads_everything_again(app, redis):
    """After a fail-over the same version may stand for other settings, and nothing is declared."""
    app.flags.declare("hints")
    declared(app)
    redis.delete(f"{RQ_KEY_PREFIX}:shedder:flag-declarations")
    set_silently(redis, "wave")
    assert app.flags.enabled("wave")
    redis.client_kill_filter(_type="pubsub")
    wait_until(lambda: not app.flags.enabled("wave"), what="the setting of the same version")
    wait_until(lambda: redis.hexists(f"{RQ_KEY_PREFIX}:shedder:flag-declarations", "hints"), what="declarations")


def test_importing_starts_no_thread():
    """A thread starts at the first question, not at import and not at a declaration."""
    program = (
        "import threading, redis, shedder\n"
        "shed = shedder.Shedder(redis.Redis(port=1))\n"
        "shed.flags.declare('a'); shed.limits.declare('b', default='1/s')\n"
        "before = threading.active_count()\n"
        "shed.flags.enabled('a')\n"
        "print(before, threading.active_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "1 2" == done.stdout.strip()


def test_a_look_that_fails_draws_nothing_from_the_random_of_the_application(app):
    """An application that has seeded `random` draws the same numbers when Redis is away."""
    look = _Look(app._watch)
    before = random.getstate()
    assert 0 < look.fail() < 1
    assert before == random.getstate()


def test_a_setting_that_arrives_while_code_declares_is_obeyed(app, operator, monkeypatch):
    """What was known when the declaration began does not come back with it."""
    arrival = threading.Thread(target=app._watch._load, args=(b"1",))
    apply_declaration = app.flags._apply_declaration

    def apply_meanwhile(flag, degraded):
        if arrival.ident is None:
            arrival.start()
            arrival.join(0.1)  # as far as it comes: it has to wait for the declaration
        apply_declaration(flag, degraded)

    monkeypatch.setattr(app.flags, "_apply_declaration", apply_meanwhile)
    operator.degrade_flag("search", reason="test", force=True)
    app.flags.declare("hints")
    arrival.join()
    assert {"search": 100.0} == app.flags.percents()


def test_what_is_declared_anew_while_it_is_told_is_told_again(app):
    """Operators see the second declaration of a flag, however close it comes to the first."""
    app.flags.declare("search", description="first")

    def declare_anew(command):
        app.flags.declare("search", description="second")
        return app.store.run(command)

    app.flags._register(SimpleNamespace(run=declare_anew), is_new=False)
    assert "first" == app.flag_states()[0].description
    app.flags._register(app.store, is_new=False)
    assert "second" == app.flag_states()[0].description


def test_a_fork_keeps_what_is_known_and_learns_what_comes(app, operator, tmp_path):
    """The child of a process that asks all the time answers at once, and follows by itself."""
    asking = threading.Event()
    threads = [threading.Thread(target=ask_until, args=(app, asking)) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: app._watch.is_awake)
    try:
        for number in range(4):
            operator.degrade_flag(f"flag-{number}", reason="test", force=True)
            child = os.fork()
            if not child:
                try:
                    wait_until(lambda name=f"flag-{number}": not app.flags.enabled(name))
                    app.limits.hit("reports")
                finally:
                    os._exit(0 if not app.flags.enabled(f"flag-{number}") else 1)
            assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        asking.set()
        for thread in threads:
            thread.join()


def ask_until(app, ended):
    while not ended.is_set():
        app.flags.enabled("hints")
        app.limits.hit("reports")


def test_forked_jobs_obey_flags_and_limits(redis, server, socket_path, operator, tmp_path):
    """Each job runs in a fork of RQ's worker: it is told what holds now, by a thread of its own."""
    operator.set_limit("reports", rate_of("2/minute"), reason="test", force=True)
    marks = tmp_path / "marks"
    queue = Queue("mail", connection=redis)
    with Yard(server, tmp_path) as yard:
        yard.start("mail")
        for number in range(3):
            queue.enqueue(skippable.ask, str(marks), str(number))
        wait_until(lambda: len(whole_lines(marks)) == 3, what="three jobs")
        operator.degrade_flag("search", reason="test", force=True)
        queue.enqueue(skippable.ask, str(marks), "3")
        wait_until(lambda: len(whole_lines(marks)) == 4, what="the last job")
    told = whole_lines(marks)
    assert ["0 True True True", "1 True True True", "2 True False True"] == told[:3]
    assert "3 False False True" == told[3]


def rate_of(text):
    from shedder import Rate

    return Rate.parse(text)


def burst(redis, socket_path):
    skippable.shed.cache_clear()
    app = skippable.shed()
    app.flags.refresh()
    wait_until(lambda: app._watch.known.is_loaded, what="the first load, which a question waits 100 ms for")
    run_burst(SimpleWorker(["mail"], connection=redis))
    app.close()


def jobs(queue, marks, count=6):
    for number in range(count):
        queue.enqueue(skippable.newsletter, str(marks), str(number))
        queue.enqueue(skippable.receipt, str(marks), str(number))


def test_jobs_of_a_degraded_feature_go_to_the_backlog(redis, socket_path, operator, tmp_path):
    """They do not run, others do, and they run in their order after the feature is restored."""
    marks, queue = tmp_path / "marks", Queue("mail", connection=redis)
    operator.degrade_flag("newsletters", reason="database at 99 %", force=True)
    jobs(queue, marks)
    burst(redis, socket_path)
    assert [f"receipt {each}" for each in range(6)] == whole_lines(marks)
    lane = next(each for each in operator.status().lanes if each.lane == "mail")
    assert (6, 0) == (lane.backlog, lane.waiting)
    assert "the flag newsletters is degraded" == lane.diverts[0].why
    assert 6 == operator.restore_flag("newsletters", reason="fine").restored
    burst(redis, socket_path)
    assert [f"newsletter {each}" for each in range(6)] == whole_lines(marks)[6:]
    assert operator.audit().is_clean


def test_a_percentage_takes_its_share_of_the_jobs(redis, socket_path, operator, tmp_path):
    """At 50 % some of the jobs run and the rest wait; each job by its own id."""
    marks, queue = tmp_path / "marks", Queue("mail", connection=redis)
    operator.degrade_flag("newsletters", percent=50, reason="half", force=True)
    jobs(queue, marks, 20)
    burst(redis, socket_path)
    ran = sum(word.startswith("newsletter") for word in whole_lines(marks))
    assert 0 < ran < 20
    assert 20 - ran == operator.restore_flag("newsletters", reason="fine").restored


def test_an_expired_degradation_frees_its_jobs(redis, socket_path, operator, tmp_path):
    """When the time is over, the upkeep of any worker puts the jobs back: nobody must restore."""
    marks, queue = tmp_path / "marks", Queue("mail", connection=redis)
    operator.degrade_flag("newsletters", reason="test", force=True)
    jobs(queue, marks, 3)
    burst(redis, socket_path)
    redis.hdel(f"{RQ_KEY_PREFIX}:shedder:flags", "newsletters")
    redis.delete(f"{RQ_KEY_PREFIX}:shedder:sampled")
    assert Upkeep(operator.store, ["mail"]).do()
    assert 3 == redis.llen(f"{RQ_KEY_PREFIX}:queue:mail")


def test_a_second_degradation_diverts_again(redis, socket_path, operator, tmp_path):
    """Degrade, restore, degrade: the second one is not taken for a repetition of the first."""
    marks, queue = tmp_path / "marks", Queue("mail", connection=redis)
    for turn in range(2):
        operator.degrade_flag("newsletters", reason="test", force=True)
        jobs(queue, marks, 1)
        burst(redis, socket_path)
        assert turn == sum(word.startswith("newsletter") for word in whole_lines(marks))
        assert 1 == operator.restore_flag("newsletters", reason="fine").restored
        burst(redis, socket_path)
