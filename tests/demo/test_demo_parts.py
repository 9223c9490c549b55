from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.cli.output import Screen
from shedder.demo.fleet import WaitTime, percentile, waits_of
from shedder.demo.jobs import (
    FAILING_SHARE,
    KINDS,
    LOG_VARIABLE,
    OperationalError,
    RunLog,
    Runs,
    planned_id,
    planned_kind,
    send_newsletter,
)
from shedder.demo.story import PLACES, balance
from shedder.demo.terminal import Teller, folded_command, spoken_wait

waits = st.lists(st.builds(WaitTime, st.floats(0, 1000), st.booleans()), min_size=1)
ids = st.lists(st.sampled_from([planned_id(number) for number in range(30)]), unique=True)


def _places(**found: list[str]) -> dict[str, list[str]]:
    return {place: [] for place in PLACES} | found


def _runs(*lines: str) -> Runs:
    """What jobs wrote: `<id>` for a start, `<id> failed` for a failure."""
    runs = Runs()
    for line in lines:
        runs.take(line if " " in line else f"{line} 1")
    return runs


@given(waits, st.sampled_from([50.0, 99.0, 100.0]), st.lists(st.floats(0, 1000), min_size=100))
def test_a_percentile_is_exact_or_a_lower_bound(found: list[WaitTime], percent: float, more: list[float]) -> None:
    """However long open waits become, an exact percentile stands and another only grows."""
    now = percentile(sorted(found, key=lambda wait: wait.seconds), percent)
    ended = [
        wait if wait.is_over else WaitTime(wait.seconds + extra) for wait, extra in zip(found, more, strict=False)
    ] + found[len(more) :]
    later = percentile(sorted(ended, key=lambda wait: wait.seconds), percent)

    assert now is not None
    assert later is not None
    assert later.seconds == now.seconds if now.is_over else later.seconds >= now.seconds


def test_waits_of_nobody() -> None:
    """A step in which nothing was sent has no waiting times rather than wrong ones."""
    step = waits_of("clogged", "mail", [])

    assert (0, 0, None) == (step.sent, step.started, step.p99)


def test_waits_are_spoken_in_the_unit_that_fits() -> None:
    """Short waits are told in milliseconds, long ones in seconds, open ones with a mark."""
    waits = (WaitTime(0.0042), WaitTime(1.2), WaitTime(17.21, is_over=False), None)

    assert ["4ms", "1.2s", "> 17s", "-"] == [spoken_wait(wait) for wait in waits]


@given(st.data())
def test_jobs_in_one_place_each_balance(data: st.DataObject) -> None:
    """Whatever place each job is in, the numbers add up to what was sent."""
    sent = data.draw(ids)
    names = ("run", *PLACES)
    where = {job: data.draw(st.sampled_from(names[:-1])) for job in sent}
    places = {name: [job for job in sent if where[job] == name] for name in PLACES}
    has_failed = {job for job in sent if data.draw(st.booleans())}
    begun = {job for job in sent if where[job] in ("run", "running")}
    runs = _runs(*(each for job in has_failed for each in (job, f"{job} failed")), *begun)
    accounts = balance(sent, runs=runs, places=places)

    counts = (accounts.run, accounts.running, accounts.claimed, accounts.waiting, accounts.backlog)
    assert accounts.is_complete
    assert (len(sent), len(begun & has_failed)) == (sum(counts), accounts.came_back)


@given(ids.filter(bool))
def test_a_lost_job_is_missing(sent: list[str]) -> None:
    """A job that is in no place and has not run is named."""
    lost, *rest = sent
    accounts = balance(sent, runs=_runs(), places=_places(backlog=rest))

    assert (lost,) == accounts.missing
    assert not accounts.is_complete


@given(ids.filter(bool), st.sampled_from(["waiting", "backlog", "claimed"]))
def test_a_job_that_ran_and_still_waits_is_in_two_places(sent: list[str], place: str) -> None:
    """A job that has run must not be found where jobs wait."""
    accounts = balance(sent, runs=_runs(*sent), places=_places(**{place: [sent[0]]}))

    assert (sent[0],) == accounts.twice
    assert not accounts.is_complete


def test_a_job_that_ran_twice_is_told() -> None:
    """A second start of the same job spoils the accounts."""
    accounts = balance(["charge-000001"], runs=_runs("charge-000001", "charge-000001"), places=_places())

    assert ("charge-000001",) == accounts.run_again
    assert not accounts.is_complete


def test_a_failed_job_is_in_one_place_and_has_to_come_back() -> None:
    """A job that has failed counts as failed and not as run, and spoils the accounts; in no place it is missing."""
    runs = _runs("receipt-000001", "receipt-000001 failed")
    left, lost = (balance(["receipt-000001"], runs=runs, places=_places(failed=found)) for found in
                  (["receipt-000001"], []))  # fmt: skip

    assert (0, 1, (), False) == (left.run, left.failed, left.wrong, left.is_complete)
    assert (("receipt-000001",), False) == (lost.missing, lost.is_complete)


def test_a_claimed_job_is_not_running() -> None:
    """A job in a worker's hands is registered as running by RQ before it starts; it counts once."""
    places = _places(claimed=["charge-000001"], running=["charge-000001"])
    accounts = balance(["charge-000001"], runs=_runs(), places=places)

    assert (1, 0, True) == (accounts.claimed, accounts.running, accounts.is_complete)


def test_the_mix_is_the_same_everywhere() -> None:
    """Ids are unique, and each kind has its share of any thousand jobs in a row."""
    assert 3000 == len({planned_id(number) for number in range(3000)})
    assert {kind: kind.share for kind in KINDS} == Counter(map(planned_kind, range(700, 1700)))
    assert 1000 == sum(kind.share for kind in KINDS)


def test_the_run_log_takes_whole_lines_only(tmp_path: Path) -> None:
    """A line that is still being written counts when it is whole, and a second start is noted."""
    log = RunLog(tmp_path / "log")
    with log.path.open("a") as file:
        file.write("charge-000001 17\ncharge-0000")
        file.flush()
        log.refresh()
        assert {"charge-000001": 17} == log.starts
        file.write("02 18\ncharge-000001 19\n")
    log.refresh()

    assert {"charge-000001": 17, "charge-000002": 18} == log.starts
    assert ["charge-000001"] == log.again
    assert 1 == log.started_after(17)


def test_mails_fail_while_the_database_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in five fails, is noted as failed, and as come back when it has begun once more."""
    log = RunLog(tmp_path / "log")
    monkeypatch.setenv(LOG_VARIABLE, str(log.path))
    log.fill_database()
    with pytest.raises(OperationalError):
        send_newsletter(FAILING_SHARE)
    send_newsletter(FAILING_SHARE + 1)
    log.refresh()
    first, other = f"newsletter-{FAILING_SHARE:06d}", f"newsletter-{FAILING_SHARE + 1:06d}"
    assert ({first, other}, {first}) == (set(log.starts), log.failed)
    log.free_database()
    send_newsletter(FAILING_SHARE)
    log.refresh()

    assert (set(), {first}, []) == (log.failed, log.came_back, log.again)


@given(st.lists(st.text(min_size=1, max_size=30), max_size=8), st.integers(40, 80))
def test_a_folded_command_is_the_same_command(words: list[str], width: int) -> None:
    """A shell reads a command that was folded for the screen as it was typed."""
    line = shlex.join(["shedder", "divert", *words])

    assert shlex.split(line) == shlex.split(folded_command(line, width).replace(" \\\n", " "))


def test_told_lines_fit_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that is told is wider than the screen, and quoted lines keep their indent."""
    teller = Teller(Screen())
    teller.head("A step")
    teller.say("word " * 100)
    teller.quote(f"table  column  \n{'more words ' * 20}")
    teller.waits([waits_of("clogged", "mail", [WaitTime(1.0)])])

    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= teller.width
    assert "    table  column" in told.splitlines()
    assert "    charges sent while  lane" in told
    assert "\n\n\n" not in told


def test_with_json_the_story_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is left to the one JSON object."""
    Teller(Screen(is_json=True)).say("a story")

    assert ("", "a story\n") == capsys.readouterr()


def test_bars_are_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets no lines that replace one another."""
    with Teller(Screen()).bar("jobs sent") as show:
        show(1, 2)

    assert ("", "") == capsys.readouterr()
