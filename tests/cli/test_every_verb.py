"""What each verb says when Redis serves nobody, because an endless script keeps it busy."""

from __future__ import annotations

import pytest

from shedder import Shedder
from shedder.cli.output import json_text
from shedder.errors import ServerBusy
from tests.busy import busy, is_busy
from tests.cli.conftest import fill
from tests.cli.every_verb import CHANGES, LOOKS, POLICY, WITHOUT_REDIS, names
from tests.cli.programs import Terminal, environment
from tests.servers import patient
from tests.waiting import wait_until


def test_no_verb_is_forgotten():
    """Each verb that there is, is called here, unless it needs no Redis."""
    called = {words[:size] for words in (*LOOKS, *CHANGES) for size in (1, 2, 3)}
    assert set() == names() - called - WITHOUT_REDIS


@pytest.fixture
def paths(redis, tmp_path):
    incidents = Shedder(redis, by="tester").incidents
    incidents.open("late", severity=2)
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "copy.json").write_text(json_text(incidents.export()))
    return {
        "POLICY": str(tmp_path / "policy.toml"),
        "COPY": str(tmp_path / "copy.json"),
        "OUT": str(tmp_path / "out.md"),
    }


def test_every_verb_says_in_a_sentence_that_redis_is_busy(server_factory, invoke, paths):
    """Exit code 4, and the last line says what is the matter and what to do; no traceback."""
    own = server_factory()
    said = {}
    with busy(own):
        for words in (*LOOKS, *CHANGES):
            done = invoke(*(paths.get(word, word) for word in words), "-u", own.url)
            last = done.err.splitlines()[-1]
            is_told = "blocks everybody else" in last and "SCRIPT KILL" in last
            said[words] = (done.code, is_told, "Traceback" in done.err)
    assert dict.fromkeys(said, (4, True, False)) == said


def test_the_api_says_so_too(server_factory):
    """`ServerBusy` is raised, and names the server; nothing was changed."""
    own = server_factory()
    with own.client() as client:
        operator = Shedder(client, by="tester")
        with busy(own), pytest.raises(ServerBusy) as caught:
            operator.pause("mail", reason="why")
        assert own.url.removeprefix("unix://") == caught.value.address
        assert () == operator.events(limit=1)


def test_a_library_of_functions_has_an_end_of_its_own(server_factory):
    """Where a function keeps Redis busy, its end is FUNCTION KILL, and the sentence says that."""
    import threading

    import redis

    own = server_factory(config={"busy-reply-threshold": "20"})
    with own.client() as client, own.client(socket_timeout=None) as victim:
        client.function_load("#!lua name=x\nredis.register_function('x', function() "
                             "while true do end end)")  # fmt: skip

        def call() -> None:
            with pytest.raises(redis.exceptions.ResponseError):
                victim.fcall("x", 0)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        wait_until(lambda: is_busy(client), what="a busy server")
        with pytest.raises(ServerBusy, match="FUNCTION KILL"):
            Shedder(client).status()
        client.function_kill()
        thread.join()


def test_a_view_that_goes_on_waits_for_its_end(server_factory):
    """`status --watch` says that Redis is busy, and shows the numbers when it is not any more."""
    from shedder.rq import Queue

    own = server_factory()
    with own.client() as client:
        fill(Queue("mail", connection=client), receipts=3)
    env = environment(SHEDDER_REDIS_URL=patient(own.url))
    with Terminal("status", "--watch", "100ms", env=env) as terminal:
        terminal.wait_for("waiting")
        with busy(own):
            terminal.wait_for("somebody's script keeps Redis at", "busy, trying again")
            seen = len(terminal.text)
        terminal.wait_for("waiting", after=seen)
        terminal.interrupt()
        assert 130 == terminal.end()
