"""Charts as SVG: their points, gaps, marks, and that nothing in them acts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

from shedder.queues.samples import Sample
from shedder.web.charts import (
    MOST_POINTS,
    ChartMark,
    ChartWindow,
    age_curve,
    chart,
    curve,
    depth_curves,
    meter,
    rate_curves,
    spark,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def window(**length: float) -> ChartWindow:
    return ChartWindow(NOON - timedelta(**length), NOON)


def sample(seconds_ago: float, waiting: int = 5, started: int = 0, ended: int = 0) -> Sample:
    return Sample(NOON - timedelta(seconds=seconds_ago), waiting, 0, 1, 7, 0, started, ended)


def test_two_weeks_are_drawn_with_two_hundred_points_and_no_peak_is_lost() -> None:
    """Of the points of a step the highest is kept."""
    points = [(NOON - timedelta(minutes=minute), 9999.0 if minute == 7777 else 1.0) for minute in range(20160, 0, -1)]
    found = curve("waiting", "waiting", points, window(days=14))
    assert 9999.0 == found.highest
    assert sum(map(len, found.parts)) <= MOST_POINTS


def test_a_time_without_samples_is_a_gap_where_jobs_waited() -> None:
    """Nobody knows how it was; of an empty lane it is known that it stayed so."""
    gone = [sample(500), sample(490), sample(20), sample(10)]
    empty = [sample(500, 0), sample(490, 0), sample(20, 3), sample(10, 3)]
    waiting = [depth_curves(each, window(minutes=10))[0] for each in (gone, empty)]
    assert [[2, 2], [4]] == [[len(part) for part in each.parts] for each in waiting]


def test_an_empty_lane_is_drawn_to_the_end() -> None:
    """It writes no samples while it is empty."""
    found = age_curve([sample(500, 0)], window(minutes=10))
    assert NOON == found.parts[-1][-1][0]


def test_rates_are_means_of_their_steps() -> None:
    """Twenty ended in ten seconds are two a second; a curve of failures is there only where some failed."""
    found = {each.name: each for each in rate_curves([sample(20), sample(10, ended=20)], window(minutes=10))}
    assert {"in", "out"} == found.keys()
    assert 2.0 == found["out"].last


def test_a_chart_is_well_formed_and_says_in_words_what_it_shows() -> None:
    """For those who hear it; a name of an event is data in it."""
    marks = [ChartMark(NOON - timedelta(minutes=1), "1", "<script>alert(1)</script>")]
    curves = depth_curves([sample(60), sample(30)], window(minutes=10))
    text = chart("Jobs", curves, window(minutes=10), marks=marks, limit=30.0)
    root = ET.fromstring(text)
    assert "Jobs: waiting 5 now, at most 5; backlog 0 now, at most 0; 1 event" == root.get("aria-label")
    assert "<script>" not in text


def test_pictures_have_no_style_and_no_script_of_their_own() -> None:
    """The pages' Content-Security-Policy allows none."""
    curves = depth_curves([sample(60), sample(30)], window(minutes=10))
    pictures = [spark([sample(60), sample(1)], NOON), meter(0.4, "x"), chart("x", curves, window(minutes=10))]
    assert [] == [each for each in pictures if re.search(r"style=|<style|<script| on\w+=|href", each)]


def test_without_samples_a_spark_line_is_empty() -> None:
    """No line is no statement."""
    assert "" == spark([], NOON)
