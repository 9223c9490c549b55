"""The process that `SpawnWorker` starts for a job is told how to introduce itself, and tells nobody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shedder.rq import Queue, SpawnWorker
from tests import jobs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import ServerFactory
    from tests.rq.conftest import Yard


def test_no_password_stands_in_a_command_line(server_factory: ServerFactory, yard: Yard, tmp_path: Path) -> None:
    """RQ writes the settings of the connection into the program of the process, where `ps` shows them."""
    server = server_factory()
    password = {"password": 'it\'s "Xq3vW9" {0}'}
    with server.client() as client:
        client.config_set("requirepass", password["password"])
    marks, until = str(tmp_path / "marks"), tmp_path / "until"
    with server.client(**password) as client:
        Queue("mail", connection=client).enqueue(jobs.hold, marks, "one", str(until))
        worker = yard.start("mail", worker_class=SpawnWorker, server=server, client=password, burst=True)
        wait_until(lambda: jobs.started(marks) == ["one"], timeout=600, what="the job")
        told = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in worker.family()]
        until.touch()
        assert 0 == worker.wait(timeout=600)
    assert ["one"] == jobs.ended(marks)
    assert any(b"worker_class.find_by_key" in each for each in told)
    assert not any(b"Xq3vW9" in each for each in told)
