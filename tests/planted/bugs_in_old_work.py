"""Mistakes in how old and overdue work is told, set aside and replayed, and in what a policy does to arrivals."""

from __future__ import annotations

from tests.planted.bug import LATE, OVERDUE, POLICY, STALE, STALE_FOUND, Bug

ASIDE, REPLAY, LOOK = "lua/set_aside_stale.lua", "lua/replay_stale.lua", "lua/look_at_jobs.lua"

BUGS = (
    Bug(
        "a step of a replay sweeps without a bound",
        REPLAY,
        "if sweep_left < 1 then break end",
        "sweep_left = 500",
        (STALE_FOUND,),
    ),
    Bug(
        "a job that is set aside keeps its slot",
        ASIDE,
        "  free_slot(rq, now, id, fields[3], fields[4])\n",
        "",
        (STALE_FOUND,),
    ),
    Bug(
        "old jobs overtake a young one when they are set aside",
        ASIDE,
        "  if not id then\n    source = order.rest",
        "  if not id or redis.call('EXISTS', order.rest) == 1 then\n    source = order.rest",
        (STALE_FOUND,),
    ),
    Bug(
        "what is set aside is turned round",
        ASIDE,
        "redis.call('LMOVE', source, stale, 'LEFT', 'RIGHT')",
        "redis.call('LMOVE', source, stale, 'LEFT', 'LEFT')",
        (STALE,),
    ),
    Bug(
        "a replayed job stays old",
        REPLAY,
        "  redis.call('HSET', rq.job_prefix .. id, 'enqueued_at', ms_to_iso(now))\n",
        "",
        (STALE,),
    ),
    Bug(
        "a replay whose reply was lost is done twice",
        REPLAY,
        "return remember(operation, step, result)",
        "return result",
        (STALE,),
    ),
    Bug(
        "a policy that changed nothing is applied by a repeated call",
        "lua/apply_policy.lua",
        "return remember(operation, step, {'same', '', now, number, current})",
        "return {'same', '', now, number, current}",
        (STALE_FOUND,),
    ),
    Bug(
        "a deferred job stays in the registry of the lane that it left",
        "rq/queue.py",
        "if not is_deferred or job.origin == self.name:",
        "if True:",
        (POLICY,),
    ),
    Bug(
        "of jobs that are alike, late ones are counted with those that are on time",
        LOOK,
        "while passed < #moments and at < moments[passed + 1] do passed = passed + 1 end",
        "",
        (LATE,),
    ),
    Bug(
        "of jobs that are alike, the first is taken for the oldest",
        LOOK,
        "  if not row or at < row[2] then",
        "  if not row then",
        (LATE,),
    ),
    Bug(
        "jobs that were not looked at are taken for jobs that are on time",
        "policy/lateness.py",
        "    return None if is_known else looked.oldest",
        "    return None",
        (LATE,),
    ),
    Bug(
        "the lock of a scheduler that was killed counts as a scheduler",
        "status/overdue.py",
        "0 <= seconds < LOCK_SECONDS - SILENT_SECONDS",
        "seconds < 0",
        (OVERDUE,),
    ),
    Bug(
        "an update calls work fine that is overdue",
        "updates/situation.py",
        "self.held or self.is_paused or self.overdue",
        "self.held or self.is_paused",
        (OVERDUE,),
    ),
)
