"""What BullMQ does on the same server, where it has the verb; only when it is asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.progress import say
from benchmarks.rows import Row, per_second
from benchmarks.samples import compare
from benchmarks.settings import Settings

if TYPE_CHECKING:
    from benchmarks.ground import Ground

PACKAGES = ("bullmq", "ioredis")
PROGRAM = Path(__file__).with_name("bullmq_side.mjs")


def why_not(settings: Settings) -> str:
    """Why BullMQ is left out; empty when it is measured."""
    if not settings.with_bullmq:
        return "skipped: BullMQ is installed with npm only when --bullmq is given"
    if shutil.which("npm") is None or shutil.which("node") is None:
        return "skipped: there is no node here"
    return ""


def enqueue(ground: Ground, jobs: int, repeat: int, ours: Callable[[], float], settings: Settings) -> Iterator[Row]:
    """`queue.add` beside our `enqueue`."""
    case = "enqueue, one by one, beside BullMQ's queue.add"
    if reason := why_not(settings):
        yield Row(7, case, "", reason)
        return

    def theirs() -> float:
        ground.clear()
        return float(ask(ground, "add", str(jobs))["per_second"])

    ratio = compare(ours, theirs, repeat=repeat, what="enqueue beside BullMQ, jobs/s")
    yield Row(
        7, case, per_second(ratio.ours), f"BullMQ {version()}: {per_second(ratio.theirs)}",
        str(ratio), note="another language: node beside Python",
        values={"ours": ratio.ours, "theirs": ratio.theirs, "ratios": ratio.ratios},
    )  # fmt: skip


def ask(ground: Ground, *words: str) -> Any:
    """What one run of the program in node prints."""
    port = ground.url.rpartition(":")[2]
    done = subprocess.run(["node", str(_program()), port, *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def version() -> str:
    """The version that was installed."""
    package = _folder() / "node_modules" / "bullmq" / "package.json"
    return str(json.loads(package.read_text(encoding="utf-8"))["version"])


@contextmanager
def installed() -> Iterator[None]:
    """Remove what was installed, when the benchmarks are over."""
    try:
        yield
    finally:
        if _folder.cache_info().currsize:
            shutil.rmtree(_folder(), ignore_errors=True)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="shedder-bullmq-"))
    say(f"npm install {' '.join(PACKAGES)}, into {folder}")
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder


@cache
def _program() -> Path:
    return Path(shutil.copy(PROGRAM, _folder()))
