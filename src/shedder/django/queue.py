"""Django-rq's queue with lanes.

Apart from `shedder.django`, because this module needs the settings, and they need that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_rq.queues import DjangoRQ, get_result_ttl

from shedder.lanes import lane_of
from shedder.rq.queue import QueueMixin

if TYPE_CHECKING:
    from rq.job import Job
    from rq.types import FunctionReferenceType


class Queue(QueueMixin, DjangoRQ):
    """django-rq's queue with lanes and controls; `COMMIT_MODE` holds for every lane.

    `get_queue("mail").low` needs no entry of its own in `RQ_QUEUES`: a lane has its queue's.
    `get_queue("mail", async_connection=client)` gives one for coroutines, which enqueues at once,
    because Django has no transactions there.
    """

    def original_enqueue_call(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueue now, with the result's time to live that the settings of the queue say."""
        if "result_ttl" not in kwargs:
            kwargs["result_ttl"] = get_result_ttl(lane_of(self.name).queue)
        # past django-rq's own, which looks up its settings under the name of the lane
        return super(DjangoRQ, self).enqueue_call(*args, **kwargs)

    async def enqueue_async(self, f: FunctionReferenceType, *args: Any, **kwargs: Any) -> Job:
        """As the queue's own, with the result's time to live that the settings of the queue say."""
        if "result_ttl" not in kwargs:
            kwargs["result_ttl"] = get_result_ttl(lane_of(self.name).queue)
        return await super().enqueue_async(f, *args, **kwargs)
