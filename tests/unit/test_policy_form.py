"""A policy is read as it was written, and everything that is wrong with one is told at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.errors import InvalidInput, PolicyInvalid, PolicyTooNew
from shedder.policy.document import checked_policy, document_of, json_schema, policy_from
from shedder.policy.file import find_policy_file, read_policy

WHOLE = """
version = 1
[[rules]]
queue = "reports"
function = "app.reports.*"
meta = { tenant = "acme", urgent = false, size = 3 }
priority = "low"
shed = 1
label = "monthly reports"
tolerance = "10m"
[[rules]]
queue = "old-low"
function = ["app.a", "app.b"]
priority = "low"
[defaults]
drain_rate = "200/second"
pause_for = "1h"
limit_for = "2h"
flag_for = "30m"
[stale]
after = "24h"
[flags."search.autocomplete"]
notices = "search suggests nothing"
[mitigations.rollback]
run = ["./deploy", "rollback", "{release}"]
timeout = "5m"
kind = "rollback"
[incident]
update_every = { 1 = "15m", 2 = "30m" }
posts_by_itself = true
channels = { main = ["env:SHEDDER_MAIN_CHANNEL"], notes = ["slack://token"] }
templates = "templates"
status_page = "page"
export = "incidents"
people = ["ana@desk", "bob"]
"""

TEN_ERRORS = """
version = 1
colour = "red"
[[rules]]
priority = "urgent"
tolerance = "soon"
[[rules]]
queue = ""
function = "app.[x"
shed = 0
[[rules]]
queue = "mail"
[defaults]
drain_rate = "fast"
[stale]
[incident]
channels = { main = ["s3cret"] }
"""


def problems(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "shedder.toml"
    path.write_text(text)
    with pytest.raises(PolicyInvalid) as refused:
        read_policy(path)
    return [str(problem) for problem in refused.value.problems]


def test_ten_errors_are_ten_sentences(tmp_path: Path) -> None:
    """Each has its place and what is accepted there, and what may be a secret is not shown."""
    found = problems(TEN_ERRORS, tmp_path)
    assert 10 == len(found)
    places = [line.partition(":")[0] for line in found]
    assert {
        "rules[1].priority", "rules[1].tolerance", "rules[2].queue", "rules[2].function",
        "rules[2].shed", "rules[3]", "defaults.drain_rate", "stale.after",
        "incident.channels.main[1]", "colour",
    } == set(places)  # fmt: skip
    assert "s3cret" not in "".join(found)
    assert all("use " in line for line in found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "version: use this key, which must be there: version of this form: 1"),
        ('version = "1"', "version: '1' is not accepted; use a whole number"),
        ("version = 0", "version: 0 is not accepted; use a whole number within 1 to 1"),
        (
            "version = 1\n[incident]\npeople = ['ana desk']",
            (
                "incident.people[1]: 'ana desk' is not accepted; use a name without spaces, "
                "of at most 100 characters: ana@desk"
            ),
        ),
        ("version = 1\nrules = 3", "rules: 3 is not accepted; use a list"),
        ("version = 1\nrules = [3]", "rules[1]: 3 is not accepted; use a table"),
        ("version = 1\nstale = 3", "stale: 3 is not accepted; use a table"),
        (
            "version = 1\n[[rules]]\nqueue = 'q'\nshed = 1\nqueu = 'q'",
            (
                "rules[1].queu: use queue, if that was meant; known here are queue, function, "
                "meta, priority, shed, label, tolerance, retry"
            ),
        ),
        (
            "version = 1\n[[rules]]\nqueue = 'q'\nshed = 1\nmeta = { a = [1] }",
            (
                "rules[1].meta: {'a': [1]} is not accepted; use a table of texts, numbers or "
                'truths, such as { tenant = "acme" }'
            ),
        ),
        (
            "version = 1\n[incident]\nupdate_every = '5m'",
            (
                "incident.update_every: '5m' is not accepted; use a duration from 15m to 30m, or "
                'one for each severity: { 1 = "15m", 2 = "30m" }'
            ),
        ),
        (
            "version = 1\n[mitigations.m]\nrun = []",
            "mitigations.m.run: [] is not accepted; use a list that is not empty",
        ),
        (
            "version = 1\n[defaults]\npause_for = 5",
            ("defaults.pause_for: 5 is not accepted; use a unit after the number, such as 5s, 5m or 5h"),
        ),
    ],
)
def test_each_mistake_has_one_sentence(text: str, told: str, tmp_path: Path) -> None:
    """Whatever is wrong, it is one problem, and says where it is and what is accepted."""
    assert [told] == problems(text, tmp_path)


def test_what_is_no_toml_is_one_problem(tmp_path: Path) -> None:
    """The parser's own words say where; nothing else is guessed."""
    found = problems("version = = 1", tmp_path)
    assert 1 == len(found)
    assert "line 1" in found[0]


def test_a_newer_version_is_refused_by_its_name(tmp_path: Path) -> None:
    """Nothing else is said of a form that is not known."""
    path = tmp_path / "shedder.toml"
    path.write_text("version = 2\ncolour = 3")
    with pytest.raises(PolicyTooNew) as refused:
        read_policy(path)
    assert f"{path} is of version 2; this shedder reads version 1" == str(refused.value)


def test_a_policy_survives_as_a_document(tmp_path: Path) -> None:
    """What is written for Redis is read again as the same policy."""
    path = tmp_path / "shedder.toml"
    path.write_text(WHOLE)
    policy = read_policy(path)
    assert policy == policy_from(json.loads(json.dumps(document_of(policy))))
    assert policy == checked_policy(document_of(policy), source="again")


def test_a_label_is_read_under_its_older_name_too() -> None:
    """`noun` is read as `label`, which alone is written, and which goes before it."""
    old = {"queue": "mail", "noun": "mails"}
    both = {"queue": "news", "noun": "letters", "label": "news"}
    policy = checked_policy({"version": 1, "rules": [old, both]}, source="x")
    assert ["mails", "news"] == [rule.label for rule in policy.rules]
    assert [
        {"queue": "mail", "label": "mails"}, {"queue": "news", "label": "news"},
    ] == document_of(policy)["rules"]  # fmt: skip


def test_a_rule_of_a_newer_shedder_is_left_out() -> None:
    """Half of its criteria would match jobs that are not meant; the others still hold."""
    rules = [{"queue": "mail", "weekday": "monday", "priority": "low"}, {"queue": "a", "shed": 1}]
    policy = policy_from({"version": 1, "rules": rules, "moods": {}, "defaults": {"new": 1}})
    assert ["a"] == [rule.queue for rule in policy.rules]


def test_the_project_file_holds_one_too(tmp_path: Path) -> None:
    """`[tool.shedder]` is found from a folder below, and read as the same form."""
    (tmp_path / "pyproject.toml").write_text(
        "[tool.shedder]\nversion = 1\n[tool.shedder.defaults]\ndrain_rate = '5/s'\n"
    )
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    path = find_policy_file(below)
    assert tmp_path / "pyproject.toml" == path
    assert 5 == read_policy(path).defaults.drain_rate.per_second  # type: ignore[union-attr]


def test_no_file_says_how_to_get_one(tmp_path: Path) -> None:
    """The error names the command that writes a first one."""
    with pytest.raises(InvalidInput, match="shedder policy init"):
        find_policy_file(tmp_path)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("1m"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["version", "rules", "queue", "shed", "meta", "stale", "after", "x",
                         "incident", "update_every", "channels", "defaults", "flags", "run"]),
        inner, max_size=4),
))  # fmt: skip
def test_no_document_is_more_than_refused(document: Any) -> None:
    """Whatever a file holds, it is a policy or a list of problems, and never another error."""
    tables = document if isinstance(document, dict) else {"rules": document}
    try:
        policy = checked_policy({"version": 1, **tables}, source="x")
    except (PolicyInvalid, PolicyTooNew):
        return
    assert policy == policy_from(document_of(policy))


def test_the_schema_for_editors_accepts_what_the_form_accepts(tmp_path: Path) -> None:
    """An editor marks what is wrong, and nothing of a good policy."""
    import tomllib

    validator = jsonschema.Draft202012Validator(json_schema())
    assert [] == [*validator.iter_errors(tomllib.loads(WHOLE))]
    wrong = [*validator.iter_errors(tomllib.loads(TEN_ERRORS))]
    assert wrong


def test_a_worker_reads_a_policy_without_pydantic() -> None:
    """Only commands on a policy's file load it; workers and producers do not."""
    code = "import sys, shedder.policy.applied, shedder.policy.file, shedder.cli.app;print('pydantic' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == said.stdout.strip()
