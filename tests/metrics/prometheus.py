"""A real Prometheus, which scrapes an exporter every second, and what it answers."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


class Prometheus:
    """Scrapes `targets` (host:port) once a second; listens on a port of 127.0.0.1.

    Args:
        folder: For its configuration and data.
        port: Where it listens.
    """

    def __init__(self, folder: Path, *targets: str, port: int) -> None:
        scraped = [{"job_name": "shedder", "static_configs": [{"targets": list(targets)}]}]
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": scraped}
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._log = (folder / "prometheus.log").open("wb")
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def __enter__(self) -> Self:
        wait_until(self._is_ready, what="a Prometheus that is ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None
        try:
            return bool(self.ask("/-/ready"))
        except OSError:
            return False

    def ask(self, path: str, **parameters: str | float) -> bytes:
        """The body of the answer."""
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}") as reply:
            found: bytes = reply.read()
            return found

    def query(self, expression: str, *by: str) -> dict[tuple[str, ...], float]:
        """By the values of the labels `by`, what `expression` is now."""
        rows = json.loads(self.ask("/api/v1/query", query=expression))["data"]["result"]
        return {tuple(row["metric"].get(name, "") for name in by): float(row["value"][1]) for row in rows}

    def series(self, expression: str, start: float, end: float, step: float) -> list[Any]:
        """The series of `expression` in a time: labels and pairs of time and value."""
        found = self.ask("/api/v1/query_range", query=expression, start=start, end=end, step=step)
        return [(row["metric"], row["values"]) for row in json.loads(found)["data"]["result"]]
