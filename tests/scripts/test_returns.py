"""Every script returns all that its header says, at least once."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from shedder.policy.model import Policy
from shedder.queues.claims import release_claim, renew_claim
from shedder.queues.divert import free_slot
from shedder.queues.enqueue import push_job
from shedder.queues.pause import fold_lane, park_lane
from shedder.queues.samples import sample_lanes
from shedder.store.store import script_names
from shedder.updates.watcher import hold_lease
from shedder.web.actions import use_token
from shedder.web.site import keep_secret
from tests.features.scene import Scene
from tests.scripts import replies
from tests.scripts import replies_on_incidents as incidents
from tests.scripts import replies_on_settings as settings
from tests.scripts import replies_to_operators as orders
from tests.scripts import replies_to_repairs as repairs
from tests.scripts.replies import FAST, SLOW, raw

Outcome = tuple[str, Callable[[Scene], Any], Any]

OUTCOMES: dict[str, list[Outcome]] = {
    "claim_job": [
        ("'claimed'", replies.claimed, "claimed"),
        ("1 when a divert could not be decided here", replies.claimed_undecided, "claimed"),
        ("'empty'", replies.empty, "empty"),
        ("'lookout'", lambda it: replies.meanwhile(it, "w")[3], "lookout"),
        ("'rest'", lambda it: replies.meanwhile(it, "another")[3], "rest"),
        ("'wait'", lambda it: replies.meanwhile(it, "w", is_staying=False)[3], "wait"),
        ("'again'", replies.again, "again"),
        ("'suspended'", replies.suspended, "suspended"),
        ("'outdated'", lambda it: replies.knowing_policy(it, 2), "outdated"),
    ],
    "start_job": [
        ("'started'", lambda it: replies.gate(it, lambda *_: None), "started"),
        ("'kept'", lambda it: replies.gate(it, lambda *_: None, starts=False), "kept"),
        ("'lost'", lambda it: replies.gate(it, lambda it, at: it.hands.release(at)), "lost"),
        ("'paused'", lambda it: replies.gate(
            it, lambda it, _: it.shedder.pause("mail", reason="r")), "paused"),
        ("'diverted'", replies.diverted_at_the_gate, "diverted"),
        ("'dropped'", replies.dropped_at_the_gate, "dropped"),
    ],
    "release_claim": [
        ("1 when", lambda it: ours(it, release_claim), 1),
        ("else 0", lambda it: raw(it, release_claim(it.keys, b"nobody's")), 0),
    ],
    "return_claims": [
        ("{event or '', jobs given back", settings.claims_returned, 1),
        ("or ''", settings.no_claims_returned, ""),
    ],
    "forget_lane": [
        ("1 when it was taken out", settings.lane_forgotten, 1),
        ("0 when it holds a job", settings.lane_kept, 0),
    ],
    "forget_queue": [
        ("{keys that were removed", settings.queue_forgotten, 2),
        ("or would be", settings.queue_to_forget, 2),
    ],
    "return_list": [("ids that are still to be moved", settings.list_returned, 0)],
    "renew_claim": [
        ("1 when", lambda it: ours(it, renew_claim), 1),
        ("else 0", lambda it: raw(it, renew_claim(it.keys, b"nobody's")), 0),
    ],
    "leave_lookout": [
        ("1 when the next was called", lambda it: replies.left_polling(it, "w"), 1),
        ("0 when", lambda it: replies.left_polling(it, "another"), 0),
    ],
    "list_claims": [
        ("'claimed'", replies.held_claims, "claimed"),
        ("'starting'", lambda it: replies.held_claims(it)[8], "starting"),
    ],
    "forget_running": [("jobs forgotten", replies.running_forgotten, 1)],
    "forget_starts": [("starts forgotten", replies.starts_forgotten, 1)],
    "enqueue_job": [
        ("1 saved and pushed", lambda it: replies.enqueued(it, unique=False), 1),
        ("0 refused", lambda it: replies.enqueued(it, unique=True), 0),
    ],
    "push_job": [("1", lambda it: raw(it, push_job(it.keys, "mail", "a", at_front=False)), 1)],
    "park_lane": [
        ("1 when the lane is parked", lambda it: replies.parked(it, 9), 1),
        ("else 0", lambda it: replies.parked(it, 1), 0),
        ("not paused", lambda it: raw(it, park_lane(it.keys, "mail")), 1),
    ],
    "fold_lane": [
        ("ids that are still to be moved", replies.folded, 2),
        ("ids", lambda it: raw(it, fold_lane(it.keys, "mail")), 0),
    ],
    "pause_lanes": [("{event", orders.paused, "")],
    "resume_lanes": [
        ("{event", orders.resumed, ""),
        ("or '' when none was paused", orders.not_resumed, ""),
    ],
    "divert_lanes": [
        ("{event", orders.diverted, "some"),
        ("JSON of the limit", orders.limit_changed, "a limit"),
    ],
    "set_back_pauses": [
        ("'done'", orders.pauses_set_back, "done"),
        ("'resumed'", lambda it: orders.pauses_set_back(it)[4], "resumed"),
        ("'paused'", lambda it: orders.pauses_set_back(it)[8], "paused"),
        ("'changed'", lambda it: orders.pauses_kept(it, "changed"), "changed"),
        ("'over'", lambda it: orders.pauses_kept(it, "over"), "over"),
        ("'same'", lambda it: orders.pauses_kept(it, "same"), "same"),
    ],
    "set_back_orders": [
        ("'done'", orders.orders_set_back, "done"),
        ("'changed'", lambda it: orders.orders_kept(it, "changed"), "changed"),
        ("'over'", lambda it: orders.orders_kept(it, "over"), "over"),
        ("'ended'", lambda it: orders.orders_kept(it, "ended"), "ended"),
    ],
    "set_back_settings": [
        ("'done'", settings.settings_set_back, "done"),
        ("'changed'", lambda it: settings.settings_kept(it, "changed"), "changed"),
        ("'ended'", lambda it: settings.settings_kept(it, "ended"), "ended"),
        ("'over'", lambda it: settings.settings_kept(it, "over"), "over"),
    ],
    "order_drain": [
        ("{event", orders.drained, "mail"),
        ("or '' when there is no backlog", orders.not_drained, ""),
    ],
    "scan_lane": [
        ("'more'", orders.scan_more, "more"),
        ("'done'", orders.scan_done, "done"),
        ("'ended'", orders.scan_ended, "ended"),
    ],
    "restore_lane": [
        ("'more'", orders.restore_more, "more"),
        ("'done'", orders.restore_done, "done"),
        ("'fold'", lambda it: orders.restored(it, 1, folds=True), "fold"),
        ("'ended'", lambda it: orders.restored(it, 4), "ended"),
        ("'changed'", lambda it: orders.restored(it, 1, set_by="1-1"), "changed"),
    ],
    "release_backlog": [
        ("'draining'", lambda it: orders.released(it, FAST, 2), "draining"),
        ("'waiting'", lambda it: orders.released(it, SLOW, 2), "waiting"),
        ("until the lane is resumed", orders.release_paused, "waiting"),
        ("'ended'", lambda it: orders.released(it, FAST, 9), "ended"),
    ],
    "preview_lane": [("{jobs looked at", orders.previewed, 4)],
    "free_slot": [
        ("1 when", lambda it: replies.freed(it, holds=True), 1),
        ("else 0", lambda it: raw(it, free_slot(it.keys, "a", "k")), 0),
    ],
    "end_drained": [
        ("the event that says", lambda it: len(replies.drained_ends(it, "f" * 20)) > 0, True),
        ("or '' when it goes on", lambda it: replies.drained_ends(it, "w" * 20), ""),
    ],
    "sample_lanes": [
        ("1 when", lambda it: raw(it, sample_lanes(it.keys, ["mail"])), 1),
        ("else 0", lambda it: [raw(it, sample_lanes(it.keys, ["mail"])) for _ in "12"][1], 0),
    ],
    "change_settings": [
        ("{event", lambda it: settings.setting_replaced(it)[3], ""),
        ("or '' when there was nothing to end", settings.setting_not_there, ""),
    ],
    "set_aside_stale": [
        ("{jobs set aside", lambda it: orders.set_aside(it, 9), 2),
        ("1 when there may be more", lambda it: orders.set_aside(it, 1), 1),
    ],
    "replay_stale": [
        ("{event", lambda it: orders.replayed(it)[2], 1),
        ("or '' when there was nothing", lambda it: raw(it, orders.replay_command(it)), ""),
    ],
    "retry_jobs": [
        ("{event of the order", lambda it: orders.retried(it)[2], 1),
        ("or '' when there is none", lambda it: raw(it, orders.retry_command(it, "a")), ""),
        ("id, cause", lambda it: orders.retried(it)[5], "gone"),
    ],
    "put_back_failed": [
        ("'more'", lambda it: orders.put_back(it, 1), "more"),
        ("'done'", lambda it: orders.put_back(it, 2), "done"),
        ("'ended'", lambda it: orders.put_back(it, 3), "ended"),
    ],
    "apply_policy": [
        ("'applied'", lambda it: settings.policy_applied(it, (Policy(), 0)), "applied"),
        ("'same'", lambda it: settings.policy_applied(it, (Policy(), 0), (Policy(), None)), "same"),
        ("'refused'", lambda it: settings.policy_applied(it, (Policy(), 7)), "refused"),
    ],
    "declare_settings": [("how many were not known before", settings.declared, 1)],
    "hit_window": [
        ("1 when", lambda it: settings.hit(it, 1), 1),
        ("0 when", lambda it: settings.hit(it, 2), 0),
    ],
    "begin_mitigation": [("{event", incidents.mitigation_begun, "mitigate started")],
    "renew_mitigation": [
        ("1, or", incidents.mitigation_renewed, 1),
        ("0 when its end", lambda it: incidents.mitigation_renewed(it, is_over=True), 0),
    ],
    "end_mitigation": [
        ("{event", incidents.mitigation_ended, "done"),
        ("{event", incidents.mitigation_silent, "end not recorded"),
        ("{'', the same} when its process", incidents.mitigation_not_silent, ""),
        ("or its end was", lambda it: incidents.mitigation_not_silent(it, is_over=True), ""),
    ],
    "keep_events": [("how many were not kept before", incidents.events_kept, 1)],
    "change_incident": [
        ("'done'", incidents.incident_written, "done"),
        ("'stale'", lambda it: incidents.incident_written(it, seen="0"), "stale"),
        ("'other'", incidents.another_incident, "other"),
    ],
    "return_jobs": [
        ("then the id of each", repairs.returned, "a"),
        ("or '' when no job", repairs.not_returned, ""),
    ],
    "recover_claims": [
        ("jobs put back", repairs.claims_returned, 1),
        ("or '' when no job", repairs.no_claim_returned, ""),
    ],
    "remove_twin": [
        ("{event", repairs.twin_removed, "repair"),
        ("or '' when one of the two", repairs.twin_is_gone, ""),
    ],
    "adopt_backlog": [
        ("jobs put back", repairs.adopted, 1),
        ("or '' when there are none", repairs.not_adopted, ""),
    ],
    "refold_lane": [
        ("'more'", lambda it: repairs.refolded(it, 1)[0], "more"),
        ("'done'", lambda it: repairs.refolded(it, 2)[1], "done"),
        ("'none'", lambda it: repairs.refolded(it, 3)[2], "none"),
    ],
    "find_borders": [
        ("{jobs in all", lambda it: replies.borders(it)[0], 3),
        ("jobs before its border", lambda it: replies.borders(it)[4], 3),
    ],
    "look_at_jobs": [("{number of jobs", lambda it: replies.looked_at(it)[0][0], 2)],
    "hold_lease": [
        ("1 when the caller leads now", lambda it: raw(it, hold_lease(it.keys, "a")), 1),
        ("else 0", lambda it: [raw(it, hold_lease(it.keys, who)) for who in "ab"][1], 0),
    ],
    "keep_secret": [
        ("the secret that is kept", lambda it: [raw(it, keep_secret(it.keys, made)) for made in "ab"][1], "a"),
    ],
    "use_token": [
        ("1 when this call has used it", lambda it: [raw(it, use_token(it.keys, "t", "a")) for _ in "ab"][1], 1),
        ("else 0", lambda it: [raw(it, use_token(it.keys, "t", call)) for call in "ab"][1], 0),
    ],
    "note_delivery": [
        ("{1 when it is the caller's now", lambda it: incidents.delivery(it, "take"), 1),
        ("else 0", lambda it: incidents.delivery(it, "sent", "take"), 0),
        ("1 when one of them may have arrived", incidents.doubtful_delivery, 1),
        ("else {1, 0, 0}", lambda it: incidents.delivery(it, "failed"), 1),
    ],
    "read_window": [("{hits that count", settings.window, 1)],
}  # fmt: skip

CASES = [(name, *outcome) for name, outcomes in OUTCOMES.items() for outcome in outcomes]


def ours(scene: Scene, command: Callable[..., Any]) -> int:
    scene.fill("mail", "a")
    return int(raw(scene, command(scene.keys, scene.take("mail"))))


def returns_of(name: str) -> str:
    """What the header of a script says that it returns."""
    source = files("shedder").joinpath("lua").joinpath(f"{name}.lua").read_text(encoding="utf-8")
    lines = source.splitlines()
    first = lines.index("-- RETURNS") + 1
    last = next(at for at in range(first, len(lines)) if not lines[at].startswith("--   "))
    return "\n".join(lines[first:last])


@pytest.mark.parametrize(
    ("name", "says", "outcome", "expected"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES]
)
def test_a_script_returns_what_its_header_says(
    scene: Scene, name: str, says: str, outcome: Callable[[Scene], Any], expected: Any
) -> None:
    """Each outcome that is written down can be reached, and looks as it is written."""
    assert says in returns_of(name)
    reply = outcome(scene)
    assert expected == (reply[0] if isinstance(reply, list) else reply)


def test_every_script_is_here() -> None:
    """A new script brings its outcomes."""
    assert set(script_names()) == set(OUTCOMES)


@pytest.mark.parametrize("name", script_names())
def test_every_state_that_a_header_names_is_here(name: str) -> None:
    """So does a new state."""
    words = set(re.findall(r"'\w+'", returns_of(name)))
    assert words - {"'check'"} <= {says for says, _, _ in OUTCOMES[name]}
