"""The scripts in Redis select the very same jobs as Selection does."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shedder.selection import Selection
from tests.globs import CHARACTERS, globs_and_names

if TYPE_CHECKING:
    from redis import Redis

LIBRARY = files("shedder").joinpath("lua/lib/selection.lua").read_text(encoding="utf-8")
DRIVER = """
local answers = {}
for number, case in ipairs(cjson.decode(ARGV[1])) do
  answers[number] = matches_selection(case.selection, case.name, case.meta, case.age_ms)
end
return answers
"""

METAS = st.dictionaries(st.sampled_from("tp"), st.sampled_from(["", "a", "é"]), max_size=2)


def alternatives(glob: str, name: str) -> st.SearchStrategy[tuple[Selection, ...]]:
    """Selections of which one must take the job: names, beginnings, globs, and criteria that name no function."""
    plain = "".join(each for each in name if each.isprintable() and each not in "*?[]") or "x"
    functions = st.sampled_from(
        [(glob,), (glob, "no"), (plain,), (f"{plain[:2]}*",), (f"*{plain[-2:]}", "no"), ("no",), ("no*",)]
    )
    one = st.builds(Selection, functions) | st.builds(
        Selection,
        st.just(()) | functions,
        METAS.map(lambda meta: tuple(meta.items())),
        st.just(timedelta(milliseconds=2)),
    )
    return st.lists(one.filter(lambda each: not each.is_whole), max_size=3).map(tuple)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Selection, str | None, dict[str, str] | None, int | None]:
    """A selection, and what is known of a job: its function, its meta, its age in ms."""
    glob, name = draw(globs_and_names(CHARACTERS + "é"))
    milliseconds = st.integers(1, 4).map(lambda count: timedelta(milliseconds=count))
    selection = Selection(
        draw(st.sampled_from([(), (glob,), (glob, "no"), ("no", glob)])),
        tuple(draw(METAS).items()),
        draw(st.none() | milliseconds),
        draw(st.just(()) | alternatives(glob, name)),
    )
    unknown = st.none()
    return (selection, draw(st.just(name) | unknown), draw(METAS | unknown), draw(st.integers(-2, 5) | unknown))


def answers_of(redis: Redis, asked: list[dict[str, Any]]) -> list[int]:
    script = f"#!lua flags=no-writes\n{LIBRARY}{DRIVER}"
    answers: list[int] = redis.eval(script, 0, json.dumps(asked))
    return answers


def answer_of(redis: Redis, selection: Any, **job: Any) -> int:
    record = selection.to_record() if isinstance(selection, Selection) else selection
    return answers_of(redis, [{"selection": record, **job}])[0]


def expected_answer(selection: Selection, name: str | None, meta: dict[str, str] | None, age_ms: int | None) -> int:
    """What Selection says of each criterion alone, and -1 where a criterion has nothing to ask."""
    answers = []
    for part, known in (
        (Selection(functions=selection.functions), name is not None),
        (Selection(meta=selection.meta), meta is not None),
        (Selection(older_than=selection.older_than), age_ms is not None),
    ):
        if not part.is_whole:
            age = timedelta(milliseconds=age_ms or 0)
            taken = part.matches(function=name, meta=meta or {}, age=age)
            answers.append(int(taken) if known else -1)
    if selection.any_of:
        each = [expected_answer(one, name, meta, age_ms) for one in selection.any_of]
        answers.append(1 if 1 in each else min(each))
    return 0 if 0 in answers else min(answers, default=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(cases(), min_size=1, max_size=20))
def test_lua_agrees_with_python(
    redis: Redis, asked: list[tuple[Selection, str | None, dict[str, str] | None, int | None]]
) -> None:
    """Whatever the selection and the job, both sides decide the same."""
    expected = [expected_answer(*case) for case in asked]
    sent = []
    for selection, name, meta, age_ms in asked:
        job = {"name": name, "meta": meta, "age_ms": age_ms}
        known = {field: value for field, value in job.items() if value is not None}
        sent.append({"selection": selection.to_record(), **known})
    assert expected == answers_of(redis, sent)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("ab*b", "ab", 0),
        ("ab*b", "abb", 1),
        ("a*ab", "aab", 1),
        ("*aab", "aaab", 1),
        ("ab*ab*ab", "abab", 0),
        ("*a?*b", "ab", 0),
        ("app", "apps", 0),
        ("app", "ap", 0),
        ("*", "", 1),
        ("a*", "", 0),
        ("*a", "", 0),
    ],
)
def test_pieces_do_not_overlap(redis: Redis, glob: str, name: str, expected: int) -> None:
    """Each piece of a glob takes bytes of its own, in order, up to the very ends of the name."""
    selection = Selection(functions=(glob,))
    assert expected == answer_of(redis, selection, name=name)
    assert bool(expected) == selection.matches(function=name, meta={}, age=timedelta(0))


def test_every_byte_means_the_same_on_both_sides(redis: Redis) -> None:
    """Each ASCII character, alone and in a set, matches itself and nothing else in Lua too."""
    printable = [chr(code) for code in range(32, 127)]
    alone = [c for c in printable if c not in "*?[]"]
    in_set = [f"[{c}x]" for c in printable if c != "!"]
    asked = [
        {"selection": Selection(functions=(glob,)).to_record(), "name": name}
        for glob in alone + in_set
        for name in printable
    ]
    expected = [name == glob if len(glob) == 1 else name in glob[1:3] for glob in alone + in_set for name in printable]
    assert expected == [bool(answer) for answer in answers_of(redis, asked)]


def test_a_definite_no_wins_over_what_is_not_known(redis: Redis) -> None:
    """An unknown function leaves it open, unless the age or the meta already says no."""
    selection = Selection.parse(functions=["app.*"], meta=["tenant=acme"], older_than="1h")
    hour, acme = 3_600_000, {"tenant": "acme"}
    assert -1 == answer_of(redis, selection, meta=acme, age_ms=hour)
    assert 0 == answer_of(redis, selection, meta={"tenant": "b"}, age_ms=hour)
    assert 0 == answer_of(redis, selection, meta=acme, age_ms=hour - 1)
    assert -1 == answer_of(redis, selection, name="app.x", age_ms=hour)
    assert -1 == answer_of(redis, selection, name="app.x", meta=acme)
    assert 1 == answer_of(redis, selection, name="app.x", meta=acme, age_ms=hour)
    assert -1 == answer_of(redis, selection)


def test_the_whole_selection_takes_a_job_of_which_nothing_is_known(redis: Redis) -> None:
    """Without a criterion there is nothing to be undecided about."""
    assert 1 == answer_of(redis, Selection())


@pytest.mark.parametrize(
    "record",
    [
        None,
        "x",
        {"weekday": "monday"},
        {"functions": [{"glob": "a*"}]},
        {"functions": [{"pieces": ["[a"], "width": [1], "head": True, "tail": True}]},
        {"functions": 5},
        {"meta": "acme"},
        {"older_than_ms": "soon"},
        {"any": 5},
        {"any": {"names": 5}},
        {"any": {"starts": {}}},
        {"any": {"ends": {}}},
        {"any": {"weekdays": "monday"}},
        {"any": {"rest": [{"weekday": "monday"}]}},
    ],
)
def test_a_damaged_or_newer_record_is_undecided(redis: Redis, record: Any) -> None:
    """A record that the script cannot read neither takes a job nor makes the script fail."""
    known = {"name": "a", "meta": {"tenant": "acme"}, "age_ms": 5}
    assert -1 == answer_of(redis, record, **known)


def test_a_name_is_found_whole_or_not_at_all(redis: Redis) -> None:
    """Among the names of many rules that stand in one text."""
    selection = Selection.one_of(Selection(functions=(f"app.f{number}",)) for number in range(100))
    known = {"app.f1": 1, "app.f99": 1, "app.f": 0, "pp.f1": 0, "app.f1\napp.f2": 0, "": 0, "app.f100": 0}
    assert known == {name: answer_of(redis, selection, name=name) for name in known}


def test_no_glob_is_slow(redis: Redis) -> None:
    """A glob that makes a backtracking matcher run for ages does not hold the server."""
    selection = Selection(functions=("*a" * 60 + "*b",))
    redis.config_resetstat()
    assert 0 == answer_of(redis, selection, name="a" * 1_000)
    spent = redis.info("commandstats")["cmdstat_eval"]["usec"]
    assert spent < 50_000


def test_the_library_defines_no_global_and_calls_no_command() -> None:
    """It is put into other scripts, so it consists of local functions over its arguments."""
    lines = LIBRARY.splitlines()
    starts = [line for line in lines if line and not line.startswith((" ", "--", "end"))]
    assert starts
    assert all(line.startswith("local function ") for line in starts)
    assert "redis." not in LIBRARY
