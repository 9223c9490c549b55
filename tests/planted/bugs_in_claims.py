"""Mistakes in how a worker takes, starts and gives back a job."""

from __future__ import annotations

from tests.planted.bug import CLAIMS, DIVERT, DRAIN, OPERATORS, PAUSE, PICKUP, TWINS, Bug

CLAIM, GATE = "lua/claim_job.lua", "lua/start_job.lua"

BUGS = (
    Bug(
        "the claim ignores a pause",
        CLAIM,
        "if not pause_in_force(paused[index], now) then\n    if paused[index] then",
        "if true then\n    if paused[index] and not pause_in_force(paused[index], now) then",
        (PAUSE,),
    ),
    Bug(
        "the gate ignores a pause",
        GATE,
        "if mode == 'start' and pause_in_force(",
        "if mode == 'never' and pause_in_force(",
        (PAUSE,),
    ),
    Bug(
        "an expired pause never ends",
        "lua/lib/controls.lua",
        "return not (type(pause['until']) == 'number' and now >= pause['until'])",
        "return true",
        (PAUSE,),
    ),
    Bug(
        "a record that cannot be read holds nothing",
        "lua/lib/controls.lua",
        "pause.v > RECORD_VERSION then return true end",
        "pause.v > RECORD_VERSION then return false end",
        (PAUSE,),
    ),
    Bug(
        "the gate does not fence",
        GATE,
        "if not redis.call('ZSCORE', claims, member) then",
        "if false then",
        (PAUSE, CLAIMS),
    ),
    Bug(
        "the gate forgets that it has let somebody through",
        GATE,
        "redis.call('HEXISTS', starting, member) == 1",
        "false",
        (OPERATORS,),
    ),
    Bug(
        "a cancelled job runs",
        "lua/lib/job.lua",
        "stopped = true, canceled = true,",
        "stopped = true,",
        (DRAIN, CLAIMS),
    ),
    Bug(
        "an id that stands twice runs twice",
        GATE,
        "if is_twin() then return drop('twin') end",
        "",
        (TWINS, CLAIMS),
    ),
    Bug(
        "a refused job is not pushed back",
        GATE,
        "give_back(claims, pauses, diverts, member)\n  return {'paused'}",
        "redis.call('ZREM', claims, member)\n  return {'paused'}",
        (PAUSE,),
    ),
    Bug(
        "a job that is given back goes to the end",
        "lua/lib/lane.lua",
        "redis.call('LPUSH', lane.list, id)",
        "redis.call('RPUSH', lane.list, id)",
        (PAUSE,),
    ),
    Bug(
        "a drained job that is given back goes to the end",
        "lua/lib/claim.lua",
        "redis.call('LPUSH', order.front, claim.id)",
        "redis.call('RPUSH', order.rest, claim.id)",
        (DRAIN,),
    ),
    Bug(
        "a claim that is given back stands on",
        "lua/lib/claim.lua",
        "redis.call('ZREM', claims, member)",
        "redis.call('ZSCORE', claims, member)",
        (PAUSE,),
    ),
    Bug(
        "the claims of dead workers are not taken back",
        CLAIM,
        "\ntake_back_stale()\n",
        "\n",
        (DRAIN, CLAIMS),
    ),
    Bug(
        "the claim serves the lowest lane first",
        CLAIM,
        "for index, lane in ipairs(lanes) do\n  if not",
        "for index = #lanes, 1, -1 do\n  local lane = lanes[index]\n  if not",
        (DRAIN, CLAIMS),
    ),
    Bug(
        "the worker's heart does not renew its claim",
        "rq/heart.py",
        "            if held is not None:\n",
        "            if held is None:\n",
        (CLAIMS,),
    ),
    Bug(
        "resume does not ring the bell",
        "lua/resume_lanes.lua",
        "  ring(lane.bell, waiting)\n",
        "",
        (PICKUP,),
    ),
    Bug(
        "a drain does not ring the bell",
        "lua/order_drain.lua",
        "    ring(lane.bell, 8)\n",
        "",
        (PICKUP,),
    ),
    Bug(
        "a job that is given back does not ring the bell",
        "lua/lib/claim.lua",
        "    ring(claim.lane.bell, 1)\n",
        "",
        (PICKUP,),
    ),
    Bug(
        "an idle worker is not told when the next token comes",
        CLAIM,
        "return {'empty', wait,",
        "return {'empty', 0,",
        (DRAIN,),
    ),
    Bug(
        "a job in hand goes behind those that a divert took",
        GATE,
        "claim.claimed_at <= order.since and 'LPUSH'",
        "claim.claimed_at > order.since and 'LPUSH'",
        (DIVERT,),
    ),
    Bug(
        "a script that the server has lost is not sent again",
        "store.py",
        "except redis.exceptions.NoScriptError:",
        "except ZeroDivisionError:",
        (OPERATORS,),
    ),
)
