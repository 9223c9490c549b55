"""The server is a node of a cluster of three: everything works there, and goes on with it.

RQ reads its prefix when it is imported, so each of these is played by a process of its own, in
which `RQ_KEY_PREFIX` is `{rq}`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from rq.defaults import RQ_KEY_PREFIX

from tests.cluster import Cluster
from tests.faults.accounting import Wrong
from tests.faults.faults_retry import (
    at_the_same_moment,
    bring_all_back,
    check_retries,
    fail_and_retry,
    requeued,
    wait_for_retry,
)
from tests.faults.load import Load, command
from tests.faults.schedule import Fault
from tests.faults.stage import Outcome, Stage
from tests.servers import PatientServer
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "{rq}"
ROOT = Path(__file__).parents[2]

WHOLE = ("tests/features", "tests/rq", "tests/scripts", "tests/model", "tests/cli")
PART = (
    "tests/scripts/test_returns.py",
    "tests/features/test_drain.py",
    "tests/features/test_pause.py",
)


def suite(stage: Stage) -> None:
    """Every test of a feature passes on the node that owns the slot of RQ's keys."""
    paths = PART if stage.is_short else WHOLE
    done = _run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *paths, SHEDDER_TESTS_ON="cluster")
    passed = re.search(r"(\d+) passed", done.stdout)
    stage.outcome.injected += int(passed[1]) if passed else 0
    if done.returncode:
        stage.outcome.wrong.append(Wrong("other", done.stdout[-3000:] + done.stderr[-1000:]))


@dataclass(frozen=True, slots=True)
class NodeDies:
    """Another node dies and comes back: nobody is served meanwhile, and all go on afterwards.

    Attributes:
        operator: What one does meanwhile: a name in `_OPERATORS`.
    """

    operator: str

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        _play_apart(stage, self.operator)


def _play_apart(stage: Stage, trial: str) -> None:
    seed, size = stage.dice.random(), stage.size
    done = _run("tests.faults.faults_cluster", trial, str(seed), str(size), str(stage.folder))
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    told = json.loads(done.stdout.splitlines()[-1])
    told["wrong"] = [Wrong(**each) for each in told["wrong"]]
    stage.outcome = Outcome(**told)


def _node_dies(stage: Stage, operator: str) -> None:
    cluster = _on_cluster(stage)
    others = [node for node in cluster.nodes if node is not stage.server]
    load = Load(stage, orders=_OPERATORS[operator])
    load.wait_for_progress()
    if operator == "retries":
        wait_for_retry(stage)
    for _ in range(max(1, stage.size // 4)):
        load.note_fault()
        node = stage.dice.choice(others)
        node.kill()
        stage.outcome.kills += 1
        time.sleep(stage.dice.uniform(1.5, 2.5))  # longer than the others wait for it
        node.restart()
        cluster.wait_until_ok()
        load.wait_for_progress()
    if operator == "retries":
        load.finish(also=lambda: bring_all_back(stage))
        check_retries(stage)
    else:
        load.finish()


def _on_cluster(stage: Stage) -> Cluster:
    cluster: Cluster = stage.keep(Cluster(appendonly=True))
    stage.play_on(cluster.owner_of(RQ_KEY_PREFIX))
    return cluster


_OPERATORS = {"pauses, diverts, drains": command, "retries": fail_and_retry}


def retry_and_requeue(stage: Stage) -> None:
    """A retry and `rq requeue` at the same moment, on the node that has RQ's keys."""
    _play_apart(stage, "at once")


def _run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    usual = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", *words],
        env={**usual, "RQ_KEY_PREFIX": PREFIX, **more},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def main(trial: str, seed: str, size: str, folder: str) -> None:
    """Play a trial in this process, whose prefix is the cluster's; print its outcome."""
    from dataclasses import asdict

    with PatientServer() as unused:
        stage = Stage(unused, Path(folder), dice=Random(seed), size=int(size))
        with stage:
            if trial in _OPERATORS:
                _node_dies(stage, trial)
            else:
                _on_cluster(stage)
                at_the_same_moment(stage, requeued)
    print(json.dumps(asdict(stage.outcome)))


def faults() -> Sequence[Fault]:
    """The rows of this family."""
    return [
        Fault("cluster of three: the tests of all features", "cluster", suite),
        Fault("cluster of three: another node is killed", "cluster", NodeDies("pauses, diverts, drains")),
        Fault("cluster of three: retry while another node is killed", "cluster", NodeDies("retries"), is_short=False),
        Fault("cluster of three: retry and rq requeue at once", "cluster", retry_and_requeue, is_short=False),
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
