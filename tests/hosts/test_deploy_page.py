"""The process files on the page about deployment start what they say, as they stand there.

Where this machine runs no systemd and no containers, their commands are run as those would run
them: the words, the variables and the folder of the file, no shell, and one signal at the end.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
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


def test_the_unit_starts_a_worker_that_finishes_its_job_when_it_is_stopped(
    start: Start, redis: Redis, marks: str, tmp_path: Path
) -> None:
    """Two instances under their names; the one signal of `KillMode=mixed` loses no job."""
    settings = unit(block("ini", containing="[Service]"))
    assert ("mixed", "SIGTERM") == (settings["KillMode"], settings["KillSignal"])
    name, value = settings["Environment"].split("=", 1)
    host = socket.gethostname()
    workers = {}
    for instance in ("1", "2"):
        line = settings["ExecStart"].replace("%i", instance).replace("%H", host)
        program, *words = shlex.split(line)
        assert program == f"{settings['WorkingDirectory']}/.venv/bin/shedder"
        workers[instance] = start([str(PROGRAMS / "shedder"), *words], **{name: value})
    for instance in workers:
        key = f"{RQ_KEY_PREFIX}:worker:{host}-mail-{instance}"
        wait_until(lambda each=key: redis.hget(each, "state") == b"idle", what=key)
    mail = Queue("mail", connection=redis)
    go = tmp_path / "go"
    for number in range(2):
        mail.enqueue(hold, marks, f"held {number}", str(go))
    wait_until(lambda: len(started(marks)) == 2, what="both jobs")
    mail.enqueue(mark, marks, "later")
    for worker in workers.values():
        worker.send_signal(signal.Signals[settings["KillSignal"]])
    go.touch()
    assert [0, 0] == [worker.wait(PATIENCE_SECONDS) for worker in workers.values()]
    assert ["held 0", "held 1"] == sorted(ended(marks))
    assert 1 == len(mail)


# container


def test_the_command_of_the_container_starts_a_worker(start: Start, redis: Redis, marks: str) -> None:
    """Its words and its variable, without a shell, so that it gets the signals itself."""
    text = block("dockerfile", containing="CMD")
    words = json.loads(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[0])
    variables = dict(line.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE))
    worker = start(words, **variables)
    run_jobs(redis, marks, "mail", "reports")
    worker.send_signal(signal.SIGTERM)
    assert 0 == worker.wait(PATIENCE_SECONDS)
