"""Which policy the commands of an incident go by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue

from shedder import Shedder

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

POLICY = """
version = 1

[[rules]]
queue = "mail"
label = "{name} mails"
tolerance = "{long}"

[mitigations.{name}]
kind = "rollback"
run = ["echo", "{name}"]
"""


def said_by_mitigate(program: Any, folder: Path, more: tuple[str, ...]) -> str:
    return str(program("mitigate", "--json", *more, cwd=folder).out)


def said_by_triage(program: Any, folder: Path, more: tuple[str, ...]) -> str:
    return str(program("triage", "--json", *more, cwd=folder).out)


def tolerance_by_plan(program: Any, folder: Path, *more: str) -> float:
    (lane,) = program("plan", "--json", *more, cwd=folder).json["lanes"]
    return float(lane["tolerance"])


def said_by_update(program: Any, folder: Path, more: tuple[str, ...]) -> str:
    return str(program("incident", "update", "--preview", *more, cwd=folder).out).lower()


def said_by_postmortem(program: Any, folder: Path, more: tuple[str, ...]) -> str:
    done = program("incident", "postmortem", "--no-plots", "--out", "out", *more, cwd=folder)
    assert 0 == done.code, done.err
    return (folder / "out" / "postmortem.md").read_text()


def said_by_watch(program: Any, folder: Path, more: tuple[str, ...]) -> str:
    program("incident", "watch", "--once", *more, cwd=folder)
    page = folder / "page" / "status.json"
    return page.read_text() if page.exists() else ""


NEAR = [said_by_mitigate, said_by_triage, said_by_postmortem]
STRICT = [said_by_update, said_by_watch]


@pytest.fixture
def program(invoke_in: Any) -> Any:
    """Runs `shedder` in a folder."""
    return invoke_in


@pytest.fixture
def folder(redis: Redis, tmp_path: Path) -> Path:
    """A folder without a policy; a job waits, and an incident is open."""
    Queue("mail", connection=redis).enqueue("app.send")
    Shedder(redis, by="ana@desk").incidents.open("mails are late", severity=2)
    return tmp_path


def written(folder: Path, name: str, *, at: str = "shedder.toml", tolerance: str = "10m") -> Path:
    """A policy in which all bears its name, the text of the post-mortem too."""
    own = folder / f"templates of {name}"
    own.mkdir()
    (own / "postmortem.md.j2").write_text(name)
    text = POLICY.replace("{name}", name).replace("{long}", tolerance)
    paths = {"status_page": folder / "page", "templates": own}
    lines = [f"{key} = {json.dumps(str(value))}" for key, value in paths.items()]
    path = folder / at
    path.write_text("\n".join([text, "[incident]", *lines]))
    return path


def applied(redis: Redis, path: Path) -> None:
    policies = Shedder(redis, by="ana@desk").policies
    policies.apply(policies.read(path), reason="reviewed")


@pytest.mark.parametrize("said", NEAR + STRICT)
def test_the_one_in_force_goes_before_a_file_that_is_near(program: Any, redis: Redis, folder: Path, said: Any) -> None:
    """What was applied holds wherever the command is given."""
    applied(redis, written(folder, "applied"))
    written(folder, "near")
    text = said(program, folder, ())
    assert (True, False) == ("applied" in text, "near" in text)


@pytest.mark.parametrize("said", NEAR + STRICT)
def test_a_file_that_is_named_goes_before_all(program: Any, redis: Redis, folder: Path, said: Any) -> None:
    """`--policy FILE` is what a person says now."""
    applied(redis, written(folder, "applied"))
    named = written(folder, "named", at="named.toml")
    text = said(program, folder, ("--policy", str(named)))
    assert (True, False) == ("named" in text, "applied" in text)


@pytest.mark.parametrize(("said", "is_used"), [(each, True) for each in NEAR] + [(each, False) for each in STRICT])
def test_while_none_was_applied_some_take_the_file_that_is_near(
    program: Any, folder: Path, said: Any, is_used: bool
) -> None:
    """What only looks, or does what a person asks by name; never what is told to others."""
    written(folder, "near")
    assert is_used == ("near" in said(program, folder, ()))


def test_plan_goes_by_it_too(program: Any, redis: Redis, folder: Path) -> None:
    """In this order: named, in force, near; how long work may wait follows from it."""
    written(folder, "near", tolerance="11m")
    assert 660 == tolerance_by_plan(program, folder)
    applied(redis, written(folder, "applied", at="applied.toml", tolerance="12m"))
    assert 720 == tolerance_by_plan(program, folder)
    named = written(folder, "named", at="named.toml", tolerance="13m")
    assert 780 == tolerance_by_plan(program, folder, "--policy", str(named))


VERBS = [
    ("mitigate",),
    ("triage",),
    ("plan",),
    ("incident", "update", "--preview"),
    ("incident", "watch", "--once"),
    ("incident", "postmortem", "--out", "out"),
]


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize("text", [None, "version = 1\ncolour = 3\n", "[["])
def test_a_named_file_that_cannot_be_used_is_one_line(
    program: Any, redis: Redis, folder: Path, words: tuple[str, ...], text: str | None
) -> None:
    """It is absent, says what nobody knows, or is no TOML: the line names it."""
    file = folder / "named.toml"
    if text is not None:
        file.write_text(text)
    done = program(*words, "--policy", str(file), cwd=folder)
    assert (2, 1) == (done.code, len(done.err.splitlines()))
    assert "named.toml" in done.err


@pytest.mark.parametrize("words", [each for each in VERBS if each[1:2] not in (("update",), ("watch",))])
@pytest.mark.parametrize("name", ["shedder.toml", "pyproject.toml"])
def test_a_broken_file_that_is_near_is_not_passed_over(
    program: Any, folder: Path, words: tuple[str, ...], name: str
) -> None:
    """Where it would count it is refused, in one line."""
    (folder / name).write_text("[[")
    done = program(*words, cwd=folder)
    assert (2, 1) == (done.code, len(done.err.splitlines()))
    assert name in done.err


@pytest.mark.parametrize("words", VERBS)
def test_one_in_force_that_is_damaged_is_one_line(
    program: Any, redis: Redis, folder: Path, words: tuple[str, ...]
) -> None:
    """It is not taken for none; a view of the queues goes on, and says so."""
    applied(redis, written(folder, "applied"))
    redis.hset(Shedder(redis).keys.policy, "1", "{}")
    done = program(*words, cwd=folder)
    is_view = words[0] in ("plan", "triage")
    assert (0 if is_view else 1, 1) == (done.code, len(done.err.splitlines()))
    assert "of the policy cannot be read" in done.err
    assert is_view == ("told without a policy" in done.err)
