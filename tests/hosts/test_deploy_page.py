"""The process files on the page about deployment start what they say, as they stand there.

Where this machine runs no systemd and no containers, their commands are run as those would run
them: the words, the variables and the folder of the file, no shell, and one signal at the end.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rq
from rq.defaults import RQ_KEY_PREFIX

from shedder.rq import Queue
from tests.cli.programs import ROOT, end, environment
from tests.jobs import ended, hold, mark, started
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

PAGE = (ROOT / "docs/how-to/deploy.md").read_text(encoding="utf-8")
PROGRAMS = Path(sys.executable).parent
REDIS_OF_THE_PAGE = re.compile(r"redis://[\w.]+:6379/0")
APP_OF_THE_PAGE = "/srv/app"

Start = Callable[..., subprocess.Popen[bytes]]


def block(language: str, *, containing: str) -> str:
    """The one block of the page in that language which contains the text."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (text,) = [each for each in found if containing in each]
    return str(text)


@pytest.fixture
def start(server: EmbeddedServer, redis: Redis, tmp_path: Path) -> Iterator[Start]:
    """Starts a command with these variables, and no other that RQ or shedder reads."""
    assert not redis.keys("*")
    with ExitStack() as processes:

        def run(words: list[str], **variables: str) -> subprocess.Popen[bytes]:
            ours = {name: here(value, server) for name, value in variables.items()}
            env = environment(**{"RQ_REDIS_URL": server.url, **ours})
            env["PATH"] = f"{PROGRAMS}:{env['PATH']}"
            process = subprocess.Popen(
                words, env=env, cwd=tmp_path, start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            processes.callback(end, process)
            return process

        yield run


def here(value: str, server: EmbeddedServer) -> str:
    """The value, with the server of the test in the place of the page's."""
    return REDIS_OF_THE_PAGE.sub(server.url, value)


@pytest.fixture
def marks(tmp_path: Path) -> str:
    """The file in which the test's jobs leave their marks."""
    return str(tmp_path / "marks")


def run_jobs(redis: Redis, marks: str, *queues: str) -> None:
    """Jobs of each of `queues`, and of a lane that only workers of shedder serve for it."""
    lanes = [lane for queue in queues for lane in (queue, f"{queue}.low")]
    for lane in lanes:
        rq.Queue(lane, connection=redis).enqueue(mark, marks, lane)
    wait_until(lambda: sorted(ended(marks)) == sorted(lanes), what="all jobs")


# Procfile


def test_the_line_of_the_procfile_starts_a_worker_of_shedder(start: Start, redis: Redis, marks: str) -> None:
    """As a process manager reads it: a name, a colon, a command for a shell."""
    text = block("text", containing="gunicorn")
    lines = dict(line.split(": ", 1) for line in text.splitlines())
    assert ["web", "worker"] == list(lines)
    start(["sh", "-c", f"exec {lines['worker']}"])
    run_jobs(redis, marks, "mail", "reports")


def test_two_variables_make_a_worker_of_shedder_of_a_stock_line(start: Start, redis: Redis, marks: str) -> None:
    """The line stays what it was with RQ."""
    text = block("text", containing="RQ_WORKER_CLASS=")
    variables = dict(line.split("=", 1) for line in text.splitlines())
    start(["rq", "worker", "mail"], **variables)
    run_jobs(redis, marks, "mail")


# systemd


def unit(text: str) -> dict[str, str]:
    """The settings of a unit file, each of which stands there once."""
    lines = [line for line in text.splitlines() if line and line[0] not in "#["]
    settings = dict(line.split("=", 1) for line in lines)
    assert len(settings) == len(lines)
    return settings


def test_systemd_has_nothing_against_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` knows every setting; the program and the folder are made to be."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    folder = tmp_path / "app"
    program = folder / ".venv/bin/shedder"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    text = block("ini", containing="[Service]").replace(APP_OF_THE_PAGE, str(folder))
    (tmp_path / "mail-worker@.service").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", str(tmp_path / "mail-worker@1.service")], capture_output=True,
        text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "mail-worker" in line]
    assert (0, []) == (done.returncode, ours)


SETTINGS = unit(block("ini", containing="[Service]"))


def exec_start(instance: str, *, host: str = "here") -> list[str]:
    """The words of the unit's command for an instance on a host, as systemd fills them in."""
    line = SETTINGS["ExecStart"].replace("%i", instance).replace("%H", host)
    assert "%" not in line
    program, *words = shlex.split(line)
    assert program == f"{SETTINGS['WorkingDirectory']}/.venv/bin/shedder"
    return [str(PROGRAMS / "shedder"), *words]


def variables_of_unit() -> dict[str, str]:
    name, value = SETTINGS["Environment"].split("=", 1)
    return {name: value}


def idle(redis: Redis, prefix: str) -> list[str]:
    """The names of workers with this prefix that are idle."""
    keys = [key.decode() for key in redis.scan_iter(f"{RQ_KEY_PREFIX}:worker:{prefix}*")]
    return [key for key in keys if redis.type(key) == b"hash" and redis.hget(key, "state") == b"idle"]


def test_the_unit_starts_a_worker_that_finishes_its_job_when_it_is_stopped(
    start: Start, redis: Redis, marks: str, tmp_path: Path
) -> None:
    """Two instances under their names; the one signal of `KillMode=mixed` loses no job."""
    assert ("mixed", "SIGTERM") == (SETTINGS["KillMode"], SETTINGS["KillSignal"])
    workers = {each: start(exec_start(each), **variables_of_unit()) for each in ("1", "2")}
    for instance in workers:
        wait_until(lambda each=instance: idle(redis, f"here-mail-{each}-"), what=f"worker {instance}")
    mail = Queue("mail", connection=redis)
    go = tmp_path / "go"
    for number in range(2):
        mail.enqueue(hold, marks, f"held {number}", str(go))
    wait_until(lambda: len(started(marks)) == 2, what="both jobs")
    mail.enqueue(mark, marks, "later")
    for worker in workers.values():
        worker.send_signal(signal.Signals[SETTINGS["KillSignal"]])
    go.touch()
    assert [0, 0] == [worker.wait(PATIENCE_SECONDS) for worker in workers.values()]
    assert ["held 0", "held 1"] == sorted(ended(marks))
    assert 1 == len(mail)


def test_the_unit_starts_again_at_once_after_a_kill(start: Start, redis: Redis, marks: str) -> None:
    """The dead worker is on record, and its instance works on under another name, on a second host too."""
    words, variables = exec_start("1"), variables_of_unit()
    killed = start(words, **variables)
    wait_until(lambda: len(idle(redis, "here-mail-1-")) == 1, what="the first worker")
    os.killpg(killed.pid, signal.SIGKILL)  # as systemd does, when the main process has ended
    killed.wait()
    start(words, **variables)
    wait_until(lambda: len(idle(redis, "here-mail-1-")) == 2, what="its successor")
    start(words, **variables)  # a clone of the host, with its name
    wait_until(lambda: len(idle(redis, "here-mail-1-")) == 3, what="a worker of the same words")
    Queue("mail", connection=redis).enqueue(mark, marks, "after")
    wait_until(lambda: ended(marks) == ["after"], what="the job")


def test_systemd_never_gives_the_unit_up(start: Start) -> None:
    """A worker ends while Redis is away at its start, so no number of starts is too many, and each waits a little."""
    worker = start(exec_start("1"), RQ_REDIS_URL="redis://127.0.0.1:1")
    assert 4 == worker.wait(PATIENCE_SECONDS)
    assert ("always", "0", "5s") == tuple(SETTINGS[each] for each in ("Restart", "StartLimitIntervalSec", "RestartSec"))


def test_a_reboot_waits_for_the_network(start: Start) -> None:
    """An order alone starts no target: the unit wants what it comes after."""
    assert SETTINGS["After"] == SETTINGS["Wants"] == "network-online.target"


# container


def command_of_container() -> tuple[list[str], dict[str, str]]:
    """Its words and its variables."""
    text = block("dockerfile", containing="CMD")
    words = json.loads(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[0])
    return words, dict(line.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE))


def test_the_command_of_the_container_starts_a_worker(start: Start, redis: Redis, marks: str) -> None:
    """Its words and its variable, without a shell, so that it gets the signals itself."""
    words, variables = command_of_container()
    worker = start(words, **variables)
    run_jobs(redis, marks, "mail", "reports")
    worker.send_signal(signal.SIGTERM)
    assert 0 == worker.wait(PATIENCE_SECONDS)


NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]


def as_process_1(start: Start) -> tuple[subprocess.Popen[bytes], int]:
    """The command of the container as the first process of a namespace: its maker, and the process."""
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], check=False).returncode:
        pytest.skip("no process namespace can be made here")
    words, variables = command_of_container()
    maker = start([*NAMESPACE, *words], **variables)
    children = Path(f"/proc/{maker.pid}/task/{maker.pid}/children")
    wait_until(lambda: children.read_text().split(), what="process 1")
    return maker, int(children.read_text())


def test_the_command_of_the_container_is_told_to_stop_as_process_1(
    start: Start, redis: Redis, marks: str, tmp_path: Path
) -> None:
    """What `docker stop` sends reaches it from outside, and it finishes its job."""
    maker, worker = as_process_1(start)
    mail, go = Queue("mail", connection=redis), tmp_path / "go"
    mail.enqueue(hold, marks, "held", str(go))
    wait_until(lambda: started(marks) == ["held"], what="the job")
    mail.enqueue(mark, marks, "later")
    os.kill(worker, signal.SIGTERM)
    go.touch()
    assert 0 == maker.wait(PATIENCE_SECONDS)
    assert (["held"], 1) == (ended(marks), len(mail))


def test_what_a_job_leaves_behind_is_a_zombie_of_process_1(start: Start, redis: Redis) -> None:
    """The reason for an init in the container; with one, orphans are its own."""
    _, worker = as_process_1(start)
    Queue("mail", connection=redis).enqueue("subprocess.call", ["sh", "-c", "true & exit 0"])
    children = Path(f"/proc/{worker}/task/{worker}/children")
    wait_until(
        lambda: any(is_zombie(each) for each in children.read_text().split()), what="a zombie",
    )  # fmt: skip


def is_zombie(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
