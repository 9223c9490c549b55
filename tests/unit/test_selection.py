"""A selection takes the jobs that it describes, and only those."""

from __future__ import annotations

import fnmatch
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shedder.errors import InvalidInput
from shedder.selection import MAX_FUNCTIONS, MAX_META, Selection
from tests.globs import globs, globs_and_names

HOUR = timedelta(hours=1)
NOW = timedelta(0)


def takes(glob: str, name: str) -> bool:
    return Selection(functions=(glob,)).matches(function=name, meta={}, age=NOW)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("app.mail.send", "app.mail.send", True),
        ("app.mail.send", "app.mail.send2", False),
        ("app.mail.send", "xapp.mail.send", False),
        ("app.mail.send", "appxmail.send", False),
        ("*", "", True),
        ("*", "app.mail", True),
        ("**", "app.mail", True),
        ("app.*", "app.", True),
        ("app.*", "app", False),
        ("*.send", "app.mail.send", True),
        ("*.send", "app.send.later", False),
        ("app.*.send", "app.mail.send", True),
        ("app.*.send", "app.send", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*ab*ab", "abab", False),
        ("ab*ab*ab", "ababab", True),
        ("*ab*", "xxabxx", True),
        ("*aab", "aaab", True),
        ("*a?b*c", "aabacbxc", True),
        ("?", "", False),
        ("?", "\n", True),
        ("[ab]x", "bx", True),
        ("[!ab]x", "bx", False),
        ("[!a-c]*", "dog", True),
        ("[]]", "]", True),
        ("[!]]", "]", False),
        ("[[]x[]]", "[x]", True),
        ("[a-]", "-", True),
        ("[%w]", "w", True),
        ("[%w]", "a", False),
        ("%a+", "%a+", True),
        ("%a+", "b", False),
        ("app.é*", "app.école", True),
        ("app.??cole", "app.école", True),
        ("app.?cole", "app.école", False),
        ("[!a]*", "é", True),
        ("App.*", "app.x", False),
    ],
)
def test_a_glob(glob: str, name: str, expected: bool) -> None:
    """Stars, question marks and sets match runs of bytes, one byte, and one of a set."""
    assert expected == takes(glob, name)


@given(globs_and_names())
@example(("a*ab", "aab"))
@example(("ab*b", "ab"))
def test_globs_agree_with_fnmatch(pair: tuple[str, str]) -> None:
    """On ASCII names a glob means what fnmatchcase says that it means."""
    glob, name = pair
    assert fnmatch.fnmatchcase(name, glob) == takes(glob, name)


def test_no_glob_is_slow() -> None:
    """A glob that makes a backtracking matcher run for ages is decided at once."""
    started = time.process_time()  # of this process alone, however busy the machine is
    assert not takes("*a" * 60 + "*b", "a" * 20_000)
    assert time.process_time() - started < 1


def test_every_kind_must_match_and_one_function_is_enough() -> None:
    """Functions are alternatives; functions, every field of the meta and the age must all hold."""
    selection = Selection.parse(
        functions=["app.mail.*", "app.sms.*"], meta=["tenant=acme", "plan=free"], older_than="1h"
    )
    job: dict[str, Any] = {
        "function": "app.sms.send",
        "meta": {"tenant": "acme", "plan": "free", "more": "x"},
        "age": HOUR,
    }
    assert selection.matches(**job)
    assert selection.matches(**job | {"function": "app.mail.send"})
    assert not selection.matches(**job | {"function": "app.push.send"})
    assert not selection.matches(**job | {"function": None})
    assert not selection.matches(**job | {"meta": {"tenant": "acme"}})
    assert not selection.matches(**job | {"meta": {"tenant": "acme", "plan": "paid"}})
    assert not selection.matches(**job | {"age": HOUR - timedelta(milliseconds=1)})


def test_an_unknown_function_meets_no_glob() -> None:
    """A job whose function cannot be read stays when a function is asked for, else it goes."""
    assert not Selection(functions=("*",)).matches(function=None, meta={}, age=NOW)
    assert Selection(meta=(("a", ""),)).matches(function=None, meta={"a": ""}, age=NOW)


def test_without_a_criterion_every_job_is_taken() -> None:
    """The empty selection is whole; one criterion of any kind makes it a part."""
    assert Selection.parse().is_whole
    assert Selection().matches(function=None, meta={}, age=-HOUR)
    assert not Selection(functions=("*",)).is_whole
    assert not Selection(meta=(("tenant", "acme"),)).is_whole
    assert not Selection(older_than=HOUR).is_whole


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), "every job"),
        (
            Selection.parse(functions="app.mail.*", meta="tenant=acme", older_than="1h"),
            "function app.mail.*, meta tenant=acme, older than 1h",
        ),
        (
            Selection.parse(functions=["a.*", "b.*"], meta=["t=x=y", "p="], older_than="90s"),
            "function a.* or b.*, meta t=x=y, meta p=, older than 1m 30s",
        ),
    ],
)
def test_describe(selection: Selection, expected: str) -> None:
    """A selection reads as one phrase that names every criterion exactly."""
    assert expected == selection.describe()


@pytest.mark.parametrize(
    ("criteria", "name"),
    [
        ({"functions": [""]}, "function"),
        ({"functions": ["app.[ab"]}, "function"),
        ({"functions": ["app.ab]"]}, "function"),
        ({"functions": ["[[]x]"]}, "function"),
        ({"functions": ["[]"]}, "function"),
        ({"functions": ["[!]"]}, "function"),
        ({"functions": ["[b-a]"]}, "function"),
        ({"functions": ["[+-9]"]}, "function"),
        ({"functions": ["[a-c-e]"]}, "function"),
        ({"functions": ["[é]"]}, "function"),
        ({"functions": ["app\n*"]}, "function"),
        ({"functions": ["app\x00"]}, "function"),
        ({"functions": ["app\x9b"]}, "function"),
        ({"functions": ["app\udc80"]}, "function"),
        ({"functions": ["a" * 201]}, "function"),
        ({"functions": ["é" * 101]}, "function"),
        ({"functions": ["a"] * (MAX_FUNCTIONS + 1)}, "function"),
        ({"meta": ["tenant"]}, "meta"),
        ({"meta": [""]}, "meta"),
        ({"meta": ["=acme"]}, "meta"),
        ({"meta": ["tenant=a\tb"]}, "meta"),
        ({"meta": ["ten\x7fant=a"]}, "meta"),
        ({"meta": ["tenant=" + "a" * 201]}, "meta"),
        ({"meta": ["tenant=a", "tenant=b"]}, "meta"),
        ({"meta": [f"f{n}=x" for n in range(MAX_META + 1)]}, "meta"),
        ({"older_than": "90"}, "older_than"),
        ({"older_than": ""}, "older_than"),
    ],
)
def test_what_cannot_be_matched_is_refused(criteria: dict[str, Any], name: str) -> None:
    """A criterion that is empty, broken, too long or unprintable is refused under its name."""
    with pytest.raises(InvalidInput) as refused:
        Selection.parse(**criteria)
    assert name == refused.value.name


def test_a_record_is_checked_however_it_was_made() -> None:
    """A Selection made without parsing is checked too; a plain string is not a tuple of globs."""
    refused: list[dict[str, Any]] = [
        {"functions": "app.*"},
        {"functions": ("[",)},
        {"meta": (("", "x"),)},
        {"older_than": timedelta(0)},
        {"older_than": -HOUR},
    ]
    for criteria in refused:
        with pytest.raises(InvalidInput):
            Selection(**criteria)


@pytest.mark.parametrize(
    ("glob", "pieces", "width", "head", "tail"),
    [
        ("app.*.send", ["app%.", "%.send"], [4, 5], True, True),
        ("app.mail", ["app%.mail"], [8], True, True),
        ("app.*", ["app%."], [4], True, False),
        ("*.send", ["%.send"], [5], False, True),
        ("*a**b*", ["a", "b"], [1, 1], False, False),
        ("*", [], [], False, False),
        ("a?[!x-z^]é", ["a.[^x-z%^]é"], [5], True, True),
    ],
)
def test_a_glob_is_recorded_in_pieces(glob: str, pieces: list[str], width: list[int], head: bool, tail: bool) -> None:
    """The record holds Lua patterns of a known width, and which of them stand at an end."""
    expected = {"glob": glob, "pieces": pieces, "width": width, "head": head, "tail": tail}
    assert {"functions": [expected]} == Selection(functions=(glob,)).to_record()


def test_the_record_leaves_out_what_is_empty() -> None:
    """Only criteria that were given are recorded, the age in milliseconds."""
    assert {} == Selection().to_record()
    selection = Selection.parse(meta=["tenant=acme"], older_than="1h")
    assert {"meta": {"tenant": "acme"}, "older_than_ms": 3_600_000} == selection.to_record()


@given(
    functions=st.lists(globs(), max_size=3).map(tuple),
    meta=st.dictionaries(st.text("abé=[", min_size=1), st.text("abé=["), max_size=3),
    older_than=st.none() | st.integers(1, 10**12).map(lambda ms: timedelta(milliseconds=ms)),
)
def test_the_record_is_read_back(
    functions: tuple[str, ...], meta: dict[str, str], older_than: timedelta | None
) -> None:
    """A selection comes back from JSON as it was."""
    selection = Selection(functions, tuple(meta.items()), older_than)
    assert selection == Selection.from_record(json.loads(json.dumps(selection.to_record())))


@pytest.mark.parametrize(
    "record",
    [
        {"functions": [{"glob": "a"}], "weekday": "monday"},
        {"functions": []},
        {"functions": "app.*"},
        {"functions": [{"pieces": ["a"]}]},
        {"functions": [{"glob": 5}]},
        {"functions": [{"glob": "["}]},
        {"functions": None},
        {"meta": {}},
        {"meta": ["tenant"]},
        {"meta": {"tenant": 5}},
        {"older_than_ms": None},
        {"older_than_ms": 0},
        {"older_than_ms": "soon"},
        {"older_than_ms": 1e300},
        [],
        None,
    ],
)
def test_a_damaged_or_newer_record_is_refused(record: Any) -> None:
    """A criterion that cannot be read is never left out: that would select more jobs."""
    with pytest.raises(InvalidInput):
        Selection.from_record(record)
