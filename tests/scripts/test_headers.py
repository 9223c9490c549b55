"""Each script's header is a contract: what it takes, what it returns, what it may do."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from shedder.store.store import load_script, script_names

if TYPE_CHECKING:
    from redis import Redis

FLAGS = {"#!lua", "#!lua flags=allow-oom", "#!lua flags=no-writes"}
PRODUCER_SCRIPTS = {"enqueue_job", "push_job"}


def source_of(name: str) -> str:
    return files("shedder").joinpath("lua").joinpath(f"{name}.lua").read_text(encoding="utf-8")


def header_of(name: str) -> list[str]:
    lines = source_of(name).splitlines()
    end = next(i for i, line in enumerate(lines[1:], 1) if not line.startswith("--"))
    return lines[1:end]


@pytest.mark.parametrize("name", script_names())
def test_header_names_summary_keys_arguments_and_returns(name: str) -> None:
    """A script says in its header what it does, what it takes and what it returns."""
    header = header_of(name)
    assert re.match(r"-- \S.*[.:]$", header[0]), header[0]
    sections = [line for line in header if line in ("-- KEYS", "-- ARGV", "-- RETURNS")]
    assert ["-- KEYS", "-- ARGV", "-- RETURNS"] == sections


@pytest.mark.parametrize("name", script_names())
def test_flags_let_controls_work_when_memory_is_full(name: str) -> None:
    """Every script but those of producers and readers may write when memory is full."""
    flags = source_of(name).splitlines()[0]
    assert flags in FLAGS
    if flags == "#!lua":
        assert name in PRODUCER_SCRIPTS


@pytest.mark.parametrize("name", script_names())
def test_keys_and_arguments_are_named_before_anything_happens(name: str) -> None:
    """No line after the first call to the server speaks of KEYS or ARGV."""
    body = [line for line in source_of(name).splitlines() if not line.startswith("--")]
    first_call = next((i for i, line in enumerate(body) if "redis.call" in line), len(body))
    assert not [line for line in body[first_call + 1 :] if re.search(r"\b(KEYS|ARGV)\b", line)]


@pytest.mark.parametrize("name", script_names())
def test_no_script_searches_or_wipes_the_server(name: str) -> None:
    """No script uses a command whose cost or effect is the whole server's."""
    text = load_script(name).text
    assert not re.search(r"redis\.call\('(KEYS|SCAN|FLUSH\w*|RANDOMKEY)'", text, re.IGNORECASE)


@pytest.mark.parametrize("name", script_names())
def test_the_server_accepts_every_script(name: str, redis: Redis) -> None:
    """The server compiles each script and keeps it under the digest that we compute."""
    script = load_script(name)
    assert script.sha == redis.script_load(script.text)


@pytest.mark.parametrize("name", script_names())
def test_every_library_that_is_included_exists_and_sets_no_global(name: str) -> None:
    """What a script includes defines local names only, so that scripts stay apart."""
    included = re.findall(r"^-- include (lib/\w+\.lua)$", source_of(name), re.MULTILINE)
    for path in included:
        text = files("shedder").joinpath("lua").joinpath(path).read_text(encoding="utf-8")
        assert not re.findall(r"^(?:function|\w+ =)", text, re.MULTILINE)


@pytest.mark.parametrize("name", script_names())
def test_a_script_has_the_functions_that_it_calls_and_no_others(name: str) -> None:
    """Of what a script includes, what it calls is sent, and what nobody calls is left out."""
    text = load_script(name).text
    included = re.findall(r"^-- include (lib/\w+\.lua)$", source_of(name), re.MULTILINE)
    sources = [source_of(name), *(source_of(path.removesuffix(".lua")) for path in included)]
    offered = {
        function for source in sources for function in re.findall(r"^local function (\w+)", source, re.MULTILINE)
    }
    sent = re.findall(r"^local function (\w+)", text, re.MULTILINE)
    words = Counter(re.findall(r"\w+", text))
    assert sorted(offered & words.keys()) == sorted(sent)
    assert not [function for function in sent if words[function] == 1]
