"""`shedder uninstall` asks, tells, and leaves nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rq.defaults import RQ_KEY_PREFIX

from shedder import Shedder
from tests.cli.conftest import all_keys
from tests.cli.programs import Terminal, valid

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.rq import Queue
    from tests.cli.conftest import Run

SURE = ("--yes", "-r", "plain RQ again")


def divert(redis: Redis) -> None:
    Shedder(redis, by="bob@desk").divert("mail", reason="r")


def own_keys(redis: Redis) -> list[bytes]:
    return list(redis.scan_iter(f"{RQ_KEY_PREFIX}:shedder:*"))


def test_it_puts_all_back_and_says_which_workers_are_needed(invoke: Run, redis: Redis, mail: Queue) -> None:
    """Numbers, and the command line of a stock worker that serves every lane with jobs."""
    divert(redis)
    done = invoke("uninstall", *SURE)
    assert (0, "") == (done.code, done.err)
    assert "Every job is back in the lists of RQ" in done.lines[0]
    assert "serve them  rq worker mail mail.low" == done.lines[-1]
    assert (3, 5, []) == (len(mail), len(mail.low), own_keys(redis))


def test_a_dry_run_changes_nothing(invoke: Run, redis: Redis, mail: Queue) -> None:
    """It needs no reason and names the command that does it."""
    divert(redis)
    before = all_keys(redis)
    done = invoke("uninstall", "--dry-run")
    assert (0, before) == (done.code, all_keys(redis))
    assert "shedder uninstall" in done.lines[-1]
    assert invoke("uninstall", "--dry-run", "--json").json["is_preview"]


def test_json_tells_all_of_it(invoke: Run, redis: Redis, mail: Queue) -> None:
    """One object, of a schema of its own."""
    divert(redis)
    found = invoke("uninstall", *SURE, "--json").json
    assert [{"lane": "mail", "jobs": 3}, {"lane": "mail.low", "jobs": 5}] == found["queues"]
    assert [] == found["left"]


def test_the_journal_is_kept_where_it_was_asked_for(invoke: Run, redis: Redis, mail: Queue, tmp_path: Path) -> None:
    """One event a line; a file that is there already is not written over."""
    divert(redis)
    path = tmp_path / "journal.jsonl"
    assert 0 == invoke("uninstall", *SURE, "--journal", str(path)).code
    events = [valid(json.loads(line)) for line in path.read_text().splitlines()]
    assert ["divert", "uninstall"] == [event["verb"] for event in events[:2]]
    divert(redis)
    refused = invoke("uninstall", *SURE, "--journal", str(path))
    assert (2, True) == (refused.code, "name another file" in refused.err)


def test_without_a_terminal_it_wants_yes(invoke: Run, redis: Redis, mail: Queue) -> None:
    """Nobody can be asked, so nothing is changed."""
    divert(redis)
    before = all_keys(redis)
    done = invoke("uninstall", "-r", "r")
    assert (2, before) == (done.code, all_keys(redis))
    assert "--yes" in done.err


def test_on_a_terminal_it_asks(env: dict[str, str], redis: Redis, mail: Queue) -> None:
    """The question says what goes; `n` changes nothing."""
    divert(redis)
    before = all_keys(redis)
    with Terminal("uninstall", "-r", "r", env=env) as terminal:
        terminal.wait_for("its journal too?")
        terminal.type("n\n")
        assert 1 == terminal.end()
    assert before == all_keys(redis)


def test_a_server_without_shedder_is_exit_3(invoke: Run, redis: Redis) -> None:
    """In one line that asks whether it is the right server."""
    done = invoke("uninstall", *SURE)
    assert (3, True) == (done.code, "right Redis" in done.err)
    assert 3 == invoke("uninstall", "--dry-run").code
