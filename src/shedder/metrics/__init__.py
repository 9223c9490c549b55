"""Metrics for Prometheus; the extra `metrics` brings its client."""

from __future__ import annotations

from shedder.metrics.exporter import Collector, asgi_app, wsgi_app

__all__ = ["Collector", "asgi_app", "wsgi_app"]
