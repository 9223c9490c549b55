"""Which Redis the program talks to, and what it says when that does not answer."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shedder.cli.connect import GREETING_SECONDS, connect, greet, server_for
from shedder.errors import InvalidInput, RedisUnreachable, ShedderError
from tests.cli.programs import run_program
from tests.cluster import without_cluster
from tests.servers import patient
from tests.waiting import wait_until

DEAD = "redis://operator:hunter2@127.0.0.1:1/0?password=hunter3"
REPORTED_WITHIN = 3.0
TRIES = 3
USUAL_START = 0.5


def in_time(*words, env):
    """The outcome of the first run that was in time, and whether there was one.

    Seconds that a busy machine needs to start Python at all, more than usual, do not count.
    """
    for _ in range(TRIES):
        done = run_program(*words, env=env)
        late = done.seconds - REPORTED_WITHIN
        if late < 0 or late < run_program("status", "-u", DEAD, env=env).seconds - USUAL_START:
            return done, True
    return done, False


@pytest.fixture
def silent():
    """The port of a program that listens, accepts, and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    names = ("SHEDDER_REDIS_URL", "RQ_REDIS_URL", "RQ_CONFIG", "REDIS_URL", "REDIS_HOST", "REDIS_PORT")
    for name in names:
        monkeypatch.delenv(name, raising=False)


def test_a_url_gives_a_server_more_time(env, server):
    """One that stands still for longer than the usual greeting is waited for when the URL says so."""
    thaw = threading.Timer(GREETING_SECONDS + 0.5, os.kill, (server.pid, signal.SIGCONT))
    url = patient(server.url)
    os.kill(server.pid, signal.SIGSTOP)
    thaw.start()
    try:
        connect(server_for(url=url, config=None))
    finally:
        os.kill(server.pid, signal.SIGCONT)
        thaw.join()


def test_a_call_in_a_process_that_goes_on_leaves_no_connection(invoke, redis):
    """Whoever calls the program again and again, as these tests do, keeps no socket of it."""
    before = len(redis.client_list())
    for _ in range(3):
        assert 0 == invoke("status").code
    wait_until(lambda: before == len(redis.client_list()), what="the end of its connections")


def test_a_dead_server_is_reported_in_time(env):
    """Nobody listens: exit 4 within three seconds, one line, no password, what to do next."""
    done, is_in_time = in_time("status", "-u", DEAD, env=env)
    assert 4 == done.code
    what = "shedder: Redis at 127.0.0.1:1 cannot be reached (nothing listens there)"
    assert f"{what}; start it, or name another with -u URL or SHEDDER_REDIS_URL\n" == done.err
    assert "" == done.out
    assert is_in_time


def test_a_hanging_server_is_reported_in_time(env, silent):
    """Who accepts and never answers is reported within three seconds too."""
    done, is_in_time = in_time("pause", "mail", "-r", "why", "-u", f"redis://127.0.0.1:{silent}", env=env)
    assert 4 == done.code
    assert f"Redis at 127.0.0.1:{silent} cannot be reached (it does not answer)" in done.err
    assert is_in_time


def test_a_frozen_server_is_reported_in_time(env, server_factory):
    """A server that is stopped in its tracks is reported within three seconds."""
    own = server_factory()
    own.freeze()
    done, is_in_time = in_time("status", "-u", own.url, env=env)
    own.thaw()
    assert 4 == done.code
    assert is_in_time


def test_unreachable_is_told_as_json_too(invoke):
    """With --json the answer on standard output is an object of its own schema."""
    done = invoke("pause", "mail", "-r", "why", "--json", "--url", DEAD)
    assert 4 == done.code
    assert "shedder.error/1" == done.json["schema"]
    assert 4 == done.json["exit_code"]
    assert f"shedder: {done.json['error']}\n" == done.err
    assert "hunter" not in done.out + done.err


def test_the_options_and_variables_have_an_order(monkeypatch, tmp_path):
    """--url, SHEDDER_REDIS_URL, RQ_REDIS_URL, --config, REDIS_URL, REDIS_HOST, localhost."""
    (tmp_path / "rq_settings_of_test.py").write_text("REDIS_HOST = 'config'\nREDIS_PORT = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = [server_for(url=None, config=None).address]
    for name, value in (("REDIS_HOST", "host"), ("REDIS_URL", "redis://url:3")):
        monkeypatch.setenv(name, value)
        found.append(server_for(url=None, config=None).address)
    found.append(server_for(url=None, config="rq_settings_of_test").address)
    for name in ("RQ_REDIS_URL", "SHEDDER_REDIS_URL"):
        monkeypatch.setenv(name, f"redis://{name.partition('_')[0].lower()}:5")
        found.append(server_for(url=None, config="rq_settings_of_test").address)
    found.append(server_for(url="redis://option:6", config="rq_settings_of_test").address)
    expected = ["localhost:6379", "host:6379", "url:3", "config:4", "rq:5", "shedder:5", "option:6"]
    assert expected == found


def test_sentinels_are_asked_as_rq_asks_them(monkeypatch, tmp_path, silent):
    """Sentinels of the settings module are named, and silent ones are given up in time."""
    settings = f"SENTINEL = {{'INSTANCES': [('127.0.0.1', {silent})], 'MASTER_NAME': 'jobs'}}\n"
    (tmp_path / "sentinel_settings_of_test.py").write_text(settings)
    monkeypatch.syspath_prepend(tmp_path)
    server = server_for(url=None, config="sentinel_settings_of_test")
    assert f"jobs of the sentinels 127.0.0.1:{silent}" == server.address
    with pytest.raises(RedisUnreachable, match="jobs of the sentinels"):
        greet(server)


def test_the_clients_own_limits_are_short_and_it_tries_nothing_again():
    """A call of ours ends within seconds, so that its failure can be told."""
    settings = server_for(url="redis://h", config=None).client.connection_pool.connection_kwargs
    assert (1.5, 2.5) == (settings["socket_connect_timeout"], settings["socket_timeout"])
    assert 0 == settings["retry"].get_retries()


@pytest.mark.parametrize(
    "url", ["http://user:hunter2@h", "h:6379", "redis://:hunter2@h:port", "redis://:hunter2@h/jobs"]
)
def test_urls_that_mean_nothing_are_refused(url):
    """What is no URL of Redis is refused, and so is a database that is no number."""
    with pytest.raises(InvalidInput) as refusal:
        server_for(url=url, config=None)
    assert "hunter2" not in str(refusal.value)
    assert "redis://host:6379/0" in str(refusal.value)


def test_an_option_that_no_connection_takes_is_refused(server):
    """An unknown option in the URL is told as such, not as a traceback."""
    with pytest.raises(InvalidInput):
        greet(server_for(url=f"{server.url}?nonsense=1", config=None))


def test_a_url_that_asks_for_text_changes_nothing(invoke, server, mail):
    """A URL that an application shares with us may ask for decoded answers."""
    url = f"{server.url}?decode_responses=True"
    assert 8 == sum(lane["waiting"] for lane in invoke("status", "-u", url, "--json").json["lanes"])


def test_a_user_who_may_not_ping_is_answered(server_factory):
    """Rights are told where they are missing, not at the greeting."""
    own = server_factory()
    with own.client() as client:
        client.execute_command("ACL", "SETUSER", "ops", "on", ">pw", "~*", "+@all", "-ping")
    greet(server_for(url=f"{own.url}?username=ops&password=pw", config=None))


def test_a_settings_module_that_is_not_there_is_refused():
    """The name of the module is in the message."""
    with pytest.raises(InvalidInput, match="no_such_settings"):
        server_for(url=None, config="no_such_settings")


def test_a_wrong_password_is_no_dead_server(server_factory):
    """Who answers and does not let us in is told as that."""
    own = server_factory(config={"requirepass": "right"})
    with pytest.raises(ShedderError, match="refuses the user or the password") as refusal:
        greet(server_for(url=own.url, config=None))
    assert 4 == refusal.value.exit_code


def test_the_server_can_be_named_before_and_behind_the_verb(invoke):
    """What stands behind the verb wins."""
    assert "127.0.0.1:1 " in invoke("--url", DEAD, "status").err
    assert "127.0.0.1:2 " in invoke("-u", DEAD, "status", "-u", "redis://127.0.0.1:2").err


def test_an_unused_settings_module_is_mentioned(invoke):
    """A URL in the environment wins over --config, as with RQ, and nobody is left in the dark."""
    done = invoke("status", "--config", "no_such_settings")
    assert 0 == done.code
    assert "warning: --config is not used" in done.err


@without_cluster
def test_a_prefix_keeps_two_applications_apart(program, redis, mail):
    """With another RQ_KEY_PREFIX nothing of ours is seen, and nothing of ours is touched."""
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    other = {"RQ_KEY_PREFIX": "{other}"}
    assert [] == program("status", "--json", env=other).json["lanes"]
    done = program("pause", "mail", "-r", "why", "--json", env=other)
    assert [0, 0, 0, 0] == [lane["waiting"] for lane in done.json["lanes"]]
    after = {key: redis.dump(key) for key in redis.scan_iter()}
    assert before == {key: value for key, value in after.items() if not key.startswith(b"{other}")}
    assert len(after) > len(before)


@pytest.mark.parametrize("prefix", ["", "a b", "jobs*"])
@pytest.mark.parametrize("words", [("status",), ("worker", "mail")])
def test_a_prefix_that_rq_does_not_take_is_told_as_that(program, prefix, words):
    """The variable, what is accepted and that it may be unset, in one line, before RQ raises an error of its own."""
    done = program(*words, env={"RQ_KEY_PREFIX": prefix})
    said = f"RQ_KEY_PREFIX: {prefix!r} is not accepted; use letters, digits and _ . : - {{ }}, or unset it"
    assert (2, f"shedder: {said}\n") == (done.code, done.err)


def test_a_working_directory_that_was_deleted_is_told(env, redis, tmp_path):
    """Where the program would look there for a file or a module; what needs none goes on."""
    program = shlex.quote(str(Path(sys.executable).with_name("shedder")))

    def run(words, more):
        gone = shlex.quote(str(tmp_path / "gone"))
        script = f"mkdir {gone} && cd {gone} && rmdir {gone} && exec {program} {words}"
        more = {"env": {**env, **more}, "capture_output": True, "text": True, "timeout": 600}
        return subprocess.run(["sh", "-c", script], check=False, **more)

    for words, more in (("policy diff", {}), ("status -c settings", {"SHEDDER_REDIS_URL": ""})):
        done = run(words, more)
        # pip begins a program in a folder with a space in its name with a shell, which says something of its own
        lines = [line for line in done.stderr.splitlines() if not line.startswith("sh: ")]
        said = "shedder: the working directory was deleted; change to another one (cd)"
        assert (1, [said]) == (done.returncode, lines)
    assert 0 == run("status", {}).returncode
