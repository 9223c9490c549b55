"""The command line on a replicated master, and on a cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Shedder
from shedder.errors import RedisUnreachable, WrongClusterNode
from shedder.rq import Queue
from shedder.rq.outages import is_passing
from tests import jobs
from tests.cli.programs import Outcome, end, environment, run_program, started
from tests.cluster import Cluster, free_ports
from tests.sentinel import MASTER_NAME, Watched
from tests.servers import patient
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as three:
        yield three


def test_the_command_line_follows_a_master(tmp_path: Path) -> None:
    """RQ's settings module leads `shedder` to the master, and to the new one after a fail-over."""
    with Watched() as watched:
        settings = {"INSTANCES": watched.places, "MASTER_NAME": MASTER_NAME, "SOCKET_TIMEOUT": 2.0}
        (tmp_path / "our_settings.py").write_text(f"SENTINEL = {settings!r}\n", encoding="utf-8")
        env = environment(PYTHONPATH=str(tmp_path))
        marks = str(tmp_path / "marks")

        def run(*words: str) -> Outcome:
            return run_program(*words, "-c", "our_settings", env=env)

        mail = Queue("mail", connection=watched.client())
        mail.enqueue(jobs.mark, marks, "a", job_id="a")
        assert 0 == run("pause", "mail", "-r", "why").code
        worker = started(["shedder", "worker", "mail", "-c", "our_settings"], env=env)
        try:
            workers = f"{RQ_KEY_PREFIX}:workers"
            wait_until(lambda: watched.client().scard(workers), what="the worker")
            watched.wait_until_replicated()
            old = watched.master
            old.kill()
            watched.wait_for_another_master(old)
            assert (0, [1]) == _waiting(run("status", "mail.normal", "--json"))
            assert 0 == run("resume", "mail", "-r", "why").code
            wait_until(lambda: jobs.ended(marks) == ["a"], what="the job")
        finally:
            end(worker)


def _waiting(done: Outcome) -> tuple[int, list[int]]:
    return done.code, [lane["waiting"] for lane in done.json["lanes"]]


def test_a_master_that_nobody_finds_is_named(watched_by_nobody: Any) -> None:
    """The error names the master and the sentinels, and not the default address."""
    with pytest.raises(RedisUnreachable, match=r"jobs of the sentinels 127\.0\.0\.1:1 "):
        Shedder(watched_by_nobody).pause("mail", reason="x")


@pytest.fixture
def watched_by_nobody() -> Any:
    from redis.sentinel import Sentinel

    with contextlib.closing(Sentinel([("127.0.0.1", 1)]).master_for("jobs")) as client:
        yield client


def test_another_node_of_the_cluster_is_named(cluster: Cluster) -> None:
    """Who talks to a node that has not the keys is told which one has."""
    owner = cluster.owner_of("{rq}")
    other = next(node for node in cluster.nodes if node is not owner)
    env = environment(RQ_KEY_PREFIX="{rq}")
    done = run_program("pause", "mail", "-r", "why", "-u", patient(other.url), env=env)
    advice = "this node of the cluster does not have RQ's keys; connect to"
    assert (1, True) == (done.code, advice in done.err)
    assert 0 == run_program("pause", "mail", "-r", "why", "-u", patient(owner.url), env=env).code


def test_a_prefix_without_a_hash_tag_is_told(cluster: Cluster) -> None:
    """On a cluster the usual prefix spreads the keys, and the error says what to set."""
    with cluster.nodes[0].client() as client, pytest.raises(WrongClusterNode, match=r"\{rq\}") as told:
        Shedder(client).divert("mail", reason="x")
    assert "" == told.value.node


def test_a_cluster_that_is_down_is_waited_for(server_factory: ServerFactory) -> None:
    """CLUSTERDOWN, off which redis-py takes the first word, ends no worker."""
    port, bus = free_ports(2)
    config = {"port": str(port), "cluster-enabled": "yes", "cluster-port": str(bus)}
    with server_factory(config=config).client() as client:
        with pytest.raises(Exception, match="not served") as caught:
            client.get("a")
        assert is_passing(caught.value)
