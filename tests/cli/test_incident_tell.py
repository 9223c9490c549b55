"""People tell others of an incident with one command, and learn from it with another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue

from shedder import Shedder
from tests.cli.programs import Outcome, environment
from tests.heartbeat.sink import Sink
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

POLICY = """
version = 1

[[rules]]
queue = "mail"
label = "receipt e-mails"
tolerance = "10m"

[incident]
posts_by_itself = true
"""


@pytest.fixture
def program(invoke_in: Any) -> Any:
    """Runs `shedder` in a folder and checks its exit code."""

    def run(*words: str, code: int = 0, **more: Any) -> Outcome:
        done: Outcome = invoke_in(*words, **more)
        assert code == done.code, done.err
        return done

    return run


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as taking:
        yield taking


@pytest.fixture
def desk(redis: Redis, tmp_path: Path) -> Path:
    """A folder, a policy in force, and an open incident."""
    apply(redis, tmp_path, POLICY)
    Queue("mail", connection=redis).enqueue("app.send")
    Shedder(redis, by="ana@desk").incidents.open("mails are late", severity=2)
    return tmp_path


def apply(redis: Redis, folder: Path, policy: str) -> None:
    (folder / "applied.toml").write_text(policy)
    policies = Shedder(redis, by="ana@desk").policies
    policies.apply(policies.read(folder / "applied.toml"), reason="reviewed")


def updates(redis: Redis) -> list[str]:
    return [each.text for each in Shedder(redis).incidents.list()[0].updates]


def test_a_preview_shows_the_text_and_posts_nothing(program: Any, redis: Redis, desk: Path) -> None:
    """The draft is made of the queues and the policy, and nothing is recorded."""
    done = program("incident", "update", "--preview", cwd=desk)
    assert done.out.startswith("Receipt e-mails are not affected (oldest")
    assert [] == updates(redis)
    found = program("incident", "update", "--preview", "--json", cwd=desk).json
    assert (1, False) == (found["number"], found["is_posted"])


def test_an_update_is_recorded_and_sent(
    program: Any, redis: Redis, desk: Path, sink: Sink, env: dict[str, str]
) -> None:
    """What a person says comes first, then what was computed; the receipt says where it went."""
    with_channel = {**env, "SHEDDER_CHANNEL_MAIN": sink.url("ops")}
    done = program(
        "incident", "update", "--say", "We are on it.", "--by", "bob@desk", cwd=desk,
        env=with_channel,
    )  # fmt: skip
    (text,) = updates(redis)
    assert text.startswith("We are on it. Receipt e-mails are not affected")
    assert [text] == sink.texts("ops")
    assert done.lines[0].endswith("is recorded, sent to 1 place.")


def test_a_channel_that_fails_leaves_the_record(
    program: Any, redis: Redis, desk: Path, sink: Sink, env: dict[str, str]
) -> None:
    """The update is recorded, the exit code is 1, and no secret is in what is said."""
    sink.mood["ops"] = "error"
    url = sink.url("ops").replace("json://", "json://bob:secret@")
    done = program("incident", "update", "--json", cwd=desk, code=1, env={**env, "SHEDDER_CHANNEL_MAIN": url})
    assert (["main"], []) == (done.json["failed"], done.json["sent_to"])
    assert 1 == len(updates(redis))
    assert "secret" not in done.out + done.err


def test_a_bad_channel_is_one_line_before_anything_happens(
    program: Any, redis: Redis, desk: Path, env: dict[str, str]
) -> None:
    """Apprise says nothing of a URL that it does not know; we do, and nothing is recorded."""
    done = program(
        "incident", "update", cwd=desk, code=2,
        env={**env, "SHEDDER_CHANNEL_MAIN": "nonsense://user:secret@host"},
    )  # fmt: skip
    assert 1 == len(done.err.splitlines())
    assert "nonsense://..." in done.err
    assert "secret" not in done.err
    assert [] == updates(redis)


def test_without_an_incident_there_is_nothing_to_tell(program: Any, redis: Redis) -> None:
    """The refusal is one line with the exit code for it."""
    done = program("incident", "update", code=3)
    assert 1 == len(done.err.splitlines())


def test_the_update_can_be_written_in_an_editor(program: Any, redis: Redis, desk: Path, env: dict[str, str]) -> None:
    """What the editor saved is posted, on one line."""
    editor = desk / "editor"
    editor.write_text('#!/bin/sh\nprintf "All is\\nwell." > "$1"\n')
    editor.chmod(0o755)
    program("incident", "update", "--edit", cwd=desk, env={**env, "EDITOR": str(editor)})
    assert ["All is well."] == updates(redis)


def test_a_text_stands_in_place_of_the_generated_one(program: Any, redis: Redis, desk: Path) -> None:
    """The whole text may be given, on one line; a text beside it, or none, is refused."""
    program("incident", "update", "--text", "All is\nwell.", cwd=desk)
    assert ["All is well."] == updates(redis)
    for words in (("--text", "a", "--say", "b"), ("--text", " ")):
        assert 1 == len(program("incident", "update", *words, cwd=desk, code=2).err.splitlines())
    assert ["All is well."] == updates(redis)


def test_one_round_of_the_watcher(program: Any, desk: Path) -> None:
    """From cron: it leads, posts what is due, and gives the lead up."""
    for _ in range(2):
        found = program("incident", "watch", "--once", "--json", cwd=desk).json
        assert (True, [], []) == (found["is_leading"], found["posted"], found["troubles"])


def test_the_watcher_ends_politely(redis: Redis, desk: Path, env: dict[str, str]) -> None:
    """SIGTERM of a supervisor ends it with 0, and another may lead at once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "shedder", "incident", "watch"], cwd=desk,
        env={**environment(), **env}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lease = Shedder(redis).keys.watch_lease
        wait_until(lambda: redis.exists(lease), what="the lead")
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(PATIENCE_SECONDS)
        assert not redis.exists(lease)
    finally:
        process.kill()
        process.communicate()


def test_the_postmortem_is_written(program: Any, redis: Redis, desk: Path) -> None:
    """A folder with the page, its Markdown and its JSON; the receipt names the page."""
    shed = Shedder(redis, by="ana@desk")
    shed.pause("mail", reason="database at 99 %")
    shed.incidents.resolve()
    done = program("incident", "postmortem", "--out", "review", "--no-plots", cwd=desk)
    assert "is in review/postmortem.html." in " ".join(done.out.split())
    names = sorted(os.listdir(desk / "review"))  # noqa: PTH208
    assert ["postmortem.html", "postmortem.json", "postmortem.md"] == names
    found = json.loads((desk / "review" / "postmortem.json").read_text())
    assert ["pause"] == [event["verb"] for event in found["log"] if event["lanes"]]
    again = program("incident", "postmortem", "--out", "review", "--no-plots", "--json", cwd=desk)
    assert set(names) == set(again.json["files"])
    checked = program("incident", "postmortem", "--check", "review/postmortem.md", cwd=desk)
    assert "No sentence blames anybody." in checked.out


def test_a_sentence_that_blames_is_shown(program: Any, redis: Redis, desk: Path) -> None:
    """Its line, what is wrong with it, and the exit code 1."""
    (desk / "text.md").write_text("# Fine\n\nAna should have known.\n")
    found = program("incident", "postmortem", "--check", "text.md", "--json", cwd=desk, code=1)
    assert [3, 3] == [each["line"] for each in found.json["warnings"]]
    shown = program("incident", "postmortem", "--check", "text.md", cwd=desk, code=1)
    assert "should have" in shown.out


def test_a_broken_template_is_one_line(program: Any, redis: Redis, desk: Path) -> None:
    """Which template, which line and why; nothing is written."""
    (desk / "own").mkdir()
    (desk / "own" / "postmortem.md.j2").write_text("{% if %}")
    apply(redis, desk, POLICY + f'templates = "{desk / "own"}"\n')
    done = program("incident", "postmortem", "--out", "review", "--no-plots", cwd=desk, code=1)
    assert 1 == len(done.err.splitlines())
    assert "the template postmortem.md.j2, line 1" in done.err
    assert not (desk / "review").exists()


def test_a_folder_that_cannot_be_written_is_one_line(program: Any, desk: Path) -> None:
    """The reason, and no traceback."""
    (desk / "file").write_text("")
    done = program("incident", "postmortem", "--out", "file/x", "--no-plots", cwd=desk, code=1)
    assert 1 == len(done.err.splitlines())
    assert "cannot be written" in done.err
