"""Which jobs stand in the demo's queue?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from shedder.demo.work import job_id
from shedder.lanes import Lane, lanes_of_target

QUEUE = "mail"
TENANTS = ("acme", "globex", "initech", "hooli", "stark")
BULK = ("send_newsletter", "rebuild_report")
"""The functions whose work can wait."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job.

    Attributes:
        name: what its ids begin with.
        function: its function in `shedder.demo.work`.
        priority: of the lane that producers put it into.
        share: how many of 1,000 jobs are of this kind.
    """

    name: str
    function: str
    priority: str
    share: int

    @property
    def path(self) -> str:
        """The dotted name of its function, which RQ stores."""
        return f"shedder.demo.work.{self.function}"

    @property
    def lane(self) -> str:
        """The name of its lane."""
        return Lane(QUEUE, self.priority).name


# Somebody has declared what resets a password, and the reports. Card charges and receipts nobody
# has, as is usual, so they stand in one line with the newsletters.
NEWSLETTER = Kind("newsletter", "send_newsletter", "normal", 850)
REPORT = Kind("report", "rebuild_report", "low", 140)
RECEIPT = Kind("receipt", "send_receipt", "normal", 5)
CHARGE = Kind("charge", "charge_card", "normal", 3)
PASSWORD = Kind("password", "reset_password", "high", 2)
KINDS = (NEWSLETTER, REPORT, RECEIPT, CHARGE, PASSWORD)


@dataclass(frozen=True, slots=True)
class Planned:
    """A job to be enqueued.

    Attributes:
        number: from 0 on, over all kinds.
        kind: its kind.
        tenant: for whom it works; it stands in the job's meta.
    """

    number: int
    kind: Kind
    tenant: str

    @property
    def id(self) -> str:
        """Its id."""
        return job_id(self.kind.name, self.number)


def planned(number: int) -> Planned:
    """The job with this number, the same in every process and every run."""
    order = _order()
    return Planned(number, order[number % len(order)], TENANTS[number % len(TENANTS)])


def lane_names() -> tuple[str, ...]:
    """The names of all lanes of the queue, most important first."""
    return tuple(lane.name for lane in lanes_of_target(QUEUE))


def lane_list(lane: str) -> str:
    """The key of the list that RQ keeps a lane's jobs in."""
    from shedder.rq.layout import rq_keys

    return rq_keys().lane(lane)[0]


@cache
def _order() -> tuple[Kind, ...]:
    order = [kind for kind in KINDS for _ in range(kind.share)]
    random.Random(1).shuffle(order)  # noqa: S311 - the same mix in every run
    return tuple(order)
