"""Whether a feature is on, as far as a process can tell without Redis."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.engine.names import rq_keys
from shedder.errors import InvalidInput
from shedder.settings.flags import FLAG_ATTRIBUTE, SKIP, Flags, is_hit
from shedder.settings.setting import Setting
from shedder.settings.watch import SettingsSnapshot
from tests.waiting import PATIENCE_SECONDS

PERCENTS = st.floats(min_value=0, max_value=100)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Watch:
    """What a process knows, said by the test."""

    def __init__(self) -> None:
        self.known = SettingsSnapshot()
        self.is_awake = True
        self.changing = threading.RLock()
        self.age_seconds = float("inf")
        self.listeners: list[Any] = []

    def listen(self, listener: Any) -> None:
        self.listeners.append(listener)
        listener(self.known)

    def do_each_round(self, chore: Any) -> None: ...

    def tell(self, *, age: float = 0.0, **percents: float) -> None:
        settings = {
            name: Setting(name, "oncall", "test", NOW, body={"percent": percent}) for name, percent in percents.items()
        }
        self.known = SettingsSnapshot(flags=settings, is_loaded=True)
        self.age(age)

    def age(self, seconds: float) -> None:
        self.age_seconds = seconds
        for listener in self.listeners:
            listener(self.known)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def flags(watch: Watch) -> Flags:
    return Flags(watch, rq_keys())  # type: ignore[arg-type]


@given(st.text(), st.text(), PERCENTS, PERCENTS)
def test_a_higher_percentage_only_takes_more_keys(name, key, one, other):
    """Whom 20 % took, 40 % takes as well."""
    low, high = sorted((one, other))
    assert is_hit(name, key, high) or not is_hit(name, key, low)


@given(st.text(), st.text())
def test_nothing_and_everything_are_exact(name, key):
    """At 0 % nobody is hit, at 100 % everybody is."""
    assert (False, True) == (is_hit(name, key, 0), is_hit(name, key, 100))


@pytest.mark.parametrize("percent", [1, 20, 50, 99])
def test_a_percentage_is_that_share_of_the_keys(percent):
    """Of 20,000 keys about as many are hit as the percentage says."""
    hits = sum(is_hit("search", f"user-{each}", percent) for each in range(20_000))
    assert percent == pytest.approx(hits / 200, abs=1.5)


def test_two_flags_take_different_keys():
    """Who loses one feature at 10 % is not the one who loses all others."""
    keys = [f"user-{each}" for each in range(2_000)]
    one, other = ({key for key in keys if is_hit(name, key, 10)} for name in ("a", "b"))
    assert len(one & other) < len(one) / 2


def test_without_a_key_chance_decides(flags, watch):
    """A percentage without a key is a share of the calls."""
    watch.tell(search=50)
    assert {True, False} == {flags.enabled("search") for _ in range(200)}


def test_a_feature_is_on_unless_somebody_says_otherwise(flags, watch):
    """An undeclared flag that nobody set is on; one that is set is off."""
    assert flags.enabled("search")
    watch.tell(search=100)
    assert not flags.enabled("search")
    assert flags.enabled("other")


def test_code_can_declare_a_feature_off(flags, watch):
    """A flag with the default off is off until an operator says otherwise."""
    flags.declare("beta", default=False)
    assert not flags.enabled("beta")
    watch.tell(beta=0)
    assert flags.enabled("beta")


@pytest.mark.parametrize(("then", "after"), [("keep", False), ("on", True), ("off", False)])
def test_what_holds_after_the_maximum_age_is_declared(flags, watch, then, after):
    """A degradation that Redis has not confirmed for too long is kept, or ends, as declared."""
    flags.declare("search", keep_for=timedelta(seconds=30), then=then)
    watch.tell(search=100, age=29)
    assert not flags.enabled("search")
    watch.age(31)
    assert after is flags.enabled("search")
    watch.age(0)
    assert not flags.enabled("search")


def test_a_feature_can_end_when_nobody_confirms_that_it_is_on(flags, watch):
    """With `off`, a feature that is on goes off after its maximum age."""
    flags.declare("search", keep_for=timedelta(seconds=30), then="off")
    watch.tell(age=31)
    assert not flags.enabled("search")


def test_a_setting_that_makes_no_sense_is_not_obeyed(flags, watch):
    """A record of another program leaves the feature as it was."""
    watch.tell(search="lots")
    assert flags.enabled("search")


def test_a_fallback_is_a_value_or_is_called(flags, watch):
    """While degraded, the function gives the value, or what the fallback gives."""

    @flags.degradable("hints", fallback=())
    def hints(word):
        return (word,)

    @flags.degradable("hints", fallback=lambda word: f"no {word}")
    def words(word):
        return word

    assert (("a",), "a") == (hints("a"), words("a"))
    watch.tell(hints=100)
    assert ((), "no a") == (hints("a"), words("a"))


def test_coroutines_have_fallbacks_too(flags, watch):
    """The fallback of a coroutine function is a value, a function or a coroutine function."""

    async def other(word):
        return f"no {word}"

    def decorated(fallback):
        @flags.degradable("hints", fallback=fallback)
        async def hints(word):
            return word

        return hints

    both = [decorated(fallback) for fallback in ((), other, lambda word: word * 2)]
    assert ["a", "a", "a"] == [asyncio.run(each("a")) for each in both]
    watch.tell(hints=100)
    assert [(), "no a", "aa"] == [asyncio.run(each("a")) for each in both]


def test_the_first_question_of_a_coroutine_does_not_hold_the_loop(flags, watch):
    """While the first load is awaited, other coroutines go on."""
    watch.is_awake, freed = False, threading.Event()
    watch.wake = lambda: setattr(watch, "is_awake", freed.wait(PATIENCE_SECONDS))

    @flags.degradable("search")
    async def search():
        return "found"

    async def other():
        freed.set()

    async def both():
        return await asyncio.gather(search(), other())

    assert ["found", None] == asyncio.run(both())
    assert watch.is_awake


def test_a_job_to_be_skipped_stays_the_function_that_it_is(flags):
    """`SKIP` only marks the function: whoever calls it calls it."""

    def send():
        return "sent"

    assert send is flags.degradable("mail", fallback=SKIP)(send)
    assert (flags, "mail") == getattr(send, FLAG_ATTRIBUTE)
    assert "sent" == send()


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a\x1b", "x" * 201])
def test_a_name_must_be_a_name(flags, name):
    """A name with spaces or control characters is refused where it is declared."""
    with pytest.raises(InvalidInput, match="flag"):
        flags.declare(name)


def test_what_holds_when_stale_must_be_known(flags):
    """A typing error in a rule fails at the declaration, and names what is accepted."""
    with pytest.raises(InvalidInput, match="keep, on or off"):
        flags.declare("search", then="maybe")


def test_asking_writes_no_log(flags, caplog):
    """A check is silent."""
    with caplog.at_level(logging.DEBUG):
        flags.enabled("search")
    assert [] == caplog.records
