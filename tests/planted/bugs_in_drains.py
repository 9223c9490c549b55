"""Mistakes in how jobs get out of a backlog, and in who gets a slot."""

from __future__ import annotations

from tests.planted.bug import AT_ONCE, DAMAGED, DRAIN, FOUND, HALT, OPERATORS, SLOTS, STOCK, Bug

CLAIM, SCAN, RESTORE = "lua/claim_job.lua", "lua/scan_lane.lua", "lua/restore_lane.lua"
RELEASE, DRAINS, HALTS = "lua/release_backlog.lua", "lua/lib/drain.lua", "lua/end_drained.lua"

BUGS = (
    Bug(
        "a change of rate fills the bucket",
        "lua/order_drain.lua",
        "  if order.drain then tokens = settle(order, now) elseif rate > 0 then begin_counts(order) end\n",
        "  tokens = burst\n",
        (DRAIN,),
    ),
    Bug(
        "a change of rate is not settled at the old one",
        "lua/order_drain.lua",
        "  if order.drain then tokens = settle(order, now) elseif rate > 0 then begin_counts(order) end\n"
        "  store_tokens(order, math.min(tokens, burst), now)\n",
        "  if not order.drain then store_tokens(order, 0, now) end\n",
        (DRAIN,),
    ),
    Bug(
        "the burst has no bound",
        DRAINS,
        "return math.min(tokens + (now - at) * order.drain.rate, order.drain.burst)",
        "return tokens + (now - at) * order.drain.rate",
        (DRAIN,),
    ),
    Bug(
        "a start takes no token",
        CLAIM,
        "store_tokens(order, tokens - 1, now)",
        "store_tokens(order, tokens, now)",
        (DRAIN,),
    ),
    Bug(
        "a drain ends with jobs left",
        CLAIM,
        "if backlog_length(order) == 0 and not order.drain.stay",
        "if not order.drain.stay",
        (SLOTS,),
    ),
    Bug(
        "a drain that is to stay ends",
        CLAIM,
        "if backlog_length(order) == 0 and not order.drain.stay",
        "if backlog_length(order) == 0",
        (DRAIN,),
    ),
    Bug(
        "a drain of an empty backlog lets go of what others pushed",
        "lua/order_drain.lua",
        " and not (order.whole and waiting_in(lane) > 0)",
        "",
        (DRAIN,),
    ),
    Bug("jobs that a drain skips are not counted", DRAINS, "count(order.bucket, 'skipped:' .. cause, 1)", "", (DRAIN,)),
    Bug(
        "a whole divert keeps the slots of RQ's rate limits",
        "queues/divert.py",
        "    if selection.is_whole:\n",
        "    if False:\n",
        (SLOTS,),
    ),
    Bug(
        "a scan keeps the slots of RQ's rate limits",
        SCAN,
        "if redis.call('EXISTS', limit_keys) == 1 then free_slots(taken) end",
        "",
        (SLOTS,),
    ),
    Bug(
        "a drained job takes no slot",
        "lua/lib/slot.lua",
        ">= (tonumber(concurrency) or 1) then return false end",
        ">= (tonumber(concurrency) or 1) then return true end",
        (SLOTS,),
    ),
    Bug("a job that cannot run takes a slot", CLAIM, "if is_over or take_slot(", "if take_slot(", (SLOTS,)),
    Bug(
        "a scan ignores a restore",
        SCAN,
        "if not order or order.restoring or not",
        "if not order or not",
        (FOUND,),
    ),
    Bug(
        "a restore puts jobs behind those that were younger",
        RESTORE,
        "if waiting_size == 0 or older <= next_at then",
        "if waiting_size == 0 then",
        (AT_ONCE,),
    ),
    Bug(
        "a restore renames what is not older",
        RESTORE,
        "return enqueued_at(last) <= enqueued_at(first)",
        "return true",
        (AT_ONCE,),
    ),
    Bug(
        "a restore lets through what another divert takes",
        CLAIM,
        "    if orders then order, undecided = order_for(orders, name, nil",
        "    if orders and not restoring_order(orders) then\n      order, undecided = order_for(orders, name, nil",
        (AT_ONCE,),
    ),
    Bug(
        "a restore forgets those that wait for a slot",
        RESTORE,
        "  join_waiters()\n  order.restoring",
        "  order.restoring",
        (AT_ONCE,),
    ),
    Bug(
        "a released job is not counted as out",
        RELEASE,
        "if tokens < 1 or outstanding + released >= cap then break end",
        "if tokens < 1 then break end",
        (STOCK,),
    ),
    Bug("arrivals stay before what is released to stock workers", RELEASE, "\nsweep_arrivals()\n", "\n", (STOCK,)),
    Bug(
        "a release ignores a pause",
        RELEASE,
        "if pause_in_force(redis.call('HGET', pauses, lane.name), now) then",
        "if false then",
        (STOCK,),
    ),
    Bug(
        "a drain whose jobs fail goes on",
        HALTS,
        "if ended < LEAST or failed / ended < drain.halt then return '' end",
        "if true then return '' end",
        (HALT,),
    ),
    Bug(
        "a halt leaves the other lanes of the command",
        HALTS,
        "if order.drain and order.drain.event == event and not order.limit then",
        "if order.drain and order.drain.event == event and name == lane then",
        (HALT,),
    ),
    Bug(
        "the numbers of a drain go on from an earlier one",
        "lua/order_drain.lua",
        " elseif rate > 0 then begin_counts(order) end\n",
        " end\n",
        (DRAIN,),
    ),
    Bug(
        "a drain of stock workers halts because of what failed before it",
        "queues/outcomes.py",
        "first, last = int(since.timestamp()) + 1 + ttl,",
        "first, last = ttl,",
        (STOCK,),
    ),
    Bug(
        "nobody finishes what an operator began",
        "queues/maintenance.py",
        "        elif divert.is_scanning:\n",
        "        elif False:\n",
        (OPERATORS,),
    ),
    Bug(
        "a job that RQ promotes while its lane is diverted stays with its slot gone",
        "lua/free_slot.lua",
        "  redis.call('LREM', list, -1, id)\n  redis.call('RPUSH', order.rest, id)\n",
        "",
        (SLOTS,),
    ),
    Bug(
        "what a drain wrote down stays behind when its backlog is adopted",
        "lua/adopt_backlog.lua",
        "redis.call('DEL', drain, skipped)",
        "local _ = drain or skipped",
        (DAMAGED,),
    ),
)
