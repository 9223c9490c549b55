"""Mistakes in how failed jobs come back, and in how that is taken back."""

from __future__ import annotations

from tests.planted.bug import RETRY, Bug

MOVE, BACK, FLOW = "lua/retry_jobs.lua", "lua/put_back_failed.lua", "queues/retry.py"
STATUS = "  if found[1] ~= 'failed' then return found[1] or 'gone' end\n"

BUGS = (
    Bug("a retry moves what somebody has brought back", MOVE, STATUS, "", (RETRY,)),
    Bug("a retried job stays among the failed", MOVE, "  redis.call('ZREM', failed, unpack(moved))\n", "", (RETRY,)),
    Bug("a retried job expires while it waits", MOVE, "  expire_as(id, own, expires)\n", "", (RETRY,)),
    Bug(
        "a retried job of another lane stays in its own",
        MOVE,
        "  if found[2] ~= lane.name then redis.call('HSET', job, 'origin', lane.name) end\n",
        "",
        (RETRY,),
    ),
    Bug(
        "the rest of a retry stays among the failed",
        FLOW,
        "        move.rest()\n",
        "        move.settle()\n",
        (RETRY,),
    ),
    Bug(
        "a reader of failed jobs sees some twice",
        "queues/failed.py",
        "map(bytes, found) if each not in self.last]",
        "map(bytes, found)]",
        (RETRY,),
    ),
    Bug(
        "a reader of failed jobs passes over pieces of the registry",
        "queues/failed.py",
        "        self.place = last + 1 if self.oldest_first else first\n",
        "        self.place = last + 1 if self.oldest_first else 0\n",
        (RETRY,),
    ),
    Bug(
        "a retried job loses the time of its first enqueue",
        MOVE,
        "'status', 'queued', 'started_at'",
        "'status', 'queued', 'enqueued_at', ms_to_iso(now), 'started_at'",
        (RETRY,),
    ),
    Bug(
        "a step of a retry that is sent again moves more", MOVE, "if replayed then return replayed end\n", "", (RETRY,)
    ),
    Bug("each step of a retry writes an event", MOVE, "if #moved > 0 and is_new then", "if #moved > 0 then", (RETRY,)),
    Bug(
        "a retry reads on at the end from which it takes jobs away",
        FLOW,
        "                yield from self._of_lane(lane, now, operation)\n",
        "                yield from self._of_lane(lane, now, operation, oldest_first=True)\n",
        (RETRY,),
    ),
    Bug(
        "the order of a retry takes what arrives",
        FLOW,
        "timedelta(days=36_159, milliseconds=7)",
        "timedelta(milliseconds=1)",
        (RETRY,),
    ),
    Bug(
        "a stop of a retry stops other drains",
        FLOW,
        "            if each.divert.is_retry:\n",
        "            if True:\n",
        (RETRY,),
    ),
    Bug(
        "a retry does not ask what the policy refuses",
        FLOW,
        "found is not None and found.retry is False",
        "found is not None and found.retry is None",
        (RETRY,),
    ),
    Bug(
        "an undone retry forgets when jobs failed",
        BACK,
        "was.source, score_of(was), id)",
        "was.source, now / 1000, id)",
        (RETRY,),
    ),
    Bug("an undone retry forgets until when RQ keeps jobs", BACK, "  expire_at(id, was.expires)\n", "", (RETRY,)),
    Bug(
        "an undone retry fails what was cancelled or enqueued anew",
        BACK,
        "if found[1] ~= 'queued' or not is_same then",
        "if not was then",
        (RETRY,),
    ),
    Bug(
        "an uninstall starts what a retry brings back",
        "health/uninstall.py",
        "retried = take_back(self.store, lane, order, self.cause)",
        "retried = take_back(self.store, lane, '', self.cause)",
        (RETRY,),
    ),
)
