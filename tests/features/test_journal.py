"""The journal is read as it was written, whatever stands in it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shedder.engine.names import rq_keys
from shedder.errors import EventNotFound
from shedder.events import EVENTS_PER_PAGE, Cause, Event, event_head, find_event, follow, read_events
from shedder.lanes import Lane
from shedder.queues.pause import pause_lanes, resume_lanes
from shedder.store.codec import server_time
from shedder.store.store import Store

if TYPE_CHECKING:
    from redis import Redis

KEYS = rq_keys()
CAUSE = Cause(by="oncall@host", why="db at 99 %")
HEAD = {"v": 1, "verb": "pause", "by": "oncall", "why": "db", "lanes": ["mail"]}


def pause(redis: Redis, name: str, operation: str = "op", **options: Any) -> str:
    return Store(redis, rq_keys()).run(pause_lanes(KEYS, [Lane(name)], CAUSE, operation=operation, **options)).event


def write(redis: Redis, number: int, lane: str = "mail") -> str:
    fields = {"head": json.dumps({**HEAD, "lanes": [lane]}), "before": "{}", "after": "{}"}
    identifier: bytes = redis.xadd(KEYS.events, fields, id=f"{number}-1")
    return identifier.decode()


def ids(events: tuple[Event, ...]) -> list[str]:
    return [event.id for event in events]


def test_an_event_says_who_what_why_and_what_stood_before_and_after(redis: Redis) -> None:
    """All that a script wrote down arrives, and the time is the server's."""
    started = server_time(Store(redis, rq_keys()))
    identifier = pause(redis, "mail", expires_in=timedelta(minutes=5))
    (event,) = read_events(Store(redis, rq_keys()), limit=10)
    assert (
        Event(
            id=identifier,
            at=event.at,
            verb="pause",
            by="oncall@host",
            why="db at 99 %",
            lanes=("mail",),
            before={"mail": {"paused": False, "waiting": 0}},
            after={"mail": {"paused": True, "until": event.after["mail"]["until"], "waiting": 0}},
            details={"duration_ms": 300_000},
        )
        == event
    )
    assert started - timedelta(milliseconds=1) <= event.at <= server_time(Store(redis, rq_keys()))


def test_an_event_that_a_script_wrote_by_itself_is_read(redis: Redis) -> None:
    """Lanes that the scripts' encoder writes as an empty object are no lanes."""
    fields = {"head": json.dumps({**HEAD, "lanes": {}}), "before": "{}", "after": "{}"}
    redis.xadd(KEYS.events, fields)
    (event,) = read_events(Store(redis, rq_keys()), limit=10)
    assert ("pause", ()) == (event.verb, event.lanes)


def test_the_last_events_come_oldest_first(redis: Redis) -> None:
    """Without an id the last ones are shown, in the order in which they happened."""
    for number in range(1, 6):
        write(redis, number)
    assert ["4-1", "5-1"] == ids(read_events(Store(redis, rq_keys()), limit=2))


def test_events_after_an_id_are_the_next_ones(redis: Redis) -> None:
    """With an id the first ones after it are shown, so that one can page through all."""
    for number in range(1, 6):
        write(redis, number)
    assert ["3-1", "4-1"] == ids(read_events(Store(redis, rq_keys()), limit=2, after="2-1"))
    assert [] == ids(read_events(Store(redis, rq_keys()), limit=2, after="5-1"))


def test_events_of_a_lane_are_found_behind_those_of_others(redis: Redis) -> None:
    """The events of one lane are found however many of other lanes lie between."""
    for number in range(1, 2 * EVENTS_PER_PAGE + 20):
        write(redis, number, "mail" if number in (3, 5) else "reports")
    store = Store(redis, rq_keys())
    assert ["3-1", "5-1"] == ids(read_events(store, limit=50, lanes=["mail"]))
    assert ["5-1"] == ids(read_events(store, limit=1, lanes=["mail", "mail.low"]))
    assert ["3-1"] == ids(read_events(store, limit=1, after="1-1", lanes=["mail"]))
    every = read_events(store, limit=10_000)
    assert (2 * EVENTS_PER_PAGE + 19, "1-1") == (len(every), every[0].id)


def test_no_events_are_no_error(redis: Redis) -> None:
    """A journal that nothing was written to is empty."""
    store = Store(redis, rq_keys())
    assert () == read_events(store, limit=50) == read_events(store, limit=0)


def test_an_event_is_found_by_its_id(redis: Redis) -> None:
    """The id that a receipt gives finds the event."""
    identifier = pause(redis, "mail")
    assert "pause" == find_event(Store(redis, rq_keys()), identifier).verb


def test_an_event_that_is_not_there_is_named(redis: Redis) -> None:
    """An id that looks right and is not in the journal is told as such."""
    with pytest.raises(EventNotFound, match="the journal has no event 7-7"):
        find_event(Store(redis, rq_keys()), "7-7")


@pytest.mark.parametrize(
    "text", ["", "x", "-", "+", "$", "1", "1-", "-1", "1-1 ", "(1-1", "1-1-1", "٣-٣", f"{2**64}-0"]
)
def test_what_is_no_id_is_refused_before_redis_is_asked(redis: Redis, text: str) -> None:
    """Nonsense costs no round trip and does not become a range."""
    redis.config_resetstat()
    with pytest.raises(EventNotFound):
        find_event(Store(redis, rq_keys()), text)
    assert "cmdstat_xrange" not in redis.info("commandstats")


@pytest.mark.parametrize("text", ["x", "", "$", f"1-{2**64}"])
def test_a_position_that_is_no_id_is_refused(redis: Redis, text: str) -> None:
    """To read after nonsense is refused as well."""
    with pytest.raises(EventNotFound):
        read_events(Store(redis, rq_keys()), limit=1, after=text)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "no json"},
        {"head": "5"},
        {"head": "{}"},
        {"head": json.dumps({**HEAD, "v": 2})},
        {"head": json.dumps({**HEAD, "lanes": "mail"})},
        {"head": json.dumps({**HEAD, "lanes": [5]})},
        {"head": json.dumps({**HEAD, "by": None})},
        {"head": b"\xff\xfe"},
        {"before": "["},
        {"after": "[]"},
        {"after": "[" * 100_000},
    ],
)
def test_a_damaged_event_is_shown_as_unreadable(redis: Redis, changes: dict[str, str | bytes]) -> None:
    """One line that cannot be read never hides the others; what it holds is shown as it is."""
    before = write(redis, 1)
    fields = {"head": json.dumps(HEAD), "before": "{}", "after": "{}", **changes}
    redis.xadd(KEYS.events, fields, id="2-1")
    first, damaged = read_events(Store(redis, rq_keys()), limit=10)
    assert (before, "pause") == (first.id, first.verb)
    assert ("2-1", "unreadable", ()) == (damaged.id, damaged.verb, damaged.lanes)
    assert {"head", "before", "after"} == set(damaged.details)
    assert not damaged.can_undo


def test_an_event_without_our_fields_is_shown_as_unreadable(redis: Redis) -> None:
    """What somebody else wrote, even at a time that does not exist, is shown too."""
    redis.xadd(KEYS.events, {"note": "mine"}, id=f"{2**64 - 1}-1")
    (event,) = read_events(Store(redis, rq_keys()), limit=10)
    assert ("unreadable", {"note": "mine"}, 9999) == (event.verb, event.details, event.at.year)


def test_following_tells_what_comes_after_the_call(redis: Redis) -> None:
    """Events since the call arrive in order, those from before do not."""
    store = Store(redis, rq_keys())
    write(redis, 1)
    coming = follow(store, until=lambda: False)
    write(redis, 2)
    write(redis, 3)
    assert ["2-1", "3-1"] == [next(coming).id, next(coming).id]


def test_following_an_empty_journal_starts_at_its_beginning(redis: Redis) -> None:
    """The very first event is not missed."""
    coming = follow(Store(redis, rq_keys()), until=lambda: False)
    identifier = pause(redis, "mail")
    assert identifier == next(coming).id


def test_following_from_an_id_tells_all_after_it(redis: Redis) -> None:
    """Who was away goes on where he was, however many came meanwhile."""
    for number in range(1, EVENTS_PER_PAGE + 20):
        write(redis, number)
    coming = follow(Store(redis, rq_keys()), after="2-1", until=lambda: False)
    assert [f"{n}-1" for n in range(3, EVENTS_PER_PAGE + 20)] == [
        next(coming).id for _ in range(3, EVENTS_PER_PAGE + 20)
    ]


def test_following_ends_when_it_is_told(redis: Redis) -> None:
    """With nothing to tell, following still asks again and again whether to end."""
    answers = iter([False, True])
    assert [] == list(follow(Store(redis, rq_keys()), until=lambda: next(answers)))


def test_following_outlives_an_impatient_client(redis: Redis) -> None:
    """A client that waits only briefly for an answer can follow too."""
    from redis import Redis as Client

    settings = {**redis.connection_pool.connection_kwargs, "socket_timeout": 0.8}
    pool = type(redis.connection_pool)(connection_class=redis.connection_pool.connection_class, **settings)
    answers = iter([False, True])
    with Client.from_pool(pool) as client:
        assert [] == list(follow(Store(client, rq_keys()), until=lambda: next(answers)))


def test_resuming_what_is_not_paused_writes_nothing(redis: Redis) -> None:
    """Only changes are events."""
    Store(redis, rq_keys()).run(resume_lanes(KEYS, [Lane("mail")], CAUSE, operation="op"))
    assert () == read_events(Store(redis, rq_keys()), limit=10)


ANY_TEXT = st.text(st.characters(codec=None), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_text_in_a_head_can_be_stored_and_read(redis: Redis, why: str, lane: str, name: str, value: str) -> None:
    """Whatever characters a reason has, the scripts can decode it and the journal shows it."""
    cause = Cause(by="oncall", why=why)
    head = event_head("pause", cause, [lane], order="", detail={name: [value]}, nothing=None)
    assert 1 == redis.eval("return cjson.decode(ARGV[1]).v", 0, head)
    redis.delete(KEYS.events)
    redis.xadd(KEYS.events, {"head": head, "before": "{}", "after": "{}"})
    (event,) = read_events(Store(redis, rq_keys()), limit=1)
    shown = [text.encode("utf-8", "replace").decode() for text in (why, lane, name, value)]
    assert (shown[0], (shown[1],)) == (event.why, event.lanes)
    assert {"detail": {shown[2]: [shown[3]]}} == event.details


def test_what_an_event_is_cannot_be_overwritten_by_a_detail() -> None:
    """Details stand beside verb, actor and reason, and never replace them."""
    head = json.loads(event_head("pause", CAUSE, ["mail"], by="eve", v=9, rate="5/second"))
    assert (1, "oncall@host", "5/second") == (head["v"], head["by"], head["rate"])
