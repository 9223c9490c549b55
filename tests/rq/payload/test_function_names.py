"""The name of an RQ job's function is read right, from whatever wrote it."""

from __future__ import annotations

import json
import pickle
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.engine.jobs import function_name
from tests.rq.payload.written import PROTOCOLS, SERIALIZERS, Mailer, PickleOf, send_mail, stored

if TYPE_CHECKING:
    from redis import Redis


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("func", [send_mail, Mailer.Inner.send, "app.mail.send", "app.é.send", len, "a" * 300])
def test_the_name_of_a_function(redis: Redis, serializer: Any, func: Any) -> None:
    """A function is known by its dotted path, whatever pickle protocol or JSON it came in."""
    fields = stored(redis, func, serializer=serializer, args=(1, "x"), kwargs={"to": "y"})
    expected = func if isinstance(func, str) else f"{func.__module__}.{func.__qualname__}"
    assert expected == function_name(fields[b"data"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("func", "expected"), [(Mailer("a").send, "send"), (Mailer("a"), "__call__")])
def test_the_name_of_a_method(redis: Redis, protocol: int, func: Any, expected: str) -> None:
    """For an instance RQ keeps the method's bare name, and so do we."""
    fields = stored(redis, func, serializer=PickleOf(protocol))
    assert expected == function_name(fields[b"data"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_that_was_never_compressed(protocol: int) -> None:
    """RQ takes uncompressed data, so its name is read too, even from the oldest protocols."""
    call: tuple[Any, ...] = ("app.mail.é", None, (), {})
    assert "app.mail.é" == function_name(pickle.dumps(call, protocol))
    assert "app.mail.é" == function_name(json.dumps(call).encode())
    assert "app.mail.é" == function_name(b" [ " + json.dumps(call, ensure_ascii=False).encode()[1:])


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=400),
    st.binary(max_size=50),
    st.sampled_from(SERIALIZERS),
)
def test_any_name_is_read_as_it_was_written(name: str, argument: bytes, serializer: Any) -> None:
    """Whatever text names the function, it is read exactly, compressed or not."""
    data = serializer.dumps((name, None, (argument.hex(), name), {}))
    assert name == function_name(data)
    assert name == function_name(zlib.compress(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"x\x9c",
        b"hello",
        b"(hello",
        b"[",
        b"[]",
        b'["app.mail.send"]',
        b'["app.mail.send',
        b'["app\n.mail", 1]',
        b'["\xff", null, [], {}]',
        b'["\\ud800", null, [], {}]',
        b"[5, null, [], {}]",
        b'{"func": "app.mail.send"}',
        b"\x94\xadapp.mail.send\xc0\x90\x80",
        b"\x80\x09(\x8c\x01a",
        b"\x80\x05(\x8c\x02\xff\xfe",
        b"\x80\x05(\x8d\xff\xff\xff\xff\xff\xff\xff\x7fapp",
        b"\x80\x05(X\xff\xff\xff\xffapp",
        b"(V\\u12\n",
        b"(V\\ud800\n",
        pickle.dumps("app.mail.send"),
        pickle.dumps(["app.mail.send", None, (), {}]),
        pickle.dumps({"app.mail.send": None}),
        pickle.dumps((None, None, (), {})),
        pickle.dumps((b"app.mail.send", None, (), {})),
        pickle.dumps((5, "app.mail.send", (), {})),
        pickle.dumps(("\ud800", None, (), {})),
        pickle.dumps(("a" * 5_000, None, (), {})),
        zlib.compress(b""),
        zlib.compress(b"hello"),
        zlib.compress(pickle.dumps(("a" * 5_000, None, (), {}))),
    ],
    ids=repr,
)
def test_a_name_that_cannot_be_known(data: bytes) -> None:
    """Other serializers, other objects, damage and names without an end give None."""
    assert function_name(data) is None


@given(st.binary(max_size=200))
def test_no_data_makes_it_fail(noise: bytes) -> None:
    """Random bytes, alone, compressed or after a good start, give a name or None."""
    head = pickle.dumps(("app", None, (), {}))[:15]
    for data in (noise, zlib.compress(noise), head + noise, zlib.compress(head)[:9] + noise):
        assert isinstance(function_name(data), str | None)


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_data_that_was_cut_off(serializer: Any) -> None:
    """However much of the end is missing, the name is whole or not known."""
    data = zlib.compress(serializer.dumps(("app.mail.send", None, [], {})))
    for end in range(len(data)):
        assert function_name(data[:end]) in {None, "app.mail.send"}


def test_only_the_beginning_is_inflated() -> None:
    """A job of a quarter of a gigabyte that fits into 256 kB is named as fast as any other."""
    inflate = zlib.compressobj()
    bomb = inflate.compress(pickle.dumps(("app.bomb", None, (), {}))[:-1])
    zeros = bytes(1 << 20)
    bomb += b"".join(inflate.compress(zeros) for _ in range(256)) + inflate.flush()
    started = time.process_time()  # of this process alone, however busy the machine is
    assert all(function_name(bomb) == "app.bomb" for _ in range(100))
    assert time.process_time() - started < 1
