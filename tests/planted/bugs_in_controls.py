"""Mistakes in pauses, in the journal, and in how an operation is recognised."""

from __future__ import annotations

from tests.planted.bug import (
    ABSENCE,
    AT_ONCE,
    DAMAGED_VIEWS,
    DIVERT,
    DRAIN,
    MANY_QUEUES,
    MEMORY,
    NAMES,
    OPERATORS,
    OUTCOMES,
    PARKED,
    PAUSE,
    UNDO,
    Bug,
)

RECALL = "local replayed = recall(operation, step)"


def _not_recognised(script: str, what: str) -> Bug:
    return Bug(
        f"a repeated {what} is not recognised", f"lua/{script}.lua", RECALL, "local replayed = nil", (OPERATORS,)
    )


def _without_event(script: str, what: str, old: str, new: str, tests: str) -> Bug:
    return Bug(f"{what} writes no event", f"lua/{script}.lua", old, new, (tests,))


WRITTEN = "result[1] = write_event(events, head, before, after)"

BUGS = (
    Bug(
        "a queue is taken for a lane of a lane",
        "lanes.py",
        'if suffix in ("", DEFAULT_PRIORITY) or _split(queue)[1]:',
        'if suffix == "":',
        ("tests/unit/test_lanes.py",),
    ),
    Bug(
        "an order for orders.normal means orders, though RQ has such a queue",
        "engine/workers.py",
        "doubtful = [target for target in targets if why_refused(target)]",
        "doubtful: list[str] = []",
        (NAMES,),
    ),
    _not_recognised("pause_lanes", "pause"),
    _not_recognised("resume_lanes", "resume"),
    _not_recognised("divert_lanes", "divert"),
    _not_recognised("scan_lane", "step of a scan"),
    _not_recognised("order_drain", "drain"),
    _not_recognised("restore_lane", "step of a restore"),
    Bug(
        "a repeated enqueue is not recognised",
        "lua/enqueue_job.lua",
        "if before[1] == created_at and before[2] == enqueued_at then return 1 end",
        "",
        (OPERATORS,),
    ),
    _without_event("pause_lanes", "a pause", WRITTEN, "", PAUSE),
    _without_event("resume_lanes", "a resume", "if resumed then", "if false then", PAUSE),
    _without_event("divert_lanes", "a divert", WRITTEN, "", DIVERT),
    _without_event("order_drain", "a drain", "if #result > 2 then", "if false then", DRAIN),
    _without_event(
        "restore_lane",
        "a restore",
        "return write_event(events, head, {[lane.name] = {backlog = order.restored or 0}},\n"
        "    {[lane.name] = {backlog = 0, waiting = waiting}})",
        "return ''",
        AT_ONCE,
    ),
    _without_event(
        "lib/expiry", "the end of a pause", "  write_event(events, cjson.encode(head)", "  type(head", PAUSE
    ),
    Bug(
        "the parked part of a lane is not restored",
        "lua/lib/lane.lua",
        "local left = join(lane.parked, lane.list, limit)",
        "local left = 0",
        (PARKED,),
    ),
    Bug(
        "two parts of a lane are joined in the wrong order",
        "lua/lib/lane.lua",
        "redis.call('LMOVE', front, back, 'RIGHT', 'LEFT')",
        "redis.call('LMOVE', front, back, 'LEFT', 'LEFT')",
        (PARKED,),
    ),
    Bug(
        "a second pause forgets that the lane is parked",
        "lua/pause_lanes.lua",
        "parked = old.parked",
        "parked = nil",
        (PARKED,),
    ),
    Bug(
        "arrivals of a parked lane are within the reach of stock workers",
        "lua/lib/arrival.lua",
        "elseif is_parked(pauses, lane.name) then",
        "elseif false then",
        (PARKED,),
    ),
    Bug(
        "a lane whose pause is over goes on being parked",
        "lua/lib/controls.lua",
        "return text and pause_in_force(text, now_ms()) and decode(text)",
        "return text and decode(text)",
        (PARKED,),
    ),
    Bug("a pause needs memory", "lua/pause_lanes.lua", "#!lua flags=allow-oom", "#!lua", (MEMORY,)),
    Bug("a scan needs memory", "lua/scan_lane.lua", "#!lua flags=allow-oom", "#!lua", (MEMORY,)),
    Bug(
        "an order for several lanes is carried out by half",
        "lua/divert_lanes.lua",
        "local unreadable = unreadable_orders(diverts, lanes)",
        "local unreadable = nil",
        (DIVERT,),
    ),
    Bug("what was undone is undone again", "queues/undo.py", "if event.id in undone:", "if False:", (UNDO,)),
    Bug(
        "an argument of a wrong type is stored",
        "store/arguments.py",
        "if not any(is_of_kind(value) for is_of_kind, _ in tests):",
        "if False:",
        ("tests/features/test_arguments.py",),
    ),
    Bug(
        "undo without an id stops for ever at a change that has ended",
        "api/shedder.py",
        "= lambda error: isinstance(error, NothingToUndo)",
        "= lambda error: False",
        (UNDO,),
    ),
    Bug(
        "undo of a drain leaves the diverts ended that ran empty",
        "lua/set_back_orders.lua",
        "item.ended or not order and ended_later(item) or nil",
        "item.ended",
        (UNDO,),
    ),
    Bug(
        "undo ends all diverts of a lane",
        "queues/undo.py",
        " if each.divert.order == event.order]",
        "]",
        (UNDO,),
    ),
    Bug(
        "a push by our producer overtakes those of others before it",
        "lua/lib/arrival.lua",
        "    if not redis.call('LMOVE', lane.list, target, 'LEFT', 'RIGHT') then break end\n"
        "    sweep_left = sweep_left - 1\n"
        "  end\n"
        "  redis.call('RPUSH', redis.call('EXISTS', lane.list) == 1 and lane.list or target, id)",
        "  end\n  redis.call('RPUSH', target, id)",
        (DIVERT,),
    ),
    Bug(
        "undo of a pause ends a later pause of somebody else",
        "lua/set_back_pauses.lua",
        "if pause.event then return pause.event == wants.event end",
        "if pause.event then return true end",
        (UNDO,),
    ),
    Bug(
        "undo of a drain ends a change of its rate by somebody else",
        "lua/set_back_orders.lua",
        "and drain_event(order) == is.drain",
        "",
        (UNDO,),
    ),
    Bug(
        "undo of a second pause ends the first one",
        "lua/set_back_pauses.lua",
        "if wanted[lane.name] then record",
        "if false then record",
        (UNDO,),
    ),
    Bug(
        "the undo of an order in several steps takes back the last of them",
        "queues/undo.py",
        "[each for each in events_of_operation(store, event) if each.can_undo]",
        "[event]",
        (MANY_QUEUES,),
    ),
    Bug(
        "the steps of one order do not know of one another",
        "queues/controls.py",
        "cause = replace(cause, operation=cause.operation or new_id())",
        "cause = replace(cause, operation=cause.operation)",
        (MANY_QUEUES,),
    ),
    Bug(
        "an undo is refused for parts of an operation of which nothing stands",
        "queues/undo.py",
        "kept = [each for each in refused if not isinstance(each, NothingToUndo)]",
        "kept = refused",
        (MANY_QUEUES,),
    ),
    Bug(
        "an event id that is empty undoes the last change",
        "api/shedder.py",
        "if event_id is not None:\n            return self._undone(",
        "if event_id:\n            return self._undone(",
        (UNDO,),
    ),
    Bug(
        "what a client refuses to send counts as an outage",
        "settings/windows.py",
        "if isinstance(cause, redis.exceptions.DataError):",
        "if False:",
        (ABSENCE,),
    ),
    Bug(
        "a damaged incident stops the list of all",
        "incident/store.py",
        'logger.warning("an incident is left out: %s", error)\n        return None',
        "raise",
        (DAMAGED_VIEWS,),
    ),
    Bug(
        "a moment of the counts has only what its last sample read",
        "lua/sample_lanes.lua",
        "moment[moment.part] = before .. (before ~= '' and text ~= '' and ',' or '') .. text",
        "moment[moment.part] = text",
        (OUTCOMES,),
    ),
    Bug(
        "a moment of the counts that was begun long ago is gone on with",
        "lua/sample_lanes.lua",
        "math.abs(now_seconds - began) > 60 or",
        "",
        (OUTCOMES,),
    ),
)
