"""Names of queues and of lanes, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.engine.names import rq_keys
from shedder.errors import InvalidInput
from shedder.lanes import PRIORITIES, lane_of, lanes_of_target, queues_in, serving_order, why_refused
from shedder.store.keys import split_backlog

PARTS = st.sampled_from(["mail", "orders", ".", ":", ",", " ", "*", "-", "{", "}", "ü", "low", "normal", "high",
                         ".low", ".normal", ":intermediate", ":dropped", "\n", "\u202e", "\ufffd"])  # fmt: skip
NAMES = st.lists(PARTS, max_size=5).map("".join)


@given(NAMES)
def test_a_name_of_rq_stands_for_itself(name: str) -> None:
    """The lane that an RQ queue holds is called as the queue is, whatever that is."""
    assert name == lane_of(name).name


@given(NAMES, NAMES)
def test_two_queues_share_no_lane(one: str, other: str) -> None:
    """Two queues that are served, and of which neither is a lane of the other, have no lane in common."""
    queues = queues_in([one, other])
    if len(queues) == 2:
        lanes = [{lane.name for lane in lanes_of_target(queue)} for queue in queues]
        assert not lanes[0] & lanes[1]


@given(NAMES)
def test_a_worker_serves_what_a_command_means(name: str) -> None:
    """A name is refused, or a worker for it serves what a command for it is about."""
    if why_refused(name):
        assert () == queues_in([name])
        assert (name,) == serving_order([name])
    else:
        assert set(serving_order([name])) == {lane.name for lane in lanes_of_target(name)}


@pytest.mark.parametrize("name", ["mail", "a:b", "a,b", "{tag}", "}{", " ", "-x", "*", "Mail.LOW", ".low", "low",
                                  "q.", "failed", "wip", "x" * 500, "\N{GREEK SMALL LETTER PI}", "a.b.c"])  # fmt: skip
def test_unusual_names_are_served(name: str) -> None:
    """What looks unusual and can be meant for nothing else is a queue with four lanes."""
    assert "" == why_refused(name)
    assert [f"{name}.{each}" if each != "normal" else name for each in PRIORITIES] == [
        lane.name for lane in lanes_of_target(name)
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("orders.normal", "its name also means the normal lane of orders; rename it, or use the queue orders"),
        ("mail.low.low", "a lane has no lanes; rename it"),
        ("mail.normal.low", "a lane has no lanes; rename it"),
        ("x:intermediate", "names that end so belong to something else; rename it"),
        ("x:dropped", "names that end so belong to something else; rename it"),
        ("a\nb", "it has characters that cannot be seen; rename it"),
        ("", "it has no name; use a queue name such as mail"),
    ],
)
def test_what_is_refused_says_what_to_do(name: str, says: str) -> None:
    """A name that could be meant for another is refused in one sentence."""
    assert f"the queue {name!r} is refused: {says}" == why_refused(name)
    assert () == queues_in([name])


def test_a_name_that_is_too_long_is_shown_in_short() -> None:
    """A name of 501 bytes is refused without being printed as a whole."""
    says = f"the queue '{'x' * 40}'... is refused: its name has more than 500 bytes; rename it"
    assert says == why_refused("x" * 501)


def test_the_normal_lane_is_a_target_and_no_queue() -> None:
    """`mail.normal` tells a command which lane is meant; there is no RQ queue of this name."""
    assert ["mail"] == [lane.name for lane in lanes_of_target("mail.normal")]
    with pytest.raises(InvalidInput, match="a lane has no lanes"):
        lanes_of_target("mail.low.normal")


def test_a_backlog_is_that_of_the_lane_in_its_key() -> None:
    """The backlog of `b:a` is never taken for one of `a`, whichever lanes are known."""
    keys = rq_keys()
    for key in keys.backlog("0f" * 16, "b:a"):
        assert ("0f" * 16, "b:a") == split_backlog(keys, key, ["a"])
        assert ("0f" * 16, "b:a") == split_backlog(keys, key)
