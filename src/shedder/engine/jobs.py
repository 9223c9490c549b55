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
import pickle
import pickletools
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from shedder.store.codec import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rq.job import Job

    from shedder.store.store import Store


MAX_META_BYTES = 1_000_000

LONGEST_DATA = 65_536
"""Bytes of a job's data that are worth fetching for the name of its function."""

_START_BYTES = 2_048

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


def function_name(data: bytes, *, longest: int = _START_BYTES) -> str | None:
    """The function's name as `job.func_name` has it, from the `data` field of a job's hash.

    That is a dotted path, or the bare name for a method of an instance. Reads pickle and JSON,
    compressed or not. None when it cannot be known: another serializer, damaged data, or a name
    that does not end within the first `longest` bytes.
    """
    start = _inflated_start(data, longest)
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
    fields = meta_fields(raw)
    if fields is None or None not in fields.values():
        return cast("dict[str, str] | None", fields)
    return {name: text for name, text in fields.items() if text is not None}


def meta_fields(raw: bytes | None, names: Iterable[str] | None = None) -> dict[str, str | None] | None:
    """As `meta_texts`, and with None as the text of a field that only the application can read.

    That is an object, such as a member of an enumeration of texts: its class, which is not imported
    here, may make a plain value of it. Where an object is the name of a field, nothing is known.
    With `names` it has no other fields than these, and is quicker.
    """
    if not raw:
        return {}
    if len(raw) > MAX_META_BYTES:
        return None
    try:
        is_json = raw.lstrip()[:1] == b"{"
        fields: Mapping[Any, object] = _json_fields(raw) if is_json else _harmless_fields(raw) or _pickled_fields(raw)
        wanted: Mapping[object, object] = (
            fields if names is None else {name: fields[name] for name in names if name in fields}
        )
        return dict(_texts(wanted))
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


# How pickle begins what RQ stores, a tuple of four whose first item is a str: the protocol and a
# frame where there are any, a mark, and text with its size before it or a newline after it.
_TUPLE = rb"(?:\x80[\x02-\x05])?+(?:\x95.{8})?+\("
_SIZED_NAME = re.compile(_TUPLE + rb"(?:\x8c(.)|X(.{4})|\x8d(.{8}))", re.DOTALL)
_LINE_NAME = re.compile(_TUPLE + rb"V([^\n]*+)\n", re.DOTALL)
_JSON_NAME = re.compile(rb'\s*\[\s*("(?:[^"\\]|\\.)*+")\s*,')
_SURROGATE = re.compile("[\ud800-\udfff]")


def _inflated_start(data: bytes, longest: int) -> bytes:
    try:
        # deflate can need more than it yields: a header, code tables, blocks that did not shrink
        return zlib.decompressobj().decompress(data[: 2 * longest], longest)
    except zlib.error:
        return data[:longest]  # RQ takes data that zlib refuses for data never compressed


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
    return text.isascii() or not _SURROGATE.search(text)


def _texts(fields: Mapping[object, object]) -> Iterator[tuple[str, str | None]]:
    for name, value in fields.items():
        if isinstance(name, str) and _is_text(name):
            text = value if type(value) is str and value.isascii() else _text_of(value)
            if text is not None or (isinstance(value, _Something) and value.is_opaque):
                yield str.__str__(name), text


def _text_of(value: object) -> str | None:
    """A plain value as text; None for any other, and for one that has no text.

    A member of an enumeration of texts or numbers is what it stands for, as in JSON, whatever its
    class makes of `str()`.
    """
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return str.__str__(value) if _is_text(value) else None
    if isinstance(value, float):
        return float.__repr__(value)
    try:
        return int.__repr__(value) if isinstance(value, int) else None
    except ValueError:  # more digits than Python writes
        return None


def _json_fields(raw: bytes) -> Mapping[object, object]:
    fields: Mapping[object, object] = json.loads(raw.decode())
    return fields


def _pickled_fields(raw: bytes) -> Mapping[object, object]:
    machine = _PickleMachine()
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name != "STOP":
            machine.step(opcode, argument)
    return machine.fields_on_top()


# Of a pickle with none but these opcodes nothing is called or imported, and no memory is taken that
# it does not fill: text, numbers, constants, lists and dicts, as Python writes them since 3.8.
# Most metas are one, and the interpreter's own reader takes a twentieth of the time of ours.
_HARMLESS_PICKLE = re.compile(
    rb"\x80[\x04\x05](?:\x95.{8})?+(?>\x94|\x8c(?:"
    + rb"|".join(re.escape(bytes([size])) + rb".{%d}" % size for size in range(256))
    + rb")|[]}()uaseN\x88\x89]|[Kh].|M..|J.{4}|G.{8})*+\.",
    re.DOTALL,
)


def _harmless_fields(raw: bytes) -> Mapping[object, object] | None:
    """The fields of a pickled dict; None where ours has to read it."""
    if not _HARMLESS_PICKLE.fullmatch(raw):
        return None
    try:
        fields = pickle.loads(raw)  # noqa: S301 - it has been looked at
    except Exception:  # noqa: BLE001 - a damaged pickle raises what it likes
        return None
    return fields if isinstance(fields, dict) else None


class _Something:
    """Any object, container or class of a pickle, with the fields that were set in it.

    One that a call makes is opaque: it may be a plain value, of a class of the application.
    """

    __slots__ = ("fields", "is_opaque")

    def __init__(self, fields: dict[object, object] | None = None, *, is_opaque: bool = False) -> None:
        self.fields = fields
        self.is_opaque = is_opaque


class _PickleMachine:
    """Pickle's stack machine, without the objects.

    An Unpickler that refuses imports is not safe enough: a few bytes make it hash a tuple nested a
    hundred thousand deep, which ends the process, or fill the memory with an empty memo.
    """

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._below_marks: list[list[object]] = []
        self._memo: dict[object, object] = {}

    def fields_on_top(self) -> Mapping[object, object]:
        """The fields of the mapping on top of the stack.

        Raises:
            LookupError: there is none.
        """
        top = self._stack[-1]
        if not isinstance(top, _Something) or top.fields is None:
            raise LookupError(top)
        return top.fields

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
        taken, name = self._take(opcode), opcode.name
        if name in _SETTERS:
            _set_fields(self._stack[-1], taken)
        elif name == "DICT":
            self._stack.append(_Something({}))
            _set_fields(self._stack[-1], taken)
        elif opcode.stack_after and name not in _IN_PLACE:
            self._stack.append(_Something({} if name == "EMPTY_DICT" else None, is_opaque=name in _CALLS))

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
_CALLS = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "INST", "OBJ", "PERSID", "BINPERSID"})
_IN_PLACE = _SETTERS | {"APPEND", "APPENDS", "ADDITEMS", "BUILD"}


def _set_fields(target: object, taken: list[object]) -> None:
    pairs = zip(taken[::2], taken[1::2], strict=True)
    if not isinstance(target, _Something):
        return
    target.fields = target.fields or {}
    for name, value in pairs:
        if isinstance(name, _Something) and name.is_opaque:
            raise LookupError(name)
        if isinstance(name, str):
            target.fields[name] = value


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
    """The dotted name of the job's function, empty when its data cannot be read.

    RQ knows it only where all arguments can be read; that of the function is known without them.
    """
    try:
        name: object = job.func_name
    except Exception:  # noqa: BLE001 - serializers raise what they like, as RQ notes too
        name = function_name(job.data or b"", longest=LONGEST_DATA)
    return name if isinstance(name, str) else ""


def texts_of(job: Job) -> dict[str, str]:
    """The plain fields of the job's meta as text, by which a divert selects, as `meta_texts` has them.

    RQ reads no field of a meta with an object that is not known where it reads it.
    """
    meta: object = job.meta
    if not isinstance(meta, Mapping):
        return {}
    if list(meta) == ["unserialized"] and isinstance(meta["unserialized"], bytes):
        return meta_texts(meta["unserialized"]) or {}
    return {name: text for name, text in _texts(meta) if text is not None}


def function_from_field(note: bytes | str | None, created_at: bytes | str | None) -> str | None:
    """The function that a job's hash names in plain text; None when it names none that counts."""
    since, _, name = text_of(note or b"").partition(" ")
    return name if name and since == text_of(created_at or b"") else None
