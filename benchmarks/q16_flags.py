"""What a check of a flag costs, beside a dict and beside OpenFeature's SDK."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator

from openfeature import api

from benchmarks.ground import Ground
from benchmarks.rows import Row, Verdict, seconds
from benchmarks.settings import Settings
from shedder import Shedder
from shedder.openfeature import ShedderProvider

QUESTION = 16
GOAL = 1e-6
CHECKS = 100_000


def run(settings: Settings) -> Iterator[Row]:
    """The same question asked directly, with a percentage, and through the SDK."""
    with Ground(latency_ms=settings.latency_ms) as ground:
        shedder = Shedder(ground.client(), by="bench")
        flags = shedder.flags
        flags.declare("on")
        shedder.degrade_flag("half", percent=50, reason="bench", force=True)
        known: dict[str, float] = {}
        plain = _each(lambda: known.get("on"))
        yield _row("a check of a flag that is on", _each(lambda: flags.enabled("on")), plain)
        yield _row("a check with a percentage and a key",
                   _each(lambda: flags.enabled("half", "user-7")), plain, goal=None)  # fmt: skip
        api.set_provider_and_wait(ShedderProvider(flags), "bench")
        client = api.get_client("bench")
        asked = _each(lambda: client.get_boolean_value("on", True), checks=CHECKS // 20)
        yield _row("the same through OpenFeature's SDK", asked, plain, goal=None)
        api.shutdown()
        shedder.close()


def _row(case: str, took: float, plain: float, *, goal: float | None = GOAL) -> Row:
    return Row(
        QUESTION, case, seconds(took), f"a dict: {seconds(plain)}", f"{took / plain:.1f}x",
        goal="under 1 µs (0.2 µs wanted)" if goal else "",
        verdict=Verdict.of(took < goal) if goal else Verdict.NO_GOAL,
        values={"seconds": took, "dict_seconds": plain},
    )  # fmt: skip


def _each(call: Callable[[], object], *, checks: int = CHECKS) -> float:
    call()
    return min(timeit.repeat(call, number=checks, repeat=5)) / checks
