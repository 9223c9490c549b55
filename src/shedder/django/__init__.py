"""Settings for django-rq with an entry for each lane; the extra `django` brings django-rq.

```python
from shedder.django import with_lanes

RQ_QUEUES = with_lanes({"mail": {"URL": "redis://localhost:6379/0"}})
RQ = {"WORKER_CLASS": "shedder.rq.Worker", "QUEUE_CLASS": "shedder.django.queue.Queue"}
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shedder.lanes import DEFAULT_PRIORITY, PRIORITIES, Lane, lane_of, parse_priority

__all__ = ["with_lanes"]


def with_lanes(
    queues: Mapping[str, Mapping[str, Any]], *, priorities: Iterable[str] = PRIORITIES
) -> dict[str, dict[str, Any]]:
    """`RQ_QUEUES` with an entry for each lane, so that django-rq's pages and commands show them.

    A lane has the settings of its queue; an entry that is there already is left as it is.

    Raises:
        InvalidInput: there is no such priority.
    """
    wanted = [parse_priority(priority) for priority in priorities]
    found = {name: dict(settings) for name, settings in queues.items()}
    for name, settings in queues.items():
        if lane_of(name).priority == DEFAULT_PRIORITY:
            for priority in wanted:
                found.setdefault(Lane(name, priority).name, dict(settings))
    return found
