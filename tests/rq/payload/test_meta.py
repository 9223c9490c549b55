"""The meta of an RQ job is read right, without importing or running anything."""

from __future__ import annotations

import copyreg
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.engine.jobs import meta_texts
from tests.rq.payload.written import META, PROTOCOLS, SERIALIZERS, Mailer, send_mail, stored
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


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
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(exclude_categories=["Cs"]))
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
            assert {"tenant": "acme", "x": "1"} == meta_texts(raw + b"\x8c\x01c" + opcodes + b"s\x8c\x01xK\x01s.")
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
    path = sys.modules["shedder.engine.jobs"].__file__
    assert path is not None
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=PATIENCE_SECONDS)
