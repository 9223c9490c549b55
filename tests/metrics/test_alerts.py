"""The alert rules: each fires when it must, and stays silent when it must not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shedder.cli import main
from shedder.metrics.families import FAMILIES
from tests.docs.pages import DOCS

RULES = DOCS / "alerts" / "shedder.yml"
DASHBOARD = DOCS / "dashboards" / "shedder.json"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)

HOUR = 60
UP = ("shedder_up", "1x500")

FIRES: dict[str, tuple[int, list[tuple[str, str]], list[list[tuple[str, str]]]]] = {
    "ShedderAway": (5, [("shedder_up", "0x10")], [[UP]]),
    "ShedderWorkLate": (
        5, [('shedder_work_late_jobs{work="receipts"}', "3x10")],
        [[('shedder_work_late_jobs{work="receipts"}', "0x10")],
         [('shedder_work_late_jobs{work="receipts"}', "0 0 0 3 0 0 0 0 0 0")]],
    ),
    "ShedderWorkMayBeLate": (
        15, [('shedder_work_may_be_late{work="receipts"}', "1x20")],
        [[('shedder_work_may_be_late{work="receipts"}', "0x20")]],
    ),
    "ShedderServiceLevelBurns": (
        2 * HOUR,
        [('shedder_work_started_total{work="receipts"}', "0+60x150"),
         ('shedder_work_in_tolerance_total{work="receipts"}', "0+45x150")],
        [[('shedder_work_started_total{work="receipts"}', "0+60x150"),
          ('shedder_work_in_tolerance_total{work="receipts"}', "0+59x150")],
         # a bad minute that is over an hour ago, and one that has just begun
         [('shedder_work_started_total{work="receipts"}', "0+60x150"),
          ('shedder_work_in_tolerance_total{work="receipts"}', "0+60x118 7080+0x32")],
         # one job in the hour, and it was late
         [('shedder_work_started_total{work="receipts"}', "0x117 1x30"),
          ('shedder_work_in_tolerance_total{work="receipts"}', "0x148")],
         # few jobs, nine of them late
         [('shedder_work_started_total{work="receipts"}', "0x109 0+1x9 9x30"),
          ('shedder_work_in_tolerance_total{work="receipts"}', "0x148")]],
    ),
    "ShedderWorkFails": (
        10,
        [('shedder_work_ended_total{work="charges",outcome="well"}', "0+30x20"),
         ('shedder_work_ended_total{work="charges",outcome="failed"}', "0+30x20")],
        [[('shedder_work_ended_total{work="charges",outcome="well"}', "0+30x20"),
          ('shedder_work_ended_total{work="charges",outcome="failed"}', "0+1x20")],
         # too few to tell
         [('shedder_work_ended_total{work="charges",outcome="well"}', "0+1x20"),
          ('shedder_work_ended_total{work="charges",outcome="failed"}', "0+1x20")]],
    ),
    "ShedderNobodyServes": (
        10,
        [('rq_jobs{queue="mail",status="queued"}', "9x20"), ('rq_workers_serving{queue="mail"}', "0x20")],
        [[('rq_jobs{queue="mail",status="queued"}', "9x20"), ('rq_workers_serving{queue="mail"}', "1x20")],
         [('rq_jobs{queue="mail",status="queued"}', "0x20"), ('rq_workers_serving{queue="mail"}', "0x20")],
         [('rq_jobs{queue="mail",status="failed"}', "9x20"), ('rq_workers_serving{queue="mail"}', "0x20")]],
    ),
    "ShedderBacklogStands": (
        90,
        [('shedder_lane_backlog_jobs{queue="mail",lane="mail"}', "9x200"),
         ('shedder_diverted{queue="mail",lane="mail"}', "1x200")],
        [[('shedder_lane_backlog_jobs{queue="mail",lane="mail"}', "9x200"),
          ('shedder_diverted{queue="mail",lane="mail"}', "1x200"),
          ('shedder_drain_rate_limit{queue="mail",lane="mail"}', "5x200")],
         # a limit on starts brings its backlog back by itself
         [('shedder_lane_backlog_jobs{queue="mail",lane="mail"}', "9x200"),
          ('shedder_diverted{queue="mail",lane="mail"}', "0x200")],
         [('shedder_lane_backlog_jobs{queue="mail",lane="mail"}', "0x200")]],
    ),
    "ShedderControlForgotten": (
        5 * HOUR, [('shedder_control_since_timestamp_seconds{kind="pause",queue="mail"}', "0x400")],
        [[('shedder_control_since_timestamp_seconds{kind="pause",queue="mail"}', "0x400"),
          ('shedder_control_until_timestamp_seconds{kind="pause",queue="mail"}', "99999x400")],
         [('shedder_control_since_timestamp_seconds{kind="pause",queue="mail"}', "7200x400")],
         [('shedder_control_since_timestamp_seconds{kind="drain",queue="mail"}', "0x400")]],
    ),
    "ShedderDrainSlow": (
        25,
        [('shedder_drained_jobs_total{queue="mail",lane="mail"}', "0+600x40"),
         ('shedder_drain_rate_limit{queue="mail",lane="mail"}', "50x40"),
         ('shedder_drain_left_jobs{queue="mail",lane="mail"}', "9000x40")],
        [[('shedder_drained_jobs_total{queue="mail",lane="mail"}', "0+3000x40"),
          ('shedder_drain_rate_limit{queue="mail",lane="mail"}', "50x40"),
          ('shedder_drain_left_jobs{queue="mail",lane="mail"}', "9000x40")],
         # nothing is left: it is slow because it is done
         [('shedder_drained_jobs_total{queue="mail",lane="mail"}', "0+0x40"),
          ('shedder_drain_rate_limit{queue="mail",lane="mail"}', "50x40"),
          ('shedder_drain_left_jobs{queue="mail",lane="mail"}', "0x40")]],
    ),
    "ShedderDrainHalted": (5, [('shedder_drain_halted{queue="mail",lane="mail"}', "1x10")], [[UP]]),
    "ShedderRecordUnreadable": (
        5, [("shedder_unreadable_records", "1x10")],
        [[("shedder_unreadable_records", "0x10")]],
    ),
    "ShedderUpdateOverdue": (
        30, [("shedder_incident_next_update_timestamp_seconds", "600x40")],
        [[("shedder_incident_next_update_timestamp_seconds", "99999x40")]],
    ),
}  # fmt: skip
"""By alert: the minute at which it is asked, series with which it fires, and some with which it does not."""


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def test_each_rule_has_its_series() -> None:
    """No rule is without series with which it must and must not fire."""
    assert set(FIRES) == {rule["alert"] for rule in rules()}


@needs_promtool
@pytest.mark.slow
def test_each_rule_fires_when_it_must(tmp_path: Path) -> None:
    """With the one set of series a rule fires, with the others it does not, and neither says anything false."""
    tests = [
        _test(alert, minute, series, fires=number == 0)
        for alert, (minute, fires, silent) in FIRES.items()
        for number, series in enumerate([fires, *silent])
    ]
    path = tmp_path / "test.yml"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


def _test(alert: str, minute: int, series: list[tuple[str, str]], *, fires: bool) -> dict[str, Any]:
    name = "ALERTS{alertname='%s',alertstate='firing'}" % alert  # noqa: UP031 - braces are PromQL's
    return {
        "interval": "1m",
        "input_series": [{"series": _on_one(one), "values": values} for one, values in series],
        "promql_expr_test": [
            {"expr": f"count({name}) or vector(0)", "eval_time": f"{minute}m",
             "exp_samples": [{"labels": "{}", "value": int(fires)}]}
        ],
    }  # fmt: skip


def _on_one(series: str) -> str:
    name, _, labels = series.partition("{")
    return f'{name}{{instance="one"{"," if labels else ""}{labels or "}"}'


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    """`promtool check rules` finds nothing."""
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_each_metric_that_is_named_exists(path: Path) -> None:
    """Rules and dashboard name no metric that the exporter does not have."""
    named = set(re.findall(r"\b(?:shedder|rq)_[a-z_]+\b", path.read_text()))
    known = {"shedder_up", "shedder_scrape_duration_seconds", "shedder_info", *(each.name for each in FAMILIES)}
    assert named
    assert set() == named - known


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_a_rate_needs_no_scrape_more_often_than_once_a_minute(path: Path) -> None:
    """No window is too short for two scrapes at Prometheus' own interval: such a rate would be empty."""
    minutes = [int(window) for window in re.findall(r"\[(\d+)m\]", path.read_text())]
    assert [] == [window for window in minutes if window < 2]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_says_what_it_means_and_what_to_type(rule: dict[str, Any]) -> None:
    """Each has a summary, what it means, and a command whose verb exists."""
    said = rule["annotations"]
    assert all(said[name] for name in ("summary", "description", "command"))
    program, verb, *_ = said["command"].split()
    assert program == "shedder"
    assert verb in main.commands
