"""Which jobs of a lane a divert takes: by function, by fields of their meta, by age.

A glob on function names is matched here and inside Redis (`lua/lib/selection.lua`) by the same
steps, on the bytes of its UTF-8 form. It is cut at each `*` into pieces of a known width, which
are looked for from left to right without ever going back, so no glob can be slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from shedder.errors import InvalidInput
from shedder.units import format_duration, parse_duration

MAX_FUNCTIONS = 50
MAX_META = 20
MAX_TEXT = 200
MAX_ALTERNATIVES = 1000

FUNCTIONS_FOR_ALL = 20
"""Globs that `one_of` puts into one criterion, which every version of shedder knows and which costs no more."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The criteria that a job must meet; none at all means every job.

    All kinds of criteria that are given must hold.

    Attributes:
        functions: globs on the dotted function name, such as `app.mail.*`; one of them must
            match. `*` is any run of bytes, `?` one byte, `[abc]`, `[a-z]` and `[!a-z]`
            one byte of, or not of, a set of ASCII characters. At most 50, of 200 bytes each.
        meta: pairs of a field of the job's meta and its value as `str(value)`; all must match.
            At most 20.
        older_than: the least time since the job was enqueued, counted in whole milliseconds.
        any_of: other selections, one of which must take the job: at most 1,000, counted by their
            globs, which have none of their own and do not take every job. See `one_of`.

    Raises:
        InvalidInput: a value is empty, too long, has control characters, or is a glob with a
            bracket that has no partner; or a field of the meta is given twice.
    """

    functions: tuple[str, ...] = ()
    meta: tuple[tuple[str, str], ...] = ()
    older_than: timedelta | None = None
    any_of: tuple[Selection, ...] = ()

    def __post_init__(self) -> None:
        _check_functions(self.functions)
        _check_meta(self.meta)
        _check_alternatives(self.any_of)
        if self.older_than is not None and self.older_than < _MILLISECOND:
            raise InvalidInput(name="older_than", value=self.older_than, accepted="1ms or more")

    @classmethod
    def parse(
        cls, *, functions: str | Iterable[str] = (), meta: str | Iterable[str] = (), older_than: str | None = None
    ) -> Selection:
        """Read what an operator typed: globs, `field=value` pairs and a duration such as `1h`.

        Raises:
            InvalidInput: one is not accepted; its `name` is `function`, `meta` or `older_than`.
        """
        least_age = None if older_than is None else parse_duration(older_than, name="older_than")
        return cls(
            functions=_several(functions), meta=tuple(_pair(text) for text in _several(meta)), older_than=least_age
        )

    @classmethod
    def one_of(cls, selections: Iterable[Selection]) -> Selection:
        """What takes each job that one of `selections` takes."""
        several = tuple(dict.fromkeys(selections))
        if len(several) == 1 or any(each.is_whole for each in several):
            return several[0] if len(several) == 1 else cls()
        functions = tuple(dict.fromkeys(glob for each in several for glob in each.functions))
        if all(each == cls(each.functions) for each in several) and len(functions) <= FUNCTIONS_FOR_ALL:
            return cls(functions)
        return cls(any_of=several)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Selection:
        """Read what `to_record` wrote; what it compiled from the globs is not trusted.

        Raises:
            InvalidInput: the record is damaged, or has criteria that are not known here; to leave
                one out would be to divert jobs that were to stay.
        """
        try:
            return _restored(**record)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            accepted = "a record that this version of shedder can have written"
            raise InvalidInput(name="selection", value=record, accepted=accepted) from error

    def to_record(self) -> dict[str, Any]:
        """This selection as JSON-able values, globs compiled for Lua, what is empty left out."""
        record: dict[str, Any] = {}
        if self.functions:
            record["functions"] = [_compiled(glob).to_record() for glob in self.functions]
        if self.meta:
            record["meta"] = dict(self.meta)
        if self.older_than is not None:
            record["older_than_ms"] = self.older_than // _MILLISECOND
        if self.any_of:
            record["any"] = _alternatives_record(self.any_of)
        return record

    @property
    def is_whole(self) -> bool:
        """Whether every job is taken, because there is no criterion."""
        return not self.functions and not self.meta and self.older_than is None and not self.any_of

    @property
    def alternatives(self) -> tuple[Selection, ...]:
        """Those of which one must take a job; itself alone when it names none."""
        return self.any_of or (self,)

    def matches(self, *, function: str | None, meta: Mapping[str, str], age: timedelta) -> bool:
        """Whether a job is taken: its function's name, its meta as text, its time since enqueued.

        A function that is not known (None) meets no glob, not even `*`.
        """
        return bool(self.decide(function=function, meta=meta, age=age))

    def decide(self, *, function: str | None, meta: Mapping[str, str | None] | None, age: timedelta) -> bool | None:
        """As `matches`, and None where a criterion asks for what is not known and no other one fails.

        Not known is a function, a whole meta, or the text of a field of it that is None.
        """
        answers: list[bool | None] = [_is_text(meta, *pair) for pair in self.meta]
        if self.older_than is not None:
            answers.append(age // _MILLISECOND >= self.older_than // _MILLISECOND)
        if self.functions:
            answers.append(None if function is None else self._takes_function(function))
        if self.any_of:
            answers.append(_one_of([each.decide(function=function, meta=meta, age=age) for each in self.any_of]))
        if False in answers:
            return False
        return None if None in answers else True

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a job's meta that it asks for."""
        return (*(field for field, _ in self.meta), *(field for each in self.any_of for field in each.fields))

    def describe(self) -> str:
        """For humans, such as `function app.mail.*, meta tenant=acme, older than 1h`."""
        criteria = ["function " + " or ".join(self.functions)] if self.functions else []
        criteria += [f"meta {field}={value}" for field, value in self.meta]
        if self.older_than is not None:
            criteria.append(f"older than {format_duration(self.older_than, exact=True)}")
        if self.any_of:
            told = [each.describe() for each in self.any_of[:_TOLD]]
            more = len(self.any_of) - len(told)
            criteria.append("; or ".join([*told, f"one of {more} more"] if more else told))
        return ", ".join(criteria) or "every job"

    def _takes_function(self, function: str) -> bool:
        name = function.encode("utf-8", "surrogatepass")
        return any(_compiled(glob).matches(name) for glob in self.functions)


def count_of_globs(selections: Iterable[Selection]) -> int:
    """The globs of all `selections`; one without counts as one."""
    return sum(max(len(each.functions), 1) for each in selections)


_MILLISECOND = timedelta(milliseconds=1)
_MISSING = "\0"
"""No value that a selection may ask for."""
_TOLD = 3


@dataclass(frozen=True, slots=True)
class _Piece:
    """What stands between two `*` of a glob: the same pattern for Lua and here, and its bytes."""

    lua: str
    regex: re.Pattern[bytes]
    width: int


@dataclass(frozen=True, slots=True)
class _Glob:
    """A glob as pieces; `head` and `tail` tie the first and the last to the name's ends."""

    text: str
    pieces: tuple[_Piece, ...]
    head: bool
    tail: bool

    def matches(self, name: bytes) -> bool:
        """The twin of `matches_glob` in `lua/lib/selection.lua`, step for step."""
        position = 0
        for number, piece in enumerate(self.pieces, start=1):
            start, anchored = position, self.head and number == 1
            if self.tail and number == len(self.pieces):
                start = len(name) - piece.width
                if start < position or (anchored and start != position):
                    return False
                anchored = True
            found = (piece.regex.match if anchored else piece.regex.search)(name, start)
            if found is None:
                return False
            position = found.end()
        return True

    def to_record(self) -> dict[str, Any]:
        return {
            "glob": self.text,
            "pieces": [piece.lua for piece in self.pieces],
            "width": [piece.width for piece in self.pieces],
            "head": self.head,
            "tail": self.tail,
        }


# A "]" that comes first in a set is a member, so "[]]" and "[[]" are how a bracket is matched.
_TOKEN = re.compile(r"(?P<stars>\*+)|(?P<one>\?)|\[(?P<negated>!?+)(?P<set>\]?+[^]]*+)\]|(?P<literal>[^]\[])")
_SET_ITEM = re.compile(r"(?P<first>[0-9A-Za-z])-(?P<last>[0-9A-Za-z])|.")
_PLAIN = re.compile(r"(?P<before>\*?)(?P<text>[^*?\[\]]+)(?P<after>\*?)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_META_ACCEPTED = "field=value, such as tenant=acme"


@lru_cache(maxsize=512)
def _compiled(glob: str) -> _Glob:
    tokens = list(_TOKEN.finditer(glob))
    if sum(len(token[0]) for token in tokens) < len(glob):
        raise _refused_glob(glob, "brackets in pairs as in [abc]; for a bracket itself [[] or []]")
    runs: list[list[re.Match[str]]] = [[]]
    for token in tokens:
        if token["stars"]:
            runs.append([])
        else:
            runs[-1].append(token)
    return _Glob(text=glob, pieces=tuple(_piece(run) for run in runs if run), head=bool(runs[0]), tail=bool(runs[-1]))


def _piece(run: list[re.Match[str]]) -> _Piece:
    elements = [_element(token) for token in run]
    return _Piece(
        lua="".join(lua for lua, _ in elements),
        regex=re.compile("".join(regex for _, regex in elements).encode(), re.DOTALL),
        width=sum(len(token["literal"].encode()) if token["literal"] else 1 for token in run),
    )


def _element(token: re.Match[str]) -> tuple[str, str]:
    """One element of a piece, as Lua pattern and as regular expression."""
    if token["one"]:
        return ".", "."
    if token["literal"]:
        return _escaped(token["literal"])
    items = [_set_item(item, token.string) for item in _SET_ITEM.finditer(token["set"])]
    opening = "[^" if token["negated"] else "["
    lua, regex = ("".join(parts) for parts in zip(*items, strict=True))
    return f"{opening}{lua}]", f"{opening}{regex}]"


def _set_item(item: re.Match[str], glob: str) -> tuple[str, str]:
    if item["first"] and item["first"] <= item["last"]:
        return item[0], item[0]
    # To Lua only letters and digits can be the ends of a range; a "-" at the edge is itself.
    if item["first"] or (item[0] == "-" and 0 < item.start() < len(item.string) - 1):
        raise _refused_glob(glob, "ranges such as a-z or 0-9; put a - that is meant first or last")
    if not item[0].isascii():
        raise _refused_glob(glob, "ASCII characters inside [ ]")
    return _escaped(item[0])


def _escaped(character: str) -> tuple[str, str]:
    lua = f"%{character}" if character in "^$()%.[]*+-?" else character
    return lua, re.escape(character)


def _is_text(meta: Mapping[str, str | None] | None, field: str, value: str) -> bool | None:
    text = None if meta is None else meta.get(field, _MISSING)
    return None if text is None else text == value


def _one_of(answers: list[bool | None]) -> bool | None:
    if True in answers:
        return True
    return None if None in answers else False


def check_globs(name: str, globs: tuple[str, ...], accepted: str) -> None:
    """Refuse globs of another kind than on functions that are too many, too long, or not well-formed.

    Raises:
        InvalidInput: one is; `name` is what the error calls it.
    """
    _check_count(name, globs, MAX_FUNCTIONS)
    for glob in globs:
        _check_text(name, glob, glob, accepted)
        _compiled(glob)


def is_taken_by(glob: str, text: str) -> bool:
    """Whether a glob, by the rules of those on functions, takes `text`."""
    return _compiled(glob).matches(text.encode("utf-8", "surrogatepass"))


def is_literal(function: str) -> bool:
    """Whether a glob that is the name `function` matches just that name, and is accepted."""
    return all(part.isidentifier() for part in function.split(".")) and len(function.encode()) <= MAX_TEXT


def is_meta(name: str, value: str) -> bool:
    """Whether a selection can ask for `value` in the field `name` of a meta."""
    try:
        _check_meta(((name, value),))
    except InvalidInput:
        return False
    return "=" not in name


# What a script must do for each job: a name is looked up in one text, a beginning or an end is compared, and all else
# is decided by itself. To decode a list for each of a hundred rules would take longer than that.
def _alternatives_record(any_of: tuple[Selection, ...]) -> dict[str, Any]:
    texts: dict[str, list[str]] = {"names": [], "starts": [], "ends": [], "globs": []}
    rest = []
    for each in any_of:
        if each == Selection(each.functions):
            for glob in each.functions:
                kind, text = _kind_of(glob)
                texts[kind].append(text)
        else:
            rest.append(each.to_record())
    globs = texts.pop("globs")
    parts = (globs[first : first + MAX_FUNCTIONS] for first in range(0, len(globs), MAX_FUNCTIONS))
    rest += [Selection(functions=tuple(part)).to_record() for part in parts]
    record: dict[str, Any] = {kind: _in_lines(found) for kind, found in texts.items() if found}
    return {**record, **({"rest": rest} if rest else {})}


def _kind_of(glob: str) -> tuple[str, str]:
    """Which of the texts a glob stands in, and how."""
    plain = _PLAIN.fullmatch(glob)
    if plain is None or (plain["before"] and plain["after"]):
        return "globs", glob
    return "starts" if plain["after"] else "ends" if plain["before"] else "names", plain["text"]


def _in_lines(texts: list[str]) -> str:
    return "\n".join(["", *texts, ""])


def _alternatives(record: Mapping[str, Any]) -> tuple[Selection, ...]:
    if not record.keys() <= {"names", "starts", "ends", "rest"}:
        raise ValueError("a criterion is not known")
    lines = {kind: filter(None, record.get(kind, "").split("\n")) for kind in ("names", "starts", "ends")}
    globs = (*lines["names"], *(f"{each}*" for each in lines["starts"]), *(f"*{each}" for each in lines["ends"]))
    return (*(Selection(functions=(glob,)) for glob in globs), *(_restored(**each) for each in record.get("rest", ())))


def _check_functions(functions: tuple[str, ...]) -> None:
    check_globs("function", functions, "a glob on the function's name, such as app.mail.*")


def _check_meta(meta: tuple[tuple[str, str], ...]) -> None:
    _check_count("meta", meta, MAX_META)
    for field, value in meta:
        _check_text("meta", field, f"{field}={value}", _META_ACCEPTED)
        _check_text("meta", value or "-", f"{field}={value}", _META_ACCEPTED)
    if len(dict(meta)) < len(meta):
        raise InvalidInput(name="meta", value=meta, accepted="each field once")


def _check_alternatives(any_of: tuple[Selection, ...]) -> None:
    if count_of_globs(any_of) > MAX_ALTERNATIVES or any(each.any_of or each.is_whole for each in any_of):
        accepted = f"at most {MAX_ALTERNATIVES} selections with criteria and without alternatives"
        raise InvalidInput(name="any_of", value=len(any_of), accepted=accepted)


def _check_count(name: str, values: object, most: int) -> None:
    # A plain string is several strings to Python: "app.*" would have "*" among its globs.
    if not isinstance(values, tuple) or len(values) > most:
        raise InvalidInput(name=name, value=values, accepted=f"at most {most} of them, in a tuple")


def _check_text(name: str, text: str, shown: str, accepted: str) -> None:
    if not text or _CONTROL.search(text) or len(text.encode()) > MAX_TEXT:
        limits = f"{accepted}, of at most {MAX_TEXT} bytes and without control characters"
        raise InvalidInput(name=name, value=shown, accepted=limits)


def _refused_glob(glob: str, accepted: str) -> InvalidInput:
    return InvalidInput(name="function", value=glob, accepted=accepted)


def _several(texts: str | Iterable[str]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _pair(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(name="meta", value=text, accepted=_META_ACCEPTED)
    return field, value


def _restored(**criteria: Any) -> Selection:
    older_than_ms = criteria.get("older_than_ms")
    selection = Selection(
        functions=tuple(compiled["glob"] for compiled in criteria.get("functions", ())),
        meta=tuple(criteria.get("meta", {}).items()),
        older_than=None if older_than_ms is None else timedelta(milliseconds=older_than_ms),
        any_of=_alternatives(criteria["any"]) if "any" in criteria else (),
    )
    if selection.to_record().keys() != criteria.keys():
        raise ValueError("a criterion is empty or not known")
    return selection
