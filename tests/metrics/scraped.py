"""Scrapes, as Prometheus reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from shedder.metrics import Collector
from shedder.metrics.exporter import rendered

if TYPE_CHECKING:
    from redis import Redis

Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(redis: Redis) -> Scrape:
    """What a fresh collector says now."""
    return read(rendered(Collector(redis))[1].decode())


def read(text: str) -> Scrape:
    """By name and sorted labels, the value of each series of `text`."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Scrape, name: str, **labels: str) -> float | None:
    """The value of one series; None when there is none."""
    return found.get((name, tuple(sorted(labels.items()))))
