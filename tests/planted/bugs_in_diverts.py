"""Mistakes in how jobs get into a backlog."""

from __future__ import annotations

from tests.planted.bug import DIVERT, RUNS, SHED, Bug

CLAIM, SCAN = "lua/claim_job.lua", "lua/scan_lane.lua"

READERS = "tests/rq/test_readers.py"

BUGS = (
    Bug(
        "every glob takes a job whose function nobody knows",
        "lua/start_job.lua",
        "order_for(orders, known, decode",
        "order_for(orders, known or '', decode",
        (READERS,),
    ),
    Bug(
        "a scan that reads ahead ends where another took jobs",
        "queues/divert.py",
        'is_more = done.state == "more"',
        'is_more = done.state == "more" and bool(done.looked_at)',
        ("tests/features/test_divert_ahead.py",),
    ),
    Bug(
        "a scan passes over a job without its time of creation",
        SCAN,
        "if not created_at and not has_data(rq.job_prefix .. jobs[at]) then",
        "if not created_at then",
        (READERS,),
    ),
    Bug(
        "a scan reads too little of a job's data for a long name",
        "lua/lib/payload.lua",
        "DATA_HEAD, META_LIMIT = 4096",
        "DATA_HEAD, META_LIMIT = 1024",
        (READERS,),
    ),
    Bug(
        "a dry run of everything counts only jobs that are there",
        "lua/preview_lane.lua",
        "if whole then note_taken('', nil) end",
        "",
        (READERS,),
    ),
    Bug(
        "a fold hides jobs from a scan",
        "lua/lib/lane.lua",
        "  if behind < ahead and behind <= limit then",
        "  if behind < ahead and behind > limit then\n"
        "    for _ = 1, limit do redis.call('LMOVE', back, front, 'LEFT', 'RIGHT') end\n"
        "    return behind - limit\n"
        "  end\n"
        "  if behind < ahead and behind <= limit then",
        ("tests/features/test_divert_at_once.py",),
    ),
    Bug(
        "a run goes past a job that was cancelled",
        "lua/lib/run.lua",
        "return name and status == 'queued' and not rate_limit_key",
        "return name and not rate_limit_key",
        (RUNS,),
    ),
    Bug(
        "a run goes past a job under RQ's rate limit",
        "lua/lib/run.lua",
        "return name and status == 'queued' and not rate_limit_key",
        "return name and status == 'queued'",
        (RUNS,),
    ),
    Bug(
        "a run goes past a job that nobody takes",
        "lua/lib/run.lua",
        "if not order then break end",
        "order = order or next(runs)\n    if not order then break end",
        (RUNS,),
    ),
    Bug(
        "a run takes more of the list than it moves",
        "lua/lib/run.lua",
        "redis.call('LTRIM', source, length, -1)",
        "redis.call('LTRIM', source, length + 1, -1)",
        (RUNS,),
    ),
    Bug(
        "a run has no end",
        "lua/lib/run.lua",
        "while looked_at < limit do\n    look = math.min(look, limit - looked_at)",
        "while true do",
        (RUNS,),
    ),
    Bug(
        "what a run reads and does not move is not counted",
        "lua/lib/run.lua",
        "look = math.min(look, limit - looked_at)\n    looked_at = looked_at + look",
        "look = 20",
        (RUNS,),
    ),
    Bug(
        "a run is moved before all its backlogs are known to be lists",
        "lua/lib/run.lua",
        "for order in pairs(runs) do redis.call('LLEN', order.rest) end",
        "redis.call('LTRIM', source, length, -1)",
        (RUNS,),
    ),
    Bug(
        "a segment's key is used again",
        "lua/divert_lanes.lua",
        "if redis.call('EXISTS', source) == 0 or redis.call('EXISTS', target) == 1 then",
        "if redis.call('EXISTS', source) == 0 then",
        (DIVERT,),
    ),
    Bug(
        "a scan turns round what stays",
        SCAN,
        "push_all(lane.kept, left)",
        "for _, id in ipairs(left) do redis.call('LPUSH', lane.kept, id) end",
        (DIVERT,),
    ),
    Bug(
        "a scan loses what stays of its last window",
        SCAN,
        "push_all(lane.kept, left)",
        "if #ids == limit then push_all(lane.kept, left) end",
        (DIVERT,),
    ),
    Bug(
        "a scan cuts off one job too many",
        SCAN,
        "redis.call('LTRIM', source, looked_at, -1)",
        "redis.call('LTRIM', source, looked_at + 1, -1)",
        (DIVERT,),
    ),
    Bug(
        "a scan cuts off one job too few",
        SCAN,
        "redis.call('LTRIM', source, looked_at, -1)",
        "redis.call('LTRIM', source, math.max(looked_at - 1, 1), -1)",
        (DIVERT,),
    ),
    Bug(
        "a scan is done before it has seen what is parked",
        SCAN,
        "if redis.call('EXISTS', lane.list, lane.parked) == 0 then",
        "if redis.call('EXISTS', lane.list) == 0 then",
        (DIVERT,),
    ),
    Bug(
        "a divert does not stand for what the claim finds",
        CLAIM,
        "    if orders then order, undecided = order_for(orders, name, nil",
        "    if false then order, undecided = order_for(orders, name, nil",
        (DIVERT,),
    ),
    Bug(
        "a divert does not stand for what our producers push",
        "lua/lib/arrival.lua",
        "if read and order and (at_front or not order.scanning) then",
        "if false then",
        (DIVERT,),
    ),
    Bug(
        "what arrives during a scan overtakes what waits",
        "lua/lib/arrival.lua",
        "(at_front or not order.scanning)",
        "true",
        (DIVERT,),
    ),
    Bug(
        "a lane that is diverted as a whole is not swept",
        CLAIM,
        "  if whole then sweep(lane, whole) end\n",
        "",
        (DIVERT,),
    ),
    Bug(
        "a description decides which job is diverted",
        "queues/windows.py",
        "function = job.function if selection.functions or selection.any_of else None",
        'function = "app.mail.send"',
        (DIVERT,),
    ),
    Bug(
        "a shed of many rules overlooks a function that is named whole",
        "lua/lib/selection.lua",
        "if is_line and string.find(",
        "if not is_line and string.find(",
        (SHED,),
    ),
    Bug(
        "workers of before take a shed of many rules for one that they know",
        "lua/divert_lanes.lua",
        "v = select.any and ORDER_VERSION or 1",
        "v = 1",
        (SHED,),
    ),
)
