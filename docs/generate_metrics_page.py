"""Writes the tables of `reference/metrics.md` from the code; `make docs` calls it."""

from __future__ import annotations

from pathlib import Path

from shedder.metrics.families import COUNTER, FAMILIES, Family

PAGE = Path(__file__).parent / "reference" / "metrics.md"

HEAD = """# Metrics

What `shedder metrics` and `shedder.metrics.Collector` tell, read from Redis at each scrape; how to use them is said in
[Watch it](../how-to/watch-it.md). This page is generated from the code by `docs/generate_metrics_page.py`.

Counters are kept in Redis, where jobs start and end. They only grow, through `undo` and `doctor` too; `uninstall`
removes them, and Prometheus takes what begins anew for a reset. No label names a job, a worker, a function, a tenant, a
person or a reason. A queue that RQ does not know any more has no series.

`work` is the label that a rule of the policy gives to a kind of work. Of work that stock workers do, starts and ends
are not counted.

"""

OWN = """
## Of the exporter itself

| Metric | Type | What it says |
| --- | --- | --- |
| `shedder_up` | gauge | 1 when Redis answered, else 0; then nothing else is told but these three. |
| `shedder_scrape_duration_seconds` | gauge | How long it took to read all this from Redis. |
| `shedder_info{version,rq,server}` | gauge | 1; what runs here, and the server. |
"""


def page() -> str:
    """The page's text."""
    rows = "\n".join(_row(each) for each in FAMILIES)
    return f"{HEAD}| Metric | Type | What it says |\n| --- | --- | --- |\n{rows}\n{OWN}"


def _row(family: Family) -> str:
    labels = f"{{{','.join(family.labels)}}}" if family.labels else ""
    kind = "counter" if family.kind == COUNTER else "gauge"
    return f"| `{family.name}{labels}` | {kind} | {family.says} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
