"""Each argument of the Python API: what is not of its annotation is refused, and nothing is stored.

The methods and their parameters are read from their signatures, so that a new one is covered
without a change here; a new required parameter needs a value in `GOOD`, and a test says so.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from shedder import Policy, Rate, Shedder
from shedder.api.policies import Policies
from shedder.errors import ShedderError
from shedder.events import Event
from shedder.incident.incidents import Incidents
from shedder.incident.review import Actions
from shedder.incident.roles import Roles
from shedder.policy.model import Defaults, Mitigation, Rule
from shedder.selection import Selection
from shedder.settings.flags import Flags
from shedder.settings.limits import Limits

if TYPE_CHECKING:
    from tests.features.scene import Scene

PARTS: dict[type, Callable[[Shedder], Any]] = {
    Shedder: lambda it: it,
    Policies: lambda it: it.policies,
    Incidents: lambda it: it.incidents,
    Roles: lambda it: it.incidents.roles,
    Actions: lambda it: it.incidents.actions,
    Flags: lambda it: it.flags,
    Limits: lambda it: it.limits,
}
HOT = frozenset({
    "enabled", "percent", "is_known", "hit", "require", "within", "ahit", "arequire", "awithin",
})  # fmt: skip
"""Asked for every request, of this process's copy; they store nothing that has a name."""

OF_OTHERS = frozenset({
    "follow_events", "wait_until_idle",  # they wait
    "mitigate",  # it runs a program
    "release_for_stock_workers", "drain_progress", "repair", "retry_ends",  # they get what another method gave
    "close", "on_change", "refresh", "uninstall",
    "change", "change_latest", "create",  # by which the others write
})  # fmt: skip

EVENT = Event("1-0", datetime.now(UTC), "note", "ana@desk", "r", ())
MISSING = "no value is known"
GOOD: dict[str, Any] = {
    "targets": ("mail",), "names": ("hints",), "name": "hints", "reason": "r", "rate": Rate(1.0),
    "since": datetime.now(UTC), "policy": Policy(), "job_id": "a", "title": "late", "severity": 3, "text": "seen",
    "parts": {"well": "All was seen."}, "role": "operations", "person": "bob@desk", "number": 1, "type": "detect",
    "take_back": lambda event: event.id, "event_id": "1-0", "path": "a", "event": EVENT, "at": None, "force": True,
    "also": True, "instead": True, "copy": {}, "by": "function",
}  # fmt: skip

EAST = timezone(timedelta(hours=14))
UNTYPED: Any = Policy
NO_ZONE = datetime.now(UTC).replace(tzinfo=None)
WRONG: tuple[Any, ...] = (
    object(), b"mail", 3, 1.5, math.nan, math.inf, -math.inf, True, None, "mail", ("mail",), [3], {"a": object()},
    {3: "a"}, (None,), (b"a",), NO_ZONE, timedelta(1), datetime.now(UTC), Rate(1.0), Selection(),
    Policy(), 2**60, "x" * 10**6, UNTYPED(stale_after=5), Policy(defaults=Defaults(fails_at=math.nan)),
    UNTYPED(rules=(3,)), UNTYPED(rules=("mail",)), UNTYPED(mitigations=(Mitigation("a", ("b",), kind=UNTYPED()),)),
)  # fmt: skip
HOSTILE: dict[str, tuple[Any, ...]] = {
    "str": ("", " ", "\x00", "a\nb", "\ud800", "x" * 60_000, "*", "[", "{}", "\u202e", "mail.low.low", "0-0", "-"),
    "int": (0, -1, 2**53 - 1, -(2**53) + 1),
    "float": (0, -1.0, 1e-300, 1e308, 101.0),
    "timedelta": (timedelta(0), timedelta(-1), timedelta.max, timedelta.min, timedelta(microseconds=1)),
    "datetime": (
        datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=EAST),
        datetime(2026, 1, 1, tzinfo=EAST),
    ),
    "Rate": (Rate(1e-9), Rate(1e9)),
    "Selection": (Selection(older_than=timedelta(days=3000)),),
    "Policy": (Policy(stale_after=timedelta(-1)), Policy(defaults=Defaults(fails_at=-1.0, halt_at=7.0)),
               Policy(rules=(Rule(queue="\x00"), Rule(priority="none"), Rule(shed=-1)))),
}  # fmt: skip


def arguments_of(part: type) -> Iterator[tuple[str, inspect.Parameter]]:
    """Each parameter of each method of `part`, with the method's name."""
    return ((name, each) for of, name in methods() if of is part for each in parameters(of, name))


@cache
def methods() -> tuple[tuple[type, str], ...]:
    """All public methods that take an argument."""
    found = [
        (part, name)
        for part in PARTS
        for name, method in inspect.getmembers(part, inspect.isfunction)
        if not name.startswith("_") and name not in HOT | OF_OTHERS and len(inspect.signature(method).parameters) > 1
    ]
    return tuple(found)


def parameters(part: type, name: str) -> Iterator[inspect.Parameter]:
    """The parameters of a method but `self`."""
    _, *rest = inspect.signature(getattr(part, name)).parameters.values()
    return (each for each in rest if each.kind is not inspect.Parameter.VAR_KEYWORD)


def call(shedder: Shedder, part: type, name: str, /, **bad: Any) -> Any:
    """Call a method with good arguments but one."""
    args: list[Any] = []
    options: dict[str, Any] = {}
    for each in parameters(part, name):
        value = bad.get(each.name, GOOD.get(each.name, MISSING))
        if each.kind is inspect.Parameter.VAR_POSITIONAL:
            args += [value] if each.name in bad else value
        elif each.name in bad or each.default is inspect.Parameter.empty or each.name in ("force", "also", "instead"):
            options[each.name] = value
    named = [options.pop(each.name) for each in parameters(part, name)
             if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and each.name in options and not args]  # fmt: skip
    done = getattr(PARTS[part](shedder), name)(*named, *args, **options)
    return [*done] if inspect.isgenerator(done) else done


def refusal(shedder: Shedder, part: type, name: str, /, **bad: Any) -> str:
    """What the refusal of a call says; empty when it was not refused."""
    try:
        call(shedder, part, name, **bad)
    except (ShedderError, TypeError, ValueError) as refused:
        return str(refused)
    return ""


def set_up(scene: Scene) -> None:
    """A little of everything stands."""
    scene.fill("mail", "a", "b")
    scene.shedder.pause("mail.low", reason="r")
    scene.shedder.divert("mail.high", reason="r")
    scene.shedder.degrade_flag("hints", reason="r", force=True)
    scene.shedder.set_limit("hints", Rate(1.0), reason="r", force=True)
    scene.shedder.incidents.open("late", severity=3)
    scene.shedder.incidents.actions.add("alarm", type="detect")


def stored(scene: Scene) -> dict[bytes, bytes | None]:
    """All that operators have stored."""
    kept = ("pauses", "diverts", "flags", "limits", "policy", "events", "incident")
    keys = (key for key in scene.redis.scan_iter("*:shedder:*") if any(name in key.decode() for name in kept))
    return {key: scene.redis.dump(key) for key in keys}


def look(shedder: Shedder) -> None:
    """Every list and every view."""
    shedder.status()
    shedder.flag_states()
    shedder.limit_states()
    shedder.events(limit=1000)
    shedder.policies.applied()
    shedder.preview_divert("mail")
    [*shedder.changes_to_undo()]
    shedder.triage(Policy())
    for incident in shedder.incidents.list():
        shedder.incidents.timeline(incident.id)
        shedder.incidents.export(incident.id)


def is_of(value: Any, annotation: str) -> bool:
    """Whether `value` may be given; no second reader of annotations, but a list of plain facts."""
    kinds = {"str": str, "int": int, "float": int | float, "bool": bool, "timedelta": timedelta, "Rate": Rate,
             "Selection": Selection, "Policy": Policy}  # fmt: skip
    names = {each.strip().rpartition(".")[2] for each in annotation.split("|")}
    if "object" in names:
        return True
    if isinstance(value, Policy):
        return value == Policy() and "Policy" in names
    if isinstance(value, str) and len(value) > 65_536:
        return False
    if isinstance(value, bool) or value is None or isinstance(value, datetime):
        plain = {True: "bool", None: "None"}.get(value) if not isinstance(value, datetime) else "datetime"
        return plain in names and not (plain == "datetime" and value.tzinfo is None)
    if isinstance(value, int | float) and not abs(value) < 2**53:
        return False
    is_plain = any(isinstance(value, kind) for name, kind in kinds.items() if name in names)
    is_many = any(name in annotation for name in ("Mapping", "tuple", "Sequence"))
    return is_plain or (is_many and value == ("mail",))


@pytest.mark.parametrize("part", PARTS, ids=lambda it: it.__name__)
def test_what_is_of_a_wrong_type_is_refused_before_anything_is_stored(scene: Scene, part: type) -> None:
    """In one line that names the argument, with an error of ours or Python's own."""
    set_up(scene)
    before = stored(scene)
    for name, parameter in arguments_of(part):
        for value in (each for each in WRONG if not is_of(each, str(parameter.annotation))):
            said = refusal(scene.shedder, part, name, **{parameter.name: value})
            assert parameter.name in said, (name, parameter.name, value)
            assert ("\n" in said, True) == (False, len(said) < 1000), said
    assert before == stored(scene)


@pytest.mark.parametrize("part", PARTS, ids=lambda it: it.__name__)
def test_what_is_of_the_type_and_hostile_stops_no_list(scene: Scene, part: type) -> None:
    """It is refused, or all lists and views go on."""
    set_up(scene)
    for name, parameter in arguments_of(part):
        kinds = {each.strip().rpartition(".")[2] for each in str(parameter.annotation).split("|")}
        for value in (each for kind in kinds for each in HOSTILE.get(kind, ())):
            refusal(scene.shedder, part, name, **{parameter.name: value})
    look(scene.shedder)


def test_every_required_parameter_has_a_good_value() -> None:
    """A new one needs its row in `GOOD`."""
    required = {each.name for part, name in methods() for each in parameters(part, name)
                if each.default is inspect.Parameter.empty}  # fmt: skip
    assert set() == required - {*GOOD}
