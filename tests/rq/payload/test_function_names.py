"""Is an RQ job's hash read right, without importing or running anything?"""

from __future__ import annotations

import copyreg
import json
import os
import pickle
import subprocess
import sys
import time
import zlib
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer

from shedder.rq.payload import MAX_META_BYTES, function_name, meta_texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

PROTOCOLS = range(2, 6)


class PickleOf:
    """A serializer that pickles with the protocol that it is given, as older producers do."""

    def __init__(self, protocol: int) -> None:
        self.dumps: Callable[[Any], bytes] = partial(pickle.dumps, protocol=protocol)
        self.loads = pickle.loads


SERIALIZERS = [DefaultSerializer, JSONSerializer, *map(PickleOf, PROTOCOLS)]


class Mailer:
    """A user's class; only the name of its method ends up in the job."""

    def __init__(self, sender: str) -> None:
        self.sender = sender

    def send(self) -> None: ...

    def __call__(self) -> None: ...

    class Inner:
        @staticmethod
        def send() -> None: ...


def send_mail() -> None: ...


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def stored(
    redis: Redis, func: Any, *, serializer: Any = None, **options: Any
) -> dict[bytes, bytes]:
    """The hash of a real job, as it stands in Redis."""
    job = Job.create(func, connection=redis, serializer=serializer, origin="mail", **options)
    job.save()
    fields = cast("dict[bytes, bytes]", redis.hgetall(job.key))
    assert job.func_name == Job.fetch(job.id, redis, serializer=serializer).func_name
    return fields


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize(
    "func", [send_mail, Mailer.Inner.send, "app.mail.send", "app.é.send", len, "a" * 300]
)
def test_the_name_of_a_function(redis: Redis, serializer: Any, func: Any) -> None:
    """A function is known by its dotted path, whatever pickle protocol or JSON it came in."""
    fields = stored(redis, func, serializer=serializer, args=(1, "x"), kwargs={"to": "y"})
    expected = func if isinstance(func, str) else f"{func.__module__}.{func.__qualname__}"
    assert expected == function_name(fields[b"data"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("func", "expected"), [(Mailer("a").send, "send"), (Mailer("a"), "__call__")]
)
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
    started = time.perf_counter()
    assert all(function_name(bomb) == "app.bomb" for _ in range(100))
    assert time.perf_counter() - started < 1


META = {
    "tenant": "acme é",
    "empty": "",
    "attempt": 3,
    "big": -(2**100),
    "ratio": 1.5,
    "urgent": True,
    "draft": False,
    "note": None,
}
META_TEXTS = {name: str(value) for name, value in META.items()}


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_the_plain_fields_of_the_meta(redis: Redis, serializer: Any) -> None:
    """Text, numbers, booleans and None are read as str() shows them; containers are left out."""
    nested = {"nested": {"tenant": "other"}, "list": [1, "x"], "again": {"list": ["x", {}]}}
    fields = stored(redis, send_mail, serializer=serializer, meta=META | nested)
    assert META_TEXTS == meta_texts(fields[b"meta"])


def test_a_job_without_meta(redis: Redis) -> None:
    """No meta, or an empty one, has no fields; that is not the same as unreadable."""
    fields = stored(redis, send_mail)
    assert {} == meta_texts(fields.get(b"meta"))
    assert {} == meta_texts(b"")
    assert {} == meta_texts(b"{}")
    assert {} == meta_texts(pickle.dumps({}))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_in_the_meta_are_passed_over(protocol: int) -> None:
    """Whatever else the meta holds, by whatever opcode, the plain fields are read."""
    shared = ["shared"]
    loop: list[Any] = []
    loop.append(loop)
    meta = {
        "before": "same",
        "mailer": Mailer("x"),
        "when": datetime.now(UTC),
        "class": Mailer,
        "function": send_mail,
        "bytes": b"x",
        "bytearray": bytearray(b"x" * 300),
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "sets": ({1, 2}, frozenset({"a"}), set()),
        "ordered": OrderedDict(a=1, before="other"),
        "default": defaultdict(list, a=[1]),
        "shared": (shared, shared),
        "loop": loop,
        "complex": 1j,
        5: "not a name",
        ("a", "b"): "not a name",
        "after": "same",
        "long": "x" * 70_000,
    }
    expected = {"before": "same", "after": "same", "long": "x" * 70_000}
    assert expected == meta_texts(pickle.dumps(meta, protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_meta_that_is_another_kind_of_dict(protocol: int) -> None:
    """The fields of an OrderedDict or a defaultdict are read as those of a dict."""
    kinds: list[dict[str, str]] = [OrderedDict(tenant="acme"), defaultdict(str, tenant="acme")]
    for meta in kinds:
        assert {"tenant": "acme"} == meta_texts(pickle.dumps(meta, protocol))


_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]))
)
_NAMES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.dictionaries(_NAMES, _PLAIN | st.lists(_PLAIN) | st.dictionaries(_NAMES, _PLAIN)),
    st.sampled_from(range(pickle.HIGHEST_PROTOCOL + 1)),
)
def test_any_meta_is_read_as_it_was_written(meta: dict[str, Any], protocol: int) -> None:
    """Pickled or JSON, the plain fields are those of the dict itself."""
    expected = {name: str(v) for name, v in meta.items() if not isinstance(v, list | dict)}
    assert expected == meta_texts(pickle.dumps(meta, protocol))
    assert expected == meta_texts(json.dumps(meta).encode())


def test_nothing_in_a_meta_is_run(tmp_path: Path) -> None:
    """A pickle that would make a folder does not, and hides no other field."""
    folder = tmp_path / "made"
    raw = pickle.dumps({"tenant": "acme", "trap": Trap(folder), "after": 1})
    assert {"tenant": "acme", "after": "1"} == meta_texts(raw)
    assert meta_texts(pickle.dumps(Trap(folder))) is None
    assert meta_texts(b"cos\nsystem\n(Vmkdir " + bytes(folder) + b"\ntR.") is None
    assert not folder.exists()
    pickle.loads(raw)
    assert folder.exists()


def test_nothing_is_imported() -> None:
    """Neither a class in the meta nor an extension code that stands for one is looked up."""
    raw = pickle.dumps({"tenant": "acme"})[:-1]
    copyreg.add_extension("tests.no_such_module", "Thing", 240)
    try:
        for opcodes in (b"ctests.no_such_module\nThing\n", b"\x82\xf0"):
            assert {"tenant": "acme", "x": "1"} == meta_texts(
                raw + b"\x8c\x01c" + opcodes + b"s\x8c\x01xK\x01s."
            )
    finally:
        copyreg.remove_extension("tests.no_such_module", "Thing", 240)
    assert "tests.no_such_module" not in sys.modules


def test_rq_is_not_imported() -> None:
    """Reading a hash needs neither rq nor redis, so that it costs no start-up time."""
    program = (
        "import importlib.util, sys;"
        "spec = importlib.util.spec_from_file_location('payload', sys.argv[1]);"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec));"
        "assert not {'rq', 'redis'} & set(sys.modules)"
    )
    path = sys.modules["shedder.rq.payload"].__file__
    assert path is not None
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)


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
