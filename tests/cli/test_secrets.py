"""No part of a password is in what the program prints, and what is wrong with a URL is said without it."""

from __future__ import annotations

import logging
import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shedder.cli import connect
from shedder.cli.run import Run, without_secrets
from shedder.errors import InvalidInput, RedisUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.embedded import EmbeddedServer

PARTS = st.from_regex(r"(?:qx[a-z]{4}|QX[A-Z]{4}|[45][0-9]{4})", fullmatch=True)
"""Numbers are among them: they look like ports and databases."""

BETWEEN = st.text(st.sampled_from("/?#@:%&=[]\\ +;,!$*'\"|<>~^`{}().-_é"), min_size=1, max_size=2)

COMMANDS = (
    ("status",), ("doctor", "--json"), ("pause", "mail", "-r", "why", "--debug"), ("worker", "mail"),
    ("--verbose", "events", "--json", "--debug"),
)  # fmt: skip

FORMS = (
    "redis://oncall:{}@127.0.0.1:1/0", "redis://:{}@127.0.0.1:1", "rediss://:{}@127.0.0.1:1/0",
    "unix://:{}@/nowhere/socket?db=0", "redis://127.0.0.1:1/0?password={}",
)  # fmt: skip


@st.composite
def passwords(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A password, and the parts of it that nobody else says."""
    parts = draw(st.lists(PARTS, min_size=2, max_size=4, unique=True))
    return "".join(part + draw(BETWEEN) for part in parts[:-1]) + parts[-1], parts


def told(parts: list[str], text: str) -> list[str]:
    """The parts that stand in `text`, as words or numbers of their own."""
    return [part for part in parts if re.search(rf"(?<!\d){part}(?!\d)", text)]


def as_settings(**values: Any) -> str:
    """The name of a settings module with these values."""
    module = ModuleType("settings_of_a_secret")
    vars(module).update(values)
    sys.modules[module.__name__] = module
    return module.__name__


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(passwords(), st.sampled_from(FORMS), st.booleans(), st.sampled_from(COMMANDS),
       st.sampled_from(["--url", "SHEDDER_REDIS_URL", "RQ_REDIS_URL", "REDIS_URL", "-c"]))  # fmt: skip
def test_no_part_of_a_password_in_a_url_is_printed(
    invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, password: tuple[str, list[str]], form: str,
    is_encoded: bool, command: tuple[str, ...], way: str,
) -> None:  # fmt: skip
    """Encoded or not, wherever the URL stands, in tracebacks and JSON too; the cause is one line."""
    text, parts = password
    url = form.format(quote(text, safe="") if is_encoded else text)
    words = {"--url": ("--url", url), "-c": ("-c", as_settings(REDIS_URL=url))}.get(way, ())
    with monkeypatch.context() as patch:
        patch.delenv("SHEDDER_REDIS_URL", raising=False)
        if not words:
            patch.setenv(way, url)
        done = invoke(*command, *words)
    assert done.code in ((4,) if is_encoded else (2, 4)), done.err
    assert [] == told(parts, done.out + done.err)
    *_, last = done.err.splitlines()
    assert last.startswith("shedder: ")
    assert "unexpected" not in done.err


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(passwords(), st.sampled_from(COMMANDS), st.booleans())
def test_no_part_of_a_password_in_settings_is_printed(
    invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, password: tuple[str, list[str]],
    command: tuple[str, ...], is_sentinel: bool,
) -> None:  # fmt: skip
    """Nor of one that RQ's settings have, for a server or for sentinels and what they lead to."""
    text, parts = password
    sentinel = {"INSTANCES": [("127.0.0.1", 1)], "PASSWORD": text, "SENTINEL_KWARGS": {"password": text}}
    server = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": 1, "REDIS_PASSWORD": text}
    with monkeypatch.context() as patch:
        patch.delenv("SHEDDER_REDIS_URL", raising=False)
        done = invoke(*command, "-c", as_settings(**({"SENTINEL": sentinel} if is_sentinel else server)))
    assert 4 == done.code, done.err
    assert [] == told(parts, done.out + done.err)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3)
@given(password=passwords())
def test_no_part_of_a_password_that_is_right_is_printed(
    invoke: Callable[..., Any], server: EmbeddedServer, redis: Any, password: tuple[str, list[str]]
) -> None:
    """A server that lets us in is told by its address, in views, receipts, events and commands to be copied."""
    text, parts = password
    url = f"unix://:{quote(text, safe='')}@{server.url.removeprefix('unix://')}"
    redis.config_set("requirepass", text)
    try:
        found = [
            invoke(*words, "-u", url, *more)
            for more in ((), ("--json",), ("--debug", "--verbose"))
            for words in (("status",), ("doctor",), ("pause", "mail", "-r", "why"), ("events",), ("triage",))
        ]
        refused = invoke("status", "-u", url.replace("unix://:", "unix://:no"), "--debug")
    finally:
        server.client(password=text).config_set("requirepass", "")  # fmt: skip
    assert {0, 3} >= {each.code for each in found}
    assert [] == told(parts, "".join(each.out + each.err for each in (*found, refused)))
    assert (4, "refuses the user or the password" in refused.err) == (refused.code, True)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://:pw/x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:pw?x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:pw#x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:12/x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:12?x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:12#x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:a@b#x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:a@b/1?x@h:6379/0", "percent-encoded, such as %2F"),
        ("redis://:a[b@h", "percent-encoded, such as %2F"),
        ("redis://:a\tb@h", "percent-encoded, such as %2F"),
        ("unix://:p/w@/run/s", "percent-encoded, such as %2F"),
        ("unix://run/s", "the path of a socket begins with a slash"),
        ("redis://h:port", "its port is no number"),
        ("redis://h:70000", "its port is no number"),
        ("redis://h/jobs", "its database is no number"),
        ("redis://a b/0", "its host is no name of a host"),
        ("h:6379", "it begins with none of redis://"),
        ("redis://h?nonsense=1", "it has an option that no connection takes"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, why: str) -> None:
    """In words that are the same for every URL, with a right one; nothing is connected to."""
    with pytest.raises(InvalidInput) as refusal:
        connect.server_for(url=url, config=None)
    assert str(refusal.value).startswith("the URL of --url is not usable: ")
    assert why in str(refusal.value)
    assert str(refusal.value).endswith(f"; use {connect.ACCEPTED_URL}")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", "localhost:6379"),
        ("redis://:6380/2", "localhost:6380"),
        ("redis://u:a@b:c@h", "h:6379"),
        ("redis://u:a%2Fb@h/3?socket_timeout=5&client_name=a", "h:6379"),
        ("redis://[::1]:7/0", "::1:7"),
        ("rediss://cache.internal:6380/0?ssl_cert_reqs=none&password=a@b", "cache.internal:6380"),
        ("unix://u:p@/run/a@b.sock?db=1", "/run/a@b.sock"),
        ("redis://my_host-1.example:6379/?db=4", "my_host-1.example:6379"),
        ("redis://h:6379/0\n", "h:6379"),
    ],
)
def test_what_redis_py_takes_is_taken(url: str, address: str) -> None:
    """A URL that RQ's own command line understands leads to the same server."""
    assert address == connect.server_for(url=url, config=None).address


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"REDIS_HOST": "redis://:qxsecret@h"}, "REDIS_HOST of --config settings_of_a_secret has what is no name"),
        ({"REDIS_PORT": "tcp://10.0.0.1:6379"}, "REDIS_PORT of --config settings_of_a_secret has a port that is no"),
        ({"SENTINEL": {"INSTANCES": [("redis://:qxsecret@h", 1)]}}, "SENTINEL of --config settings_of_a_secret has"),
    ],
)
def test_settings_that_are_no_host_and_port_are_refused(values: dict[str, Any], why: str) -> None:
    """A URL in the place of a host may have a password, and Docker's links set `REDIS_PORT` to a URL."""
    with pytest.raises(InvalidInput, match=why) as refusal:
        connect.server_for(url=None, config=as_settings(**values))
    assert "qxsecret" not in str(refusal.value)


@pytest.mark.parametrize("text", ["REDIS_URL = 'redis://:qxsecret@h", "REDIS_URL = f('redis://:qxsecret@h')"])
def test_a_settings_module_that_fails_shows_no_line_of_it(
    program: Callable[..., Any], tmp_path: Any, text: str
) -> None:
    """Neither its message nor, with --debug, its traceback: passwords stand there."""
    (tmp_path / "settings_broken.py").write_text(text)
    env = {"PYTHONPATH": str(tmp_path), "SHEDDER_REDIS_URL": "", "RQ_REDIS_URL": ""}
    done = program("status", "-c", "settings_broken", "--debug", env=env)
    assert 2 == done.code
    assert "importing the module settings_broken fails with " in done.err
    assert "`python -c 'import settings_broken'` shows where" in done.err
    assert "qxsecret" not in done.out + done.err


def test_a_traceback_hides_what_another_library_says() -> None:
    """Older releases of redis-py write the password of a pool into the text of an error."""
    run = Run(secrets=frozenset({"qx, s'ecret"}))
    said = "Redis<Pool(host=h,password=qx, s'ecret,db=0)> {'password': \"qx, s'ecret\"} redis://u:qx/y@h"
    assert "Redis<Pool(host=h,password=***,db=0)> {'password': ***} redis://***@h" == without_secrets(said, run)


def test_a_log_record_has_no_variables(capsys: pytest.CaptureFixture[str], invoke: Callable[..., Any]) -> None:
    """The traceback in a log record shows lines, and nothing of what stood in the variables."""
    from shedder.cli.logs import send_logs_to_stderr

    for log_format in ("text", "json"):
        send_logs_to_stderr(log_format=log_format)
        password = "qx" + "secret"
        try:
            int(password[:0])
        except ValueError:
            logging.getLogger("rq.worker").exception("failed")
    said = capsys.readouterr().err
    assert 2 == said.count("Traceback")
    assert "qxsecret" not in said


@pytest.mark.parametrize(
    ("given_url", "address"),
    [
        ("redis://:pw?x@h:6379/0", "redis://..."),
        ("redis://:pw#x@h", "redis://..."),
        ("redis://:12?x", "redis://..."),
        ("redis://u:pw/x@h:6379/0", "redis://h:6379/0"),
        ("redis://h?password=p@ss", "redis://..."),
    ],
)
def test_an_address_shows_nothing_that_may_be_a_password(given_url: str, address: str) -> None:
    """Where a password ends that was not percent-encoded nobody can tell."""
    assert address == RedisUnreachable(given_url).address
