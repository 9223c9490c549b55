"""An update says what is, in numbers that are those of the queues."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.policy.lateness import Verdict
from shedder.queues.outcomes import Outcomes
from shedder.updates.posting import _headline, _page_work, joined
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
CHARGES = MeasuredWorkload(
    "card charges",
    timedelta(minutes=1),
    waiting=3,
    oldest=timedelta(seconds=2),
    outcomes=Outcomes(0.1, 0.7, ended_lately=120, failed_lately=96, failed_in_minute=38, failed_in_hour=130,
                      exception="app.db.Down"),
)  # fmt: skip
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
    assert text.startswith(
        "Payments: whether any is late is not known, because they share a queue whose oldest job has waited 6 min."
    )
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


def test_work_that_fails_comes_first() -> None:
    """In the last minute and lately, and nothing of it is told as well."""
    text = compose(Situation(AT, (PAYMENTS, CHARGES)), audience=STAKEHOLDERS)
    want = (
        "Card charges fail: 38 in the last minute, 96 of 120 in the last 5 min, 130 in the last hour. Payments are not"
    )
    assert text.startswith(want)
    assert "app.db.Down" not in text


def test_the_team_reads_with_which_exception_work_fails() -> None:
    """And how many end well a second."""
    text = compose(Situation(AT, (CHARGES,)), audience=TEAM)
    assert "6/min end well, 42/min fail, mostly app.db.Down." in text


def test_no_end_is_promised_for_work_that_fails() -> None:
    """What fails is not done, however fast it leaves the queue."""
    failing = replace(RECEIPTS, outcomes=CHARGES.outcomes, failed=5483, counted_since=AT.replace(hour=13))
    text = compose(Situation(AT, (failing,)), audience=STAKEHOLDERS)
    assert expected_end(failing, AT) is None
    assert "5,483 since 13:38, 41,200 delayed, oldest 38 min. This" in text


@pytest.mark.parametrize(
    ("outcomes", "want"),
    [
        (Outcomes(ended_lately=1200, failed_lately=3, failed_in_hour=3),
         "Card charges: failed: 3 of 1,200 in the last 5 min, oldest 2 s."),
        (Outcomes(ended_lately=100, failed_in_hour=5483),
         "Card charges: failed: 5,483 in the last hour, none in the last 5 min, oldest 2 s."),
        (None, "Card charges: whether they fail is not known, because jobs that share their queue do, oldest 2 s."),
    ],
)  # fmt: skip
def test_work_of_which_some_failed_is_not_told_as_well(outcomes: Outcomes | None, want: str) -> None:
    """Nor is work of which nobody counted whether it failed."""
    text = compose(Situation(AT, (replace(CHARGES, outcomes=outcomes),)), audience=STAKEHOLDERS)
    assert text.startswith(want)


def test_paused_work_is_not_told_as_well() -> None:
    """Also while none of it waits."""
    text = compose(Situation(AT, (replace(PAYMENTS, waiting=0, oldest=None, is_paused=True),)), audience=STAKEHOLDERS)
    assert text.startswith("Payments: paused, none waits.")


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ("half the backlog is gone", "half the backlog is gone. Mails wait."),
        ("We are on it! ", "We are on it! Mails wait."),
        (" ", "Mails wait."),
        (None, "Mails wait."),
    ],
)
def test_half_a_sentence_gets_its_full_stop(said: str | None, want: str) -> None:
    """What a person typed does not run into what was computed."""
    assert want == joined(said, "Mails wait.")


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
def ends(draw: st.DrawFn) -> Outcomes:
    """How jobs ended: none failed, or some of them in the last hour, five minutes and minute."""
    hour = draw(st.just(0) | st.integers(1, 10**5))
    lately = draw(st.integers(0, hour))
    minute = draw(st.integers(0, lately))
    rate = st.none() | st.floats(0, 100)
    return Outcomes(
        well=draw(rate), failing=draw(rate) if minute else 0.0, ended_lately=lately + draw(st.integers(0, 1000)),
        failed_lately=lately, failed_in_minute=minute, failed_in_hour=hour,
    )  # fmt: skip


_overdue = st.builds(
    lambda jobs, is_own: {
        "overdue": jobs, "overdue_since": AT - timedelta(minutes=80), "is_overdue": is_own
    },
    st.integers(1, 10**6),
    st.booleans(),
)  # fmt: skip


@st.composite
def works(draw: st.DrawFn, noun: str) -> MeasuredWorkload:
    waiting = draw(st.integers(0, 2_000_000))
    oldest = timedelta(seconds=draw(st.integers(0, 10**6))) if waiting else None
    tolerance = timedelta(seconds=draw(st.integers(1, 100_000)))
    is_late = oldest is not None and oldest > tolerance
    rate = st.none() | st.floats(0, 1000)
    outcomes = draw(st.none() | ends())
    is_doubted = waiting and not is_late and draw(st.booleans())
    return MeasuredWorkload(
        noun,
        tolerance,
        waiting=waiting,
        held=draw(st.integers(0, waiting)) if draw(st.booleans()) else 0,
        late=draw(st.integers(1, waiting)) if is_late else 0,
        doubt=Verdict(0, 9, 0, AT - timedelta(minutes=6), 0, 20, is_certain=False) if is_doubted else None,
        oldest=oldest,
        tenants=draw(st.none() | st.integers(1, 5000)) if is_late else None,
        since=AT - timedelta(minutes=draw(st.integers(0, 500))) if is_late else None,
        arrivals=draw(rate),
        completions=draw(rate),
        is_estimated=draw(st.booleans()),
        targets=(noun.partition(" ")[0],),
        outcomes=outcomes,
        fails_at=draw(st.sampled_from([0.0, 0.2, 1.0])),
        failed=draw(st.integers(0, 10**6)) if outcomes and draw(st.booleans()) else 0,
        counted_since=AT - timedelta(hours=2),
        is_paused=draw(st.booleans()),
        **draw(st.just({}) | _overdue),
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


HEALTH = re.compile(r"not affected|\bfine\b|\bwell\b|on time|in time|nothing is late", re.IGNORECASE)


def is_healthy(work: MeasuredWorkload) -> bool:
    """By the numbers, whatever the record says of itself."""
    found = work.outcomes
    if found is None or work.late or work.held or work.is_paused or work.doubt or work.overdue:
        return False
    return not (work.failed or found.failed_lately or found.failed_in_hour)


def fails(work: MeasuredWorkload) -> bool:
    found = work.outcomes
    if not found or not work.fails_at or found.failed_lately / max(found.ended_lately, 1) < work.fails_at:
        return False
    return bool(found.failing) or (found.well or 0) * 10 < 20


@given(situations(), st.sampled_from([STAKEHOLDERS, TEAM]))
def test_numbers_of_the_text_are_those_of_the_state(situation: Situation, audience: str) -> None:
    """Whatever the state, each kind of work is told once, in the right group, with its numbers."""
    text = compose(situation, audience=audience)
    fine = [work for work in situation.works if is_healthy(work)]
    for work in situation.works:
        verb = " fail" if fails(work) else ""
        told = re.search(rf"{re.escape(work.noun)}{verb}: ([^.]*)\.", text, re.IGNORECASE)
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


@given(situations(), st.sampled_from([STAKEHOLDERS, TEAM]))
def test_no_sentence_claims_health_of_work_that_fails(situation: Situation, audience: str) -> None:
    """Nor of work that is late, held or paused, or of which it is not known; nor does the page."""
    text = compose(situation, audience=audience)
    told_well = [said for said in text.replace("end well", "").split(". ") if HEALTH.search(said)]
    for work in situation.works:
        if not is_healthy(work):
            assert [] == [said for said in told_well if work.noun.lower() in said.lower()]
            assert _page_work(work, AT).state != "fine"
        if fails(work):
            assert not re.search(rf"{work.noun}[^.]*(catching up|done about|none late)", text, re.IGNORECASE)
    states = [_page_work(work, AT).state for work in situation.works]
    assert all(map(is_healthy, situation.works)) == (_headline(states) == "All is well")


@given(situations())
def test_failures_are_told_with_their_numbers(situation: Situation) -> None:
    """Those of the last minute, of five minutes, of the hour, and of the incident."""
    text = compose(situation, audience=STAKEHOLDERS)
    for work in situation.works:
        found = work.outcomes
        (told,) = re.findall(rf"{work.noun}(?: fail)?: ([^.]*)\.", text, re.IGNORECASE) or [""]
        if found is None:
            assert "whether they fail is not known" in told
            continue
        want = [
            f"{found.failed_in_minute:,} in the last minute" * bool(found.failed_in_minute),
            f"{found.failed_lately:,} of {found.ended_lately:,} in" * bool(found.failed_lately),
            f"{found.failed_in_hour:,} in the last hour" * (found.failed_in_hour > found.failed_lately),
            f"{work.failed:,} since 12:38" * (work.failed > found.failed_in_hour),
        ]
        assert [] == [each for each in want if each not in told]


def test_each_age_of_what_is_well_is_told_with_its_work() -> None:
    """What waits long because it may does not make urgent work look late."""
    kinds = (("payments", 1), ("reports", 7200))
    works = [MeasuredWorkload(noun, timedelta(days=1), waiting=3, oldest=timedelta(seconds=age)) for noun, age in kinds]
    text = compose(Situation(AT, tuple(works)), audience=STAKEHOLDERS)
    assert "Payments (oldest 1 s) and reports (oldest 2 h) are not affected." in text


def _check(work: MeasuredWorkload, told: str) -> None:
    assert (work.is_estimated and bool(work.late or work.held)) == ("about " in told.replace("done about", ""))
    if work.late:
        assert work.late == number(re.findall(r"(\d[\d,]*) delayed", told)[0])
        tenants = [number(each) for each in re.findall(r"(\d[\d,]*) tenants?", told)]
        assert ([work.tenants] if work.tenants else []) == tenants
        since = [moment(work.since, AT)] if work.since else []
        assert since == re.findall(r"since ([\d:]+)", re.sub(r"[\d,]+ since 12:38|overdue since 13:18", "", told))
    overdue = [number(each) for each in re.findall(r"(\d[\d,]*) jobs? overdue since 13:18", told)]
    assert ([work.overdue] if work.overdue else []) == overdue
    held = [number(each) for each in re.findall(r"(\d[\d,]*) (?:of them )?on hold", told)]
    is_told = work.held and (not work.late or work.held < work.waiting or fails(work))
    assert ([work.held] if is_told else []) == held
    is_age_told = work.oldest is not None and (work.late or work.held or not (fails(work) or work.doubt))
    assert not is_age_told or (work.oldest is not None and f"oldest {spoken(work.oldest)}" in told)
    end = expected_end(work, AT)
    assert (work.late > 0 and end is not None) == ("done about" in told)
    if work.late and end and work.net:
        left = (end - AT).total_seconds() * work.net
        assert abs(work.waiting - left) <= max(1.0, work.net)
