"""Plots show each kind of work, what fails, and letters that can be read."""

from __future__ import annotations

import importlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shedder.postmortem import plots
from shedder.postmortem.facts import WorkOverTime
from shedder.postmortem.plots import Plot, letters_at, plots_of
from shedder.queues.samples import Sample

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LETTERS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *(f"{letter}2" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")]


@pytest.fixture(scope="module", autouse=True)
def canvases() -> ModuleType:
    """What draws, of thirty megabytes: loaded by one process, so that the others stay small."""
    return importlib.import_module("matplotlib.backends.backend_agg")


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def lane(*, ended: float = 60, failed: float = 0, waiting: int = 5, backlog: int = 0) -> list[Sample]:
    """A lane with a sample a minute over an hour; `ended` and `failed` are jobs a minute."""
    return [
        Sample(at(minute), waiting, backlog, 1, 60, 600 if backlog else 0, int(minute * ended), int(minute * ended),
               int(minute * failed))
        for minute in range(61)
    ]  # fmt: skip


def by_name(found: tuple[Plot, ...]) -> dict[str, Plot]:
    return {each.name: each for each in found}


def test_kinds_of_work_are_shown_and_not_lanes() -> None:
    """All lanes of one kind are one curve; a lane of no kind keeps its name."""
    samples = {"mail": lane(), "mail.low": lane(waiting=7), "exports": lane()}
    found = by_name(plots_of(samples, (), [WorkOverTime("receipt e-mails", ("mail", "mail.low", "mail.high"))]))
    assert "Jobs that wait: exports up to 5; receipt e-mails up to 12" == found["depth"].text


def test_what_is_put_aside_is_shown_apart_from_what_waits() -> None:
    """With an age of its own, so that those who were rescued are seen."""
    found = by_name(plots_of({"mail": lane(backlog=9000)}, ()))
    assert "Jobs that wait; put aside: dashed: mail up to 5, up to 9,000 put aside" == found["depth"].text
    assert found["oldest"].text.endswith("mail up to 1, up to 10 put aside")


def test_work_that_shares_a_lane_has_rates_of_its_own() -> None:
    """As they were counted by label."""
    ends = {
        "news": tuple((at(each), each * 60, each * 30) for each in range(61)),
        "receipts": tuple((at(each), each * 6, 0) for each in range(61)),
    }
    found = by_name(plots_of({"mail": lane()}, (), [WorkOverTime("news and receipts", ("mail",), ends)]))
    assert found["rates"].text.endswith("news up to 0.5; receipts up to 0.1")
    assert found["failing"].text.endswith("news up to 0.5, 1,800 in all")


def test_failing_work_has_a_picture_of_its_own() -> None:
    """Where none fails there is none."""
    assert "failing" not in by_name(plots_of({"mail": lane()}, ()))
    found = by_name(plots_of({"mail": lane(failed=30), "pay": lane()}, ()))
    assert "Jobs a second that failed: mail up to 0.5, 1,800 in all" == found["failing"].text


@pytest.mark.parametrize(("a_minute", "title"), [(120, "a second"), (6, "a minute"), (0.5, "an hour")])
def test_slow_work_has_a_rate_that_can_be_read(a_minute: float, title: str) -> None:
    """By the minute or the hour, where a second is too short to tell."""
    rates = by_name(plots_of({"mail": lane(ended=a_minute)}, ()))["rates"]
    assert rates.title.startswith(f"Jobs {title}: arriving")


def test_slow_work_is_seen_beside_fast_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three jobs a minute beside fifty a second stand well above the ground."""
    seen: list[Any] = []
    dress = plots._dress
    monkeypatch.setattr(plots, "_dress", lambda axes, *more: (dress(axes, *more), seen.append(axes)))
    plots_of({"fast": lane(ended=3000), "slow": lane(ended=3)}, ())
    axes = seen[2]  # of the rates
    assert axes.get_title(loc="left").startswith("Jobs a second")
    place = axes.transAxes.inverted().transform(axes.transData.transform((0, 0.05)))[1]
    assert place > 0.05


@settings(max_examples=5)  # each lays out a picture
@given(st.lists(st.floats(-10, 200), max_size=40))
def test_letters_never_collide(canvases: ModuleType, minutes: list[float]) -> None:
    """Wherever and however often somebody acted, the letters stand apart, in order, and none is left out."""
    marks = list(zip(LETTERS, map(at, sorted(minutes)), strict=False))
    figure = plots._new_figure()
    canvases.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([at(0), at(120)], [0, 200_000], label="mails")  # type: ignore[list-item]
    plots._dress(axes, "Jobs that wait", marks)
    figure.draw_without_rendering()
    boxes = [each.get_window_extent() for each in axes.texts]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    ends = [each.get_text().split("-") for each in axes.texts]
    known = [LETTERS.index(letter) for each in ends for letter in each]
    assert known == sorted(known)
    assert sum(LETTERS.index(each[-1]) - LETTERS.index(each[0]) + 1 for each in ends) == len(marks)


def test_letters_that_would_touch_share_a_place() -> None:
    """From the first to the last of them."""
    places = [("A", 0.0), ("B", 1.0), ("C", 2.0), ("D", 100.0)]
    assert [("A-C", 1.0), ("D", 100.0)] == letters_at(places, point=1.0)


def test_a_gap_in_a_lane_does_not_hide_another() -> None:
    """A lane that came later begins at zero."""
    late = [replace(each, at=each.at + timedelta(minutes=30)) for each in lane(waiting=100)]
    found = by_name(plots_of({"mail": lane(), "late": late}, (), [WorkOverTime("all", ("mail", "late"))]))
    assert found["depth"].text.endswith("all up to 105")
