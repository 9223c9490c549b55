"""A job's hash: function, meta and times, read without unpickling.

An operator's machine need not have the application's classes, and unpickling runs code. So nothing
is unpickled: the name of the function is in the first bytes of a pickle, and the fields of the meta
come from a small interpreter that keeps plain values and takes all else for "something".

RQ serializes function, arguments and meta, and no script can read that. Our producers write the
function's name into one more field, `shedder`. It stands behind the job's `created_at`, because a
stock producer may write a new job under an old id, and must not be judged by the old one's name.
"""

from __future__ import annotations

import json
import pickletools
import re
import zlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from shedder.store.codec import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rq.job import Job

    from shedder.store.store import Store


MAX_META_BYTES = 1_000_000

LONGEST_DATA = 65_536
"""Bytes of a job's data that are worth fetching for the name of its function."""

NOTE_FIELD = "shedder"
"""Field of a job's hash in which our producers write the function's name."""

_TIMES = ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ")
"""How RQ writes a time, and how it once did."""


class JobState(StrEnum):
    """What the field `status` of a job's hash says; RQ knows these and no others."""

    CREATED = "created"
    QUEUED = "queued"
    FINISHED = "finished"
    FAILED = "failed"
    STARTED = "started"
    DEFERRED = "deferred"
    SCHEDULED = "scheduled"
    STOPPED = "stopped"
    CANCELED = "canceled"
    READY_TO_ENQUEUE = "ready_to_enqueue"
    RATE_LIMITED = "rate_limited"


def job_of(execution: bytes | str) -> str:
    """The id of the job in a member of RQ's registry of started jobs, `<job>:<execution>`."""
    job, colon, last = text_of(execution).rpartition(":")
    return job if colon else last


def function_name(data: bytes) -> str | None:
    """The function's name as `job.func_name` has it, from the `data` field of a job's hash.

    That is a dotted path, or the bare name for a method of an instance. Reads pickle and JSON,
    compressed or not. None when it cannot be known: another serializer, damaged data, or a name
    that does not end within the first 2,048 bytes.
    """
    start = _inflated_start(data)
    try:
        name = _json_name(start) if start.lstrip()[:1] == b"[" else _pickled_name(start)
    except ValueError:
        return None
    return name if name is not None and _is_text(name) else None


def meta_texts(raw: bytes | None) -> dict[str, str] | None:
    """The plain fields in the `meta` field of a job's hash, as text: `{"tenant": "acme"}`.

    Those are the top-level fields whose name is a str and whose value is a str, int, float, bool or
    None, as `str(value)`; others are left out. `{}` when there is no meta. None when it cannot
    be read: neither a pickled nor a JSON mapping, damaged, or more than 1,000,000 bytes.
    """
    if not raw:
        return {}
    if len(raw) > MAX_META_BYTES:
        return None
    try:
        fields = _json_fields(raw) if raw.lstrip()[:1] == b"{" else _pickled_fields(raw)
        return None if fields is None else dict(_texts(fields))
    except (ValueError, LookupError, RecursionError):
        return None


def time_of(raw: bytes | str | None) -> datetime | None:
    """The time in a field such as `enqueued_at`, in UTC; None when there is none that can be read.

    RQ writes it with a fraction of a second, and once wrote it without.
    """
    text = text_of(raw or "")
    for form in _TIMES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


_START_BYTES = 2_048
# Deflate can need more than it yields: a header, code tables, blocks that did not shrink.
_COMPRESSED_START_BYTES = 2 * _START_BYTES

# How pickle begins what RQ stores, a tuple of four whose first item is a str: the protocol and a
# frame where there are any, a mark, and text with its size before it or a newline after it.
_TUPLE = rb"(?:\x80[\x02-\x05])?+(?:\x95.{8})?+\("
_SIZED_NAME = re.compile(_TUPLE + rb"(?:\x8c(.)|X(.{4})|\x8d(.{8}))", re.DOTALL)
_LINE_NAME = re.compile(_TUPLE + rb"V([^\n]*+)\n", re.DOTALL)
_JSON_NAME = re.compile(rb'\s*\[\s*("(?:[^"\\]|\\.)*+")\s*,')
_SURROGATE = re.compile("[\ud800-\udfff]")


def _inflated_start(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data[:_COMPRESSED_START_BYTES], _START_BYTES)
    except zlib.error:
        return data[:_START_BYTES]  # RQ takes data that zlib refuses for data never compressed


def _pickled_name(start: bytes) -> str | None:
    if found := _SIZED_NAME.match(start):
        end = found.end() + int.from_bytes(found[found.lastindex or 0], "little")
        return start[found.end() : end].decode() if end <= len(start) else None
    found = _LINE_NAME.match(start)
    return found[1].decode("raw-unicode-escape") if found else None


def _json_name(start: bytes) -> str | None:
    found = _JSON_NAME.match(start)
    return str(json.loads(found[1].decode())) if found else None


def _is_text(text: str) -> bool:
    # Pickle and JSON can carry half a character, which nobody can print or send to Redis.
    return not _SURROGATE.search(text)


def _texts(fields: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if value is None or isinstance(value, str | int | float):
            text = str(value)
            if _is_text(name) and _is_text(text):
                yield name, text


def _json_fields(raw: bytes) -> Mapping[str, object] | None:
    fields = json.loads(raw.decode())
    return fields if isinstance(fields, dict) else None


def _pickled_fields(raw: bytes) -> Mapping[str, object] | None:
    machine = _PickleMachine()
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name != "STOP":
            machine.step(opcode, argument)
    return machine.fields_on_top()


class _Something:
    """Any object, container or class of a pickle, with the plain fields that were set in it."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, object] | None = None) -> None:
        self.fields = fields


class _PickleMachine:
    """Pickle's stack machine, without the objects.

    An Unpickler that refuses imports is not safe enough: a few bytes make it hash a tuple nested a
    hundred thousand deep, which ends the process, or fill the memory with an empty memo.
    """

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._below_marks: list[list[object]] = []
        self._memo: dict[object, object] = {}

    def fields_on_top(self) -> Mapping[str, object] | None:
        """The fields of the mapping on top of the stack; None when it is none."""
        top = self._stack[-1]
        return top.fields if isinstance(top, _Something) else None

    def step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """Run one opcode.

        Raises:
            LookupError: there is nothing for it to take.
            ValueError: what it takes makes no sense.
        """
        name, stack = opcode.name, self._stack
        if name in _PLAIN:
            stack.append(_CONSTANTS.get(name, argument))
        elif name in _MEMO_WRITES:
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in _MEMO_READS:
            stack.append(self._memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "MARK":
            self._below_marks.append(stack)
            self._stack = []
        else:
            self._build(opcode)

    def _build(self, opcode: pickletools.OpcodeInfo) -> None:
        taken = self._take(opcode)
        if opcode.name in _SETTERS:
            _set_fields(self._stack[-1], taken)
        elif opcode.name == "DICT":
            self._stack.append(_Something({}))
            _set_fields(self._stack[-1], taken)
        elif opcode.stack_after and opcode.name not in _IN_PLACE:
            self._stack.append(_Something({} if opcode.name == "EMPTY_DICT" else None))

    def _take(self, opcode: pickletools.OpcodeInfo) -> list[object]:
        if pickletools.markobject in opcode.stack_before:
            taken, self._stack = self._stack, self._below_marks.pop()
            return taken
        at = len(self._stack) - len(opcode.stack_before) + (opcode.name in _IN_PLACE)
        if at < 0:
            raise IndexError(opcode.name)
        taken = self._stack[at:]
        del self._stack[at:]
        return taken


_PLAIN_KINDS = (
    pickletools.pynone, pickletools.pybool, pickletools.pyint, pickletools.pyinteger_or_bool,
    pickletools.pyfloat, pickletools.pyunicode, pickletools.pybytes_or_str,
)  # fmt: skip
_PLAIN = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if not opcode.stack_before and opcode.stack_after[:1] in [[kind] for kind in _PLAIN_KINDS]
)
_CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False}
_MEMO_WRITES = frozenset({"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})
_MEMO_READS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_SETTERS = frozenset({"SETITEM", "SETITEMS"})
_IN_PLACE = _SETTERS | {"APPEND", "APPENDS", "ADDITEMS", "BUILD"}


def _set_fields(target: object, taken: list[object]) -> None:
    pairs = zip(taken[::2], taken[1::2], strict=True)
    if isinstance(target, _Something):
        target.fields = target.fields or {}
        target.fields.update((name, value) for name, value in pairs if isinstance(name, str))


def functions_of(store: Store, noted: Mapping[str, str | None], *, longest: int = LONGEST_DATA) -> dict[str, str]:
    """By job its function: as `noted` has it, else as its data tell.

    Empty when it cannot be known, or has to be read from data of more than `longest` bytes.
    """
    prefix = store.keys.engine.jobs
    names = {job: name or "" for job, name in noted.items()}
    unknown = [job for job, name in names.items() if not name]
    if unknown:
        sizes = store.read(lambda ask: [ask.hstrlen(prefix + job, "data") for job in unknown])
        unknown = [job for job, size in zip(unknown, sizes, strict=True) if 0 < size <= longest]
    if unknown:
        data = store.read(lambda ask: [ask.hget(prefix + job, "data") for job in unknown])
        for job, value in zip(unknown, data, strict=True):
            names[job] = function_name(value or b"") or ""
    return names


def function_field(function: str, created_at: str) -> str:
    """The text of the field `shedder`: `<created_at> <function>`; `created_at` as RQ writes it."""
    return f"{created_at} {function}"


def function_of(job: Job) -> str:
    """The dotted name of the job's function, empty when its data cannot be read."""
    try:
        return job.func_name or ""
    except Exception:  # noqa: BLE001 - serializers raise what they like, as RQ notes too
        return ""


def texts_of(job: Job) -> dict[str, str]:
    """The simple fields of the job's meta as text, by which a divert selects."""
    simple = (str, int, float, bool, type(None))
    return {str(key): str(value) for key, value in job.meta.items() if isinstance(value, simple)}


def function_from_field(note: bytes | str | None, created_at: bytes | str | None) -> str | None:
    """The function that a job's hash names in plain text; None when it names none that counts."""
    since, _, name = text_of(note or b"").partition(" ")
    return name if name and since == text_of(created_at or b"") else None
