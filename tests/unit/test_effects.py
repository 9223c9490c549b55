"""The effect of a change is told from samples, and only where there are any."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shedder.events import Event
from shedder.incident.effects import AFTER, MOST_LANES, WINDOW, effects_of, reading_at, with_yardsticks
from shedder.incident.records import Effect, Incident, Reading, Yardstick
from shedder.policy.model import Policy, Rule
from shedder.queues.samples import Sample
from shedder.selection import Selection

AT = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
INCIDENT = Incident("2026-11-25-1", "late", 2, AT, "ana@desk")
RECEIPTS = Rule(queue="mail", label="receipts", tolerance=timedelta(minutes=10))


def sample(seconds: float, waiting: int, ended: int = 0, backlog: int = 0) -> Sample:
    at = AT + timedelta(seconds=seconds)
    return Sample(at, waiting, backlog, 1, 30, 60 if backlog else 0, ended, ended)


def event(verb: str, *lanes: str, seconds: float = 0, name: str = "1-1") -> Event:
    return Event(name, AT + timedelta(seconds=seconds), verb, "bob@desk", "r", lanes)


PAUSE = event("pause", "mail")
FILLING = {"mail": [sample(each, 100 + each) for each in range(-60, 600, 2)]}


def test_the_effect_of_a_retry_is_told_once() -> None:
    """From the retry on, though its drain is ordered a moment later."""
    retry = replace(event("retry", "mail"), order="o")
    drain = replace(event("drain", "mail", seconds=0.1, name="1-2"), order="o", details={"retry": True})
    assert [retry.id] == [each.event for each in effects_of(INCIDENT, (retry, drain), FILLING, LATER)]
    other = replace(drain, details={})
    assert [other.id] == [each.event for each in effects_of(INCIDENT, (retry, other), FILLING, LATER)]


# how a lane was at a moment


def test_the_last_sample_before_a_moment_tells_how_it_was() -> None:
    """Numbers from the last one, rates over the time before."""
    samples = [sample(-40, 100, 0), sample(-20, 90, 20), sample(0, 60, 60), sample(4, 1, 1)]
    assert Reading(60, 0, 30.0, 0.5, 1.5, 0.0) == reading_at(samples, AT)


def test_jobs_that_failed_did_not_end_well() -> None:
    """Of sixty that ended in forty seconds forty failed."""
    samples = [sample(-40, 100, 0), replace(sample(0, 60, 60), failed=40)]
    found = reading_at(samples, AT)
    assert found is not None
    assert (0.5, 1.0, 2 / 3) == (found.completions, found.failing, found.share_failing)


def test_one_sample_tells_no_rate_and_an_empty_lane_no_age() -> None:
    """What is not known is None."""
    assert Reading(0, 7) == reading_at([sample(-5, 0, 9, backlog=7)], AT)


def test_without_a_sample_nearby_nothing_is_told() -> None:
    """One that is too old or comes later is no answer."""
    assert None is reading_at([sample(-WINDOW.total_seconds() - 1, 5), sample(1, 5)], AT)


def test_an_empty_lane_stays_empty_until_a_sample_says_otherwise() -> None:
    """Such a lane writes no samples."""
    assert Reading(0) == reading_at([sample(-3000, 0), sample(1, 5)], AT)


# what a change did


def test_an_effect_is_told_five_minutes_later() -> None:
    """Not before, and as of then however much later somebody looks."""
    assert () == effects_of(INCIDENT, [PAUSE], FILLING, AT + AFTER - timedelta(seconds=1))
    (effect,) = effects_of(INCIDENT, [PAUSE], FILLING, LATER)
    assert ("1-1", "pause", 300.0) == (effect.event, effect.verb, effect.after_seconds)
    assert (98, 400) == (effect.before["mail"].waiting, effect.after["mail"].waiting)


def test_the_sample_of_the_second_of_a_change_is_not_from_before_it() -> None:
    """Its time is cut off: it may have been taken just after the change."""
    divert = replace(PAUSE, verb="divert", at=AT + timedelta(seconds=0.9))
    samples = {"mail": [sample(-2, 50), sample(0, 0, backlog=50), sample(300, 0, backlog=50)]}
    (effect,) = effects_of(INCIDENT, [divert], samples, LATER)
    assert 50 == effect.before["mail"].waiting


def test_the_next_change_of_the_same_lanes_ends_an_effect() -> None:
    """Changes of other lanes, and of flags, do not."""
    others = (event("pause", "reports", seconds=20), event("flag degrade", seconds=30))
    divert = event("divert", "mail", seconds=60, name="1-2")
    now = AT + timedelta(seconds=60)
    effects = effects_of(INCIDENT, [PAUSE, *others, divert], FILLING, now)
    assert [("1-1", 60.0)] == [(each.event, each.after_seconds) for each in effects]


def test_the_end_of_the_incident_ends_an_effect() -> None:
    """What happened later has to do with something else."""
    over = replace(INCIDENT, resolved_at=AT + timedelta(seconds=90))
    (effect,) = effects_of(over, [PAUSE], FILLING, AT + timedelta(seconds=90))
    assert (90.0, 190) == (effect.after_seconds, effect.after["mail"].waiting)


def test_a_lane_without_jobs_or_samples_has_no_effect() -> None:
    """Nothing is invented, and nothing is told of what stood empty."""
    pause = event("pause", "mail", "mail.low", "mail.high")
    samples = {**FILLING, "mail.low": [sample(-9, 0), sample(280, 0)]}
    (effect,) = effects_of(INCIDENT, [pause], samples, LATER)
    assert ["mail"] == list(effect.before) == list(effect.after)
    assert () == effects_of(INCIDENT, [PAUSE], {"mail": [sample(-9, 5)]}, LATER)


def test_a_change_without_lanes_is_told_by_the_busiest_of_all() -> None:
    """A flag, a limit in code or a roll-back may change any of them."""
    many = {f"q{number}": [sample(-2, number), sample(299, number)] for number in range(1, 40)}
    (effect,) = effects_of(INCIDENT, [event("mitigate")], many, LATER)
    assert [f"q{number}" for number in range(39, 39 - MOST_LANES, -1)] == list(effect.before)


@pytest.mark.parametrize("verb", ["note", "scan", "effect", "drained", "incident open"])
def test_what_changes_no_lane_has_no_effect(verb: str) -> None:
    """Findings, measurements of an older shedder, and what workers finish."""
    assert () == effects_of(INCIDENT, [event(verb, "mail")], FILLING, LATER)


def test_what_an_older_shedder_measured_stays() -> None:
    """Its record holds it for good."""
    stored = Effect("1-1", "pause", 301.5, {"mail": Reading(9)}, {"mail": Reading(3)})
    assert (stored,) == effects_of(replace(INCIDENT, effects=(stored,)), [PAUSE], {}, LATER)


# by what it is judged


def test_an_effect_is_told_in_the_words_of_the_policy() -> None:
    """What is in each lane and how long that may wait; a lane that two kinds share has none."""
    effects = effects_of(INCIDENT, [PAUSE], FILLING, LATER)
    assert [{}] == [each.yardsticks for each in with_yardsticks(effects, Policy())]
    told = with_yardsticks(effects, Policy(rules=(RECEIPTS,)))
    assert [{"mail": Yardstick("receipts", 600.0)}] == [each.yardsticks for each in told]
    news = Rule(selection=Selection.parse(functions=["*.news"]), label="news")
    both = with_yardsticks(effects, Policy(rules=(news, RECEIPTS)))
    assert [{}] == [each.yardsticks for each in both]
