"""A meta that is damaged, hostile or odd is borne, at little cost."""

from __future__ import annotations

import json
import pickle
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.engine.jobs import MAX_META_BYTES, meta_texts
from tests.rq.payload.written import META, Mailer

_START = b"\x80\x04}\x8c\x01k"  # an empty dict, and a name for a field


@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        b".",
        b"(",
        b"\x80\x05N.",
        b"\x80\x05.",
        b"null",
        b"{",
        b"{]",
        b'{"a": "\xff"}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\x85tenant",
        zlib.compress(pickle.dumps({"tenant": "acme"})),
        pickle.dumps(["tenant", "acme"]),
        pickle.dumps("tenant"),
        pickle.dumps(Mailer),
        pickle.dumps(META)[:-1],
        pickle.dumps(META)[:-20],
        pickle.dumps({"a": "x" * MAX_META_BYTES}),
        json.dumps({"a": "x" * MAX_META_BYTES}).encode(),
        _START + b"s.",
        _START + b"u.",
        _START + b"h\x07s.",
        _START + b"j\xff\xff\xff\xffs.",
        _START + b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fs.",
        _START + b"\x96\xff\xff\xff\xff\xff\xff\xff\x7fs.",
        _START + b"\x8b\xff\xff\xff\x7fs.",
        _START + b"\x8a\xfe" + b"\xff" * 10,
        _START + b"(K\x01u.",
        _START + b"00000s.",
        _START + b"\xffs.",
        b"\x80\x04" + b"(" * 10_000 + b".",
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_a_meta_that_cannot_be_read(raw: bytes) -> None:
    """Other serializers, other objects, damage and a meta that is too large give None."""
    assert meta_texts(raw) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b")" + b"\x85" * 200_000, id="tuples nested 200,000 deep"),
        pytest.param(b"]" * 100_000 + b"a" * 99_999, id="lists nested 100,000 deep"),
        pytest.param(b"}" + b"K\x01" * 2 + b"s" + b"0}" * 50_000, id="many dicts"),
        pytest.param(b")" + b"2\x86" * 100_000, id="a tuple of two to the power of 100,000"),
        pytest.param(b"Nr\xff\xff\xff\xff", id="a memo of four thousand million places"),
        pytest.param(b"Np4294967295\n", id="the same in text"),
        pytest.param(b"\x95\xff\xff\xff\xff\xff\xff\xff\x7fN", id="a frame without an end"),
    ],
)
def test_a_hostile_pickle_costs_little(value: bytes) -> None:
    """What would exhaust an unpickler's stack, memory or time is just something, even as a key."""
    for raw in (_START + value + b"s.", b"\x80\x04}" + value + b"K\x01s."):
        assert meta_texts(raw) in ({}, {"k": "None"}, None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (_START + b"N2s.", None),
        (_START + b"Ns\x8c\x01kK\x01s.", {"k": "1"}),
        (_START + b"\x8c\x03\xed\xa0\x80s.", {}),
        (b"\x80\x04}\x8c\x03\xed\xa0\x80Ns.", {}),
        (b'{"a": "\\ud800", "\\ud800": 1, "b": 2}', {"b": "2"}),
        (b'{"a": 1, "a": 2}', {"a": "2"}),
        (b' \n{"a": NaN}', {"a": "nan"}),
        (_START + b"NsN.", None),
        (_START + b"Ns.trailing", {"k": "None"}),
    ],
)
def test_odd_cases(raw: bytes, expected: dict[str, str] | None) -> None:
    """The last value counts, half characters are left out, what follows the end is ignored."""
    assert expected == meta_texts(raw)


@given(st.binary(max_size=100), st.sampled_from([b"", b"\x80\x05", _START, b"{", b"}("]))
def test_no_meta_makes_it_fail(noise: bytes, start: bytes) -> None:
    """Random bytes, alone or after a good start, give fields or None."""
    assert isinstance(meta_texts(start + noise), dict | None)
