"""An update says what is, in numbers that are those of the queues."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.policy.lateness import Verdict
from shedder.updates.sentences import compose, expected_end
from shedder.updates.situation import STAKEHOLDERS, TEAM, InForce, MeasuredWorkload, Situation
from shedder.wording import moment, pace, spoken

AT = datetime(2026, 11, 23, 14, 38, tzinfo=UTC)
RECEIPTS = MeasuredWorkload(
    "receipt e-mails",
    timedelta(minutes=10),
    waiting=43_200,
    late=41_200,
    oldest=timedelta(minutes=38),
    arrivals=5.0,
    completions=65.0,
    targets=("mail",),
)
PAYMENTS = MeasuredWorkload("payments", timedelta(seconds=30), waiting=1, oldest=timedelta(seconds=2))


def test_the_update_of_the_example() -> None:
    """What is late, how much, how old, how fast it gets better, what is fine, when more is told."""
    situation = Situation(AT, (RECEIPTS, PAYMENTS), next_update=AT.replace(minute=45))
    want = (
        "Receipt e-mails: 41,200 delayed, oldest 38 min, catching up at 60/s, done about 14:50. "
        "Payments are not affected (oldest 2 s). Next update 14:45 UTC."
    )
    assert want == compose(situation, audience=STAKEHOLDERS)


def test_an_update_says_since_when_for_whom_and_what_is_done() -> None:
    """Tenants, the beginning, measures with the role that took them, and what customers notice."""
    late = replace(RECEIPTS, tenants=12, since=AT.replace(hour=13, minute=55))
    measure = InForce("newsletters are paused", "operations", AT.replace(minute=2))
    situation = Situation(AT, (late,), (measure,), ("search suggestions are missing",))
    want = (
        "Receipt e-mails: 41,200 delayed for 12 tenants since 13:55, oldest 38 min, catching up at "
        "60/s, done about 14:50. In force: newsletters are paused (operations, since 14:02). "
        "Search suggestions are missing. This was at 14:38 UTC."
    )
    assert want == compose(situation, audience=STAKEHOLDERS)


def test_the_team_reads_commands_reasons_and_lanes() -> None:
    """The same situation has the lanes, the paces and the commands when the team reads it."""
    measure = InForce("newsletters are paused", "", AT.replace(minute=2), "shedder pause news", "database")
    text = compose(Situation(AT, (RECEIPTS,), (measure,)), audience=TEAM)
    assert "(since 14:02), because database [shedder pause news]." in text
    assert "Receipt e-mails [mail]: 43,200 wait, 0 of them on hold, 5/s arrive, 65/s end." in text


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({"completions": 3.0}, "growing by 2/s"),
        ({"completions": 5.01}, "neither better nor worse"),
        ({"completions": None}, "pace not known yet"),
        ({"held": 43_200}, "on hold until we let them go"),
        ({"held": 200}, "200 of them on hold, catching up at 60/s"),
        ({"is_estimated": True}, "about 41,200 delayed"),
        ({"is_tenants_partial": True, "tenants": 3}, "for at least 3 tenants"),
        ({"tenants": 1}, "for 1 tenant,"),
        ({"completions": 5.1, "waiting": 43_200}, "catching up at 6/min, done about 2026-11-28"),
    ],
)
def test_trend(changes: dict[str, object], want: str) -> None:
    """Each state of late work has words of its own."""
    text = compose(Situation(AT, (replace(RECEIPTS, **changes),)), audience=STAKEHOLDERS)
    assert want in text


def test_no_end_is_promised_for_what_is_held() -> None:
    """What somebody put aside does not end by itself, however fast the rest goes."""
    assert expected_end(replace(RECEIPTS, held=1), AT) is None
    assert expected_end(replace(RECEIPTS, completions=5.02), AT) is None


def test_work_of_which_nothing_is_known_is_not_called_unaffected() -> None:
    """Where no late job was seen and not all were looked at, the text says that it does not know."""
    doubt = Verdict(0, 90, 0, AT - timedelta(minutes=6), 0, 200, is_certain=False)
    text = compose(Situation(AT, (replace(PAYMENTS, doubt=doubt),)), audience=STAKEHOLDERS)
    assert "Whether payments are delayed is not known: they share a queue whose oldest job has waited 6 min." in text
    assert "not affected" not in text
    text = compose(Situation(AT, (replace(PAYMENTS, doubt=doubt, held=1),)), audience=STAKEHOLDERS)
    assert "Payments: 1 on hold, oldest 2 s, whether any is late is not known." in text


@pytest.mark.parametrize(("late", "error", "seen", "said"), [
    (323, 41, 30, "about 323, give or take 41, delayed"),
    (12_345, 1_234, 90, "about 12,300, give or take 1,300, delayed"),
    (39, 675, 39, "39 to 720 delayed"),
])  # fmt: skip
def test_an_estimate_is_told_with_its_error(late: int, error: int, seen: int, said: str) -> None:
    """With no more digits than are known, and as two bounds where the error is large."""
    work = replace(PAYMENTS, late=late, late_error=error, late_seen=seen)
    assert f"Payments: {said}" in compose(Situation(AT, (work,)), audience=STAKEHOLDERS)


def test_work_on_hold_that_is_not_late_is_neither_late_nor_fine() -> None:
    """Newsletters that were put aside are told apart from work that flows."""
    held = MeasuredWorkload("newsletters", timedelta(hours=8), waiting=9, held=9, oldest=timedelta(hours=1))
    text = compose(Situation(AT, (held, PAYMENTS)), audience=STAKEHOLDERS)
    assert text.startswith("Newsletters: 9 on hold, oldest 1 h, none late yet. Payments are not")


@pytest.mark.parametrize(
    ("seconds", "want"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"),
     (3900, "1 h 5 min"), (86399, "23 h 59 min"), (86400, "1 d"), (183600, "2 d 3 h")],
)  # fmt: skip
def test_lengths(seconds: float, want: str) -> None:
    """A length of time has two units at most, and is never told longer than it is."""
    assert want == spoken(timedelta(seconds=seconds))


@pytest.mark.parametrize(("per_second", "want"), [(60, "60/s"), (1234.5, "1,234/s"), (0.4, "24/min"), (0.01, "36/h")])
def test_paces(per_second: float, want: str) -> None:
    """A slow pace is told by the minute or by the hour."""
    assert want == pace(per_second)


# against a model

_nouns = st.sampled_from(["receipt e-mails", "payments", "newsletters", "exports", "password mails"])


@st.composite
def works(draw: st.DrawFn, noun: str) -> MeasuredWorkload:
    waiting = draw(st.integers(0, 2_000_000))
    oldest = timedelta(seconds=draw(st.integers(0, 10**6))) if waiting else None
    tolerance = timedelta(seconds=draw(st.integers(1, 100_000)))
    is_late = oldest is not None and oldest > tolerance
    rate = st.none() | st.floats(0, 1000)
    return MeasuredWorkload(
        noun,
        tolerance,
        waiting=waiting,
        held=draw(st.integers(0, waiting)) if draw(st.booleans()) else 0,
        late=draw(st.integers(1, waiting)) if is_late else 0,
        oldest=oldest,
        tenants=draw(st.none() | st.integers(1, 5000)) if is_late else None,
        since=AT - timedelta(minutes=draw(st.integers(0, 500))) if is_late else None,
        arrivals=draw(rate),
        completions=draw(rate),
        is_estimated=draw(st.booleans()),
        targets=(noun.partition(" ")[0],),
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    nouns = draw(st.lists(_nouns, unique=True, min_size=1))
    return Situation(
        AT,
        tuple(draw(works(noun)) for noun in nouns),
        next_update=draw(st.none() | st.just(AT + timedelta(minutes=15))),
    )


def number(text: str) -> int:
    return int(text.replace(",", ""))


@given(situations(), st.sampled_from([STAKEHOLDERS, TEAM]))
def test_numbers_of_the_text_are_those_of_the_state(situation: Situation, audience: str) -> None:
    """Whatever the state, each kind of work is told once, in the right group, with its numbers."""
    text = compose(situation, audience=audience)
    fine = [work for work in situation.works if not work.late and not work.held]
    for work in situation.works:
        told = re.search(rf"{re.escape(work.noun)}: ([^.]*)\.", text, re.IGNORECASE)
        if work in fine:
            assert told is None
            continue
        assert told is not None
        _check(work, told[1])
    ends = "Next update 14:53 UTC." if situation.next_update else "This was at 14:38 UTC."
    assert text.endswith(ends)
    unaffected = [said for said in text.split(". ") if " not affected" in said]
    assert bool(fine) == bool(unaffected)
    for work in fine:
        age = "none waits" if work.oldest is None else f"oldest {spoken(work.oldest)}"
        assert work.noun.lower() in unaffected[0].lower()
        assert f"({age})" in unaffected[0]


def test_each_age_of_what_is_well_is_told_with_its_work() -> None:
    """What waits long because it may does not make urgent work look late."""
    kinds = (("payments", 1), ("reports", 7200))
    works = [MeasuredWorkload(noun, timedelta(days=1), waiting=3, oldest=timedelta(seconds=age)) for noun, age in kinds]
    text = compose(Situation(AT, tuple(works)), audience=STAKEHOLDERS)
    assert "Payments (oldest 1 s) and reports (oldest 2 h) are not affected." in text


def _check(work: MeasuredWorkload, told: str) -> None:
    assert work.is_estimated == ("about " in told.replace("done about", ""))
    if work.late:
        assert work.late == number(re.findall(r"(\d[\d,]*) delayed", told)[0])
        tenants = [number(each) for each in re.findall(r"(\d[\d,]*) tenants?", told)]
        assert ([work.tenants] if work.tenants else []) == tenants
        since = [moment(work.since, AT)] if work.since else []
        assert since == re.findall(r"since ([\d:]+)", told)
    held = [number(each) for each in re.findall(r"(\d[\d,]*) (?:of them )?on hold", told)]
    is_told = work.held and (not work.late or work.held < work.waiting)
    assert ([work.held] if is_told else []) == held
    assert work.oldest is not None
    assert f"oldest {spoken(work.oldest)}" in told
    end = expected_end(work, AT)
    assert (work.late > 0 and end is not None) == ("done about" in told)
    if work.late and end and work.net:
        left = (end - AT).total_seconds() * work.net
        assert abs(work.waiting - left) <= max(1.0, work.net)
