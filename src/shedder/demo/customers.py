"""Who sends the important jobs, and when?

A card charge every tenth of a second, from the first step to the last, as customers would. Each
belongs to the step in which it was sent, so that the steps can be compared.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shedder.demo.interrupts import held_back
from shedder.demo.mix import CHARGE, QUEUE
from shedder.demo.trouble import DemoFailed
from shedder.demo.waits import Wait, Waits, waits_of
from shedder.demo.work import job_id

if TYPE_CHECKING:
    from shedder.demo.runlog import RunLog
    from shedder.embedded import EmbeddedServer

_EVERY_SECONDS = 0.1
_LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Sent:
    id: str
    step: str
    lane: str
    at: int


class Customers:
    """Sends important jobs from a thread of its own, as a context.

    Args:
        server: where to.
        first: the number of the first job.
    """

    def __init__(self, server: EmbeddedServer, *, first: int) -> None:
        from shedder.rq import Queue

        self._queue = Queue(QUEUE, connection=server.client())
        self._next = first
        self._moment = ("", "normal")
        self._sent: list[_Sent] = []
        self._trouble: Exception | None = None
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._send_on, daemon=True)

    def begin(self, step: str, *, priority: str = "normal") -> None:
        """From now on they belong to `step`, and are declared as of this priority."""
        self._moment = (step, priority)
        if not self._thread.is_alive() and not self._leave.is_set():
            with held_back():  # inherited by the thread, as the listener's
                self._thread.start()

    def leave(self) -> None:
        """Send no more."""
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_SECONDS)

    def check(self) -> None:
        """Nothing, as long as all goes well.

        Raises:
            DemoFailed: a job could not be sent.
        """
        if self._trouble is not None:
            raise DemoFailed(f"an important job could not be sent: {self._trouble}")

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all that were sent."""
        return tuple(sent.id for sent in self._sent)

    def waits(self, log: RunLog) -> tuple[Waits, ...]:
        """How long they waited, step by step, by what the jobs wrote into `log`."""
        now = time.time_ns()
        steps: dict[tuple[str, str], list[Wait]] = {}
        for sent in tuple(self._sent):
            start = log.starts.get(sent.id)
            wait = Wait(((start or now) - sent.at) / 1e9, is_over=start is not None)
            steps.setdefault((sent.step, sent.lane), []).append(wait)
        return tuple(waits_of(step, lane, waits) for (step, lane), waits in steps.items())

    def _send_on(self) -> None:
        while not self._leave.wait(_EVERY_SECONDS):
            try:
                self._send_one()
            except Exception as error:  # noqa: BLE001 - `check` raises it where the story is told
                self._trouble = error
                return

    def _send_one(self) -> None:
        step, priority = self._moment
        lane: Any = self._queue.lane(priority)
        number, self._next = self._next, self._next + 1
        job = job_id(CHARGE.name, number)
        at = time.time_ns()
        lane.enqueue(CHARGE.path, number, job_id=job, meta={"tenant": "acme"})
        self._sent.append(_Sent(job, step, lane.name, at))
