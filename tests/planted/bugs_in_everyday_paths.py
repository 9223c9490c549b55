"""Mistakes on the everyday paths, where nothing is held and the policy is the one that is known."""

from __future__ import annotations

from tests.planted.bug import (
    CLAIMS,
    DAMAGED,
    DIVERT,
    DRAIN,
    FOUND,
    PARKED,
    PAUSE,
    PICKUP,
    POLICY,
    SLOTS,
    TWINS,
    WAYS_IN,
    Bug,
)

LOG_LINES = "tests/rq/patience/test_log_lines.py"
CLAIM, GATE = "lua/claim_job.lua", "lua/start_job.lua"

BUGS = (
    Bug(
        "a copy knows a policy's number before the policy",
        "policy/applied.py",
        "self._known = None, policy  #",
        "self._known = 1, policy  #",
        ("tests/features/test_policy_copy.py",),
    ),
    Bug(
        "the claim goes by an old policy",
        CLAIM,
        "(tonumber(number or 0) or known_policy) ~= known_policy",
        "false",
        (POLICY,),
    ),
    Bug(
        "the everyday claim overlooks RQ's own suspend",
        CLAIM,
        "if redis.call('EXISTS', suspended, pauses, diverts, unpack(fronts())) > 0",
        "if redis.call('EXISTS', pauses, diverts, unpack(fronts())) > 0",
        (CLAIMS,),
    ),
    Bug(
        "the everyday claim overlooks a pause",
        CLAIM,
        "if redis.call('EXISTS', suspended, pauses, diverts, unpack(fronts())) > 0",
        "if redis.call('EXISTS', suspended, diverts, unpack(fronts())) > 0",
        (PAUSE,),
    ),
    Bug(
        "the everyday claim overlooks a divert",
        CLAIM,
        "if redis.call('EXISTS', suspended, pauses, diverts, unpack(fronts())) > 0",
        "if redis.call('EXISTS', suspended, pauses, unpack(fronts())) > 0",
        (DIVERT,),
    ),
    Bug(
        "the everyday claim overlooks what is in front of a list",
        CLAIM,
        "if redis.call('EXISTS', suspended, pauses, diverts, unpack(fronts())) > 0",
        "if redis.call('EXISTS', suspended, pauses, diverts) > 0",
        (PARKED, PAUSE, CLAIMS, FOUND, DAMAGED),
    ),
    Bug(
        "the everyday claim leaves the claims of the dead",
        CLAIM,
        "if redis.call('ZCOUNT', claims, '-inf', now - lease) > 0 then return nil end",
        "",
        (CLAIMS,),
    ),
    Bug(
        "the everyday claim overlooks RQ's rate limit",
        CLAIM,
        "if fields.data and fields.status == 'queued' and not fields.rate_limit_key then",
        "if fields.data and fields.status == 'queued' then",
        (SLOTS, WAYS_IN),
    ),
    Bug(
        "the everyday claim loses what it cannot claim",
        CLAIM,
        "return or_put_back(lane.list, id, function()",
        "return (function(_, _, act) return act() end)(nil, nil, function()",
        (FOUND,),
    ),
    Bug(
        "the everyday claim drops what it cannot judge",
        CLAIM,
        "  redis.call('LPUSH', lane.list, id)\n  return nil",
        "      return nil",
        (CLAIMS, SLOTS, FOUND, DAMAGED, WAYS_IN),
    ),
    Bug(
        "the everyday gate overlooks a pause",
        GATE,
        "if is_plain and redis.call('EXISTS', pauses, diverts) == 0 then",
        "if is_plain and redis.call('EXISTS', diverts) == 0 then",
        (PAUSE,),
    ),
    Bug(
        "the everyday gate overlooks a divert",
        GATE,
        "if is_plain and redis.call('EXISTS', pauses, diverts) == 0 then",
        "if is_plain and redis.call('EXISTS', pauses) == 0 then",
        (DIVERT, PICKUP, WAYS_IN),
    ),
    Bug(
        "the everyday gate starts what was cancelled",
        GATE,
        "local is_plain = mode == 'start' and status == 'queued' and fields[2]",
        "local is_plain = mode == 'start' and fields[2]",
        (DRAIN, CLAIMS, TWINS),
    ),
    Bug(
        "the everyday enqueue overlooks a divert",
        "lua/enqueue_job.lua",
        "if not at_front and redis.call('EXISTS', pauses, diverts) == 0 then",
        "if not at_front and redis.call('EXISTS', pauses) == 0 then",
        (DIVERT, WAYS_IN),
    ),
    Bug(
        "the everyday enqueue overlooks a pause",
        "lua/enqueue_job.lua",
        "if not at_front and redis.call('EXISTS', pauses, diverts) == 0 then",
        "if not at_front and redis.call('EXISTS', diverts) == 0 then",
        (PAUSE, PARKED),
    ),
    Bug(
        "a child keeps the locks that its parent held",
        "store/clients.py",
        "setattr(holder, name, _LOCKS[type(value)]())",
        "pass",
        ("tests/features/test_fork.py",),
    ),
    Bug(
        "each attempt of an outage is a line in the log",
        "log_context.py",
        "if self._met.setdefault(subject, mine) is mine:",
        "if self._met.setdefault(subject, mine):",
        (LOG_LINES,),
    ),
    Bug(
        "a server that refuses writes ends the subscription to settings",
        "settings/watch.py",
        "refused = str(error)",
        "raise",
        (LOG_LINES,),
    ),
)
