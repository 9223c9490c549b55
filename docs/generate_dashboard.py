"""Writes the Grafana dashboard from the panels below; `make docs` calls it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "dashboards" / "shedder.json"

WHERE = 'instance=~"$server",queue=~"$queue"'
SERVER = 'instance=~"$server"'
LATELY = "$__rate_interval"
"""By Grafana, long enough for four scrapes."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: What it shows.
        kind: Grafana's type of it.
        queries: By legend, what it asks Prometheus.
        unit: Grafana's name of the unit.
        width: Of 24 columns.
        says: What a reader should know, shown on hover.
        bad_above: Where it turns red; None where no number is bad.
    """

    title: str
    kind: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 12
    says: str = ""
    bad_above: float | None = None


ROWS: tuple[tuple[str, int, tuple[Panel, ...]], ...] = (
    ("How it is", 4, (
        Panel("Late jobs", "stat", {"": f"sum(shedder_work_late_jobs{{{SERVER}}})"}, width=3, bad_above=1,
              says="Jobs that wait longer than the policy tolerates."),
        Panel("May be late", "stat", {"": f"sum(shedder_work_may_be_late{{{SERVER}}})"}, width=3, bad_above=1,
              says="Kinds of work of which nobody knows."),
        Panel("Failing", "stat",
              {"": f'sum(rate(shedder_jobs_ended_total{{outcome="failed",{WHERE}}}[{LATELY}])) or vector(0)'},
              unit="reqps", width=3, bad_above=1, says="Jobs that fail, a second."),
        Panel("Paused lanes", "stat", {"": f"sum(shedder_paused{{{WHERE}}})"}, width=3),
        Panel("Open incidents", "stat", {"": f"sum(shedder_incident_open{{{SERVER}}})"}, width=3, bad_above=1),
        Panel("Memory", "stat", {"": f"max(shedder_memory_used_ratio{{{SERVER}}})"}, unit="percentunit", width=3,
              bad_above=0.9, says="Share of the server's memory limit."),
        Panel("Unreadable", "stat", {"": f"sum(shedder_unreadable_records{{{SERVER}}})"}, width=3, bad_above=1,
              says="Records that are damaged, or of a newer shedder: of these the other panels know nothing."),
        Panel("Redis", "stat", {"": f"min(shedder_up{{{SERVER}}})"}, width=3, says="1: it answers."),
    )),
    ("Age and depth", 9, (
        Panel("Oldest job that waits", "timeseries",
              {"{{lane}}": f"shedder_lane_oldest_age_seconds{{{WHERE}}} > 0"}, unit="s",
              says="The age is what customers feel; a long queue may be young."),
        Panel("Depth", "timeseries", {
            "{{queue}} waits": f"sum by (queue) (shedder_lane_waiting_jobs{{{WHERE}}})",
            "{{queue}} backlog": f"sum by (queue) (shedder_lane_backlog_jobs{{{WHERE}}})",
        }),
    )),
    ("In and out", 9, (
        Panel("Jobs in and out a second", "timeseries", {
            "{{queue}} in": f"sum by (queue) (rate(shedder_jobs_enqueued_total{{{WHERE}}}[{LATELY}]))",
            "{{queue}} out": f'sum by (queue) (rate(shedder_jobs_ended_total{{outcome="well",{WHERE}}}[{LATELY}]))',
            "{{queue}} fails": f'sum by (queue) (rate(shedder_jobs_ended_total{{outcome="failed",{WHERE}}}[{LATELY}]))',
        }, unit="reqps"),
        Panel("Started in time", "timeseries", {
            "{{work}}": f"sum by (work) (rate(shedder_work_in_tolerance_total{{{SERVER}}}[5m])) "
                        f"/ sum by (work) (rate(shedder_work_started_total{{{SERVER}}}[5m]))",
        }, unit="percentunit", says="The share of each kind of work that waited no longer than the policy tolerates."),
    )),
    ("Controls", 8, (
        Panel("Paused and diverted", "state-timeline", {
            "{{lane}} paused": f"shedder_paused{{{WHERE}}}",
            "{{lane}} diverted": f"shedder_diverted{{{WHERE}}}",
        }),
        Panel("Drains", "timeseries", {
            "{{lane}} left": f"shedder_drain_left_jobs{{{WHERE}}}",
            "{{lane}} released a second": f"rate(shedder_drained_jobs_total{{{WHERE}}}[{LATELY}])",
            "{{lane}} at most": f"shedder_drain_rate_limit{{{WHERE}}}",
        }),
    )),
    ("Limits, flags, workers", 8, (
        Panel("Refused by limits a second", "timeseries",
              {"{{limit}} {{mode}}": f"sum by (limit, mode) (rate(shedder_limit_refused_total{{{SERVER}}}[{LATELY}]))"},
              unit="reqps", width=8),
        Panel("Degraded features", "timeseries", {"{{flag}}": f"shedder_flag_degraded_ratio{{{SERVER}}} > 0"},
              unit="percentunit", width=8),
        Panel("Workers", "timeseries", {
            "serve {{queue}}": f"rq_workers_serving{{{WHERE}}}",
            "busy": f'sum(rq_workers{{state="busy",{SERVER}}})',
        }, width=8),
    )),
)  # fmt: skip

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    return {
        "title": "shedder: job queues",
        "uid": "shedder",
        "tags": ["rq", "shedder"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
            _variable("server", "Server", "label_values(shedder_up, instance)"),
            _variable("queue", "Queue", 'label_values(shedder_lane_waiting_jobs{instance=~"$server"}, queue)'),
        ]},
        "annotations": {"list": [{
            "name": "Changes", "datasource": SOURCE, "enable": True, "iconColor": "orange",
            "expr": f'sum by (verb) (increase(shedder_events_total{{actor="person",{SERVER}}}[2m])) > 0',
            "titleFormat": "{{verb}}", "step": "60s",
        }]},
        "panels": _panels(),
    }  # fmt: skip


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    top = 0
    for title, height, panels in ROWS:
        found.append(
            {"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}, "collapsed": False}
        )
        left, top = 0, top + 1
        for panel in panels:
            place = {"x": left, "y": top, "w": panel.width, "h": height}
            found.append(_panel(panel, place))
            left += panel.width
        top += height
    return [{"id": number, **each} for number, each in enumerate(found, start=1)]


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_above is not None:
        steps.append({"color": "red", "value": panel.bad_above})
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend or "__auto"}
            for number, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def page() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
