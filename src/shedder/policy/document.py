"""The keys of a policy document in one table, by which it is read, written, checked and described.

A document is what TOML or JSON gives: tables, lists and plain values. pydantic checks a document
that a person wrote, and is loaded for that only: a worker reads a document that was checked.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Any, Literal, Optional

from shedder.errors import InvalidInput, PolicyInvalid, PolicyProblem, PolicyTooNew
from shedder.lanes import PRIORITIES, parse_priority
from shedder.policy import model
from shedder.selection import Selection
from shedder.units import Rate, format_duration, format_share, parse_duration, parse_share

Document = Mapping[str, Any]

SHORTEST_INTERVAL = timedelta(minutes=15)
LONGEST_INTERVAL = timedelta(minutes=30)
"""An update is due within these: more often nobody reads, less often everybody asks."""

LONGEST_PERSON = 100
LONGEST_SHOWN = 60
LONGEST_TITLE = 40


def policy_from(document: Document) -> model.Policy:
    """The policy that a checked `document` describes.

    Of a newer shedder's document it takes what it knows. A rule with a key that is not known here
    is left out as a whole: half of its criteria would match jobs that are not meant.

    Raises:
        InvalidInput, KeyError, TypeError, ValueError: it was not checked, or is damaged.
    """
    flags, mitigations = document.get("flags", {}), document.get("mitigations", {})
    retries = dict(document.get("retries", ()))
    return model.Policy(
        rules=tuple(
            _rule({**each, "retry": retries[index]} if index in retries else each)
            for index, each in enumerate(document.get("rules", ()))
            if {*each} <= {*RULE.keys}
        ),
        defaults=model.Defaults(**_read(DEFAULTS, document.get("defaults"))),
        stale_after=_read(STALE, document.get("stale")).get("after"),
        notices={name: each["notices"] for name, each in flags.items() if "notices" in each},
        mitigations={
            name: model.Mitigation(name=name, **_read(_MITIGATION, each)) for name, each in mitigations.items()
        },
        incident=_incident(document.get("incident")),
        web=model.WebPolicy(**_read(_WEB, document.get("web"))),
    )


def document_of(policy: model.Policy) -> dict[str, Any]:
    """The document that `policy_from` reads as `policy`; what says nothing is left out."""
    tables = {
        "rules": [
            _written(RULE, rule, function=rule.selection.functions, meta=rule.selection.meta) for rule in policy.rules
        ],
        "defaults": _written(DEFAULTS, policy.defaults),
        "stale": _written(STALE, after=policy.stale_after),
        "flags": {name: {"notices": text} for name, text in policy.notices.items()},
        "mitigations": {name: _written(_MITIGATION, each) for name, each in policy.mitigations.items()},
        "incident": _written(_INCIDENT, policy.incident, update_every=_every(policy.incident)),
        "web": _written(_WEB, policy.web),
    }
    return {"version": model.POLICY_VERSION, **{name: each for name, each in tables.items() if each}}


def checked_policy(document: Document, *, source: str) -> model.Policy:
    """The policy that `document` describes; `source` is what the error calls it.

    Raises:
        PolicyTooNew: it is of a newer version.
        PolicyInvalid: it has problems; the error lists all of them.
    """
    from pydantic import ValidationError

    version = document.get("version")
    if isinstance(version, int) and version > model.POLICY_VERSION:
        raise PolicyTooNew(source, version=version, known=model.POLICY_VERSION)
    try:
        _form_of(_POLICY).model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=True)
        raise PolicyInvalid(source, problems=tuple(map(_problem, found))) from None
    return policy_from(document)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a policy, for editors."""
    schema = _form_of(_POLICY).model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "shedder.policy/1"}
    return {**head, **{name: each for name, each in schema.items() if name != "title"}}


def _rule(document: Document) -> model.Rule:
    said = _read(RULE, document)
    selection = Selection(functions=said.pop("function", ()), meta=said.pop("meta", ()))
    label = said.pop("noun", "")
    return model.Rule(selection=selection, **{"label": label, **said})


def _incident(document: Document | None) -> model.IncidentPolicy:
    said = _read(_INCIDENT, document)
    if isinstance(said.get("update_every"), dict):
        said["update_every_by_severity"] = said.pop("update_every")
    return model.IncidentPolicy(**said)


def _every(incident: model.IncidentPolicy) -> Mapping[int, timedelta] | timedelta | None:
    is_plain = incident.update_every == model.IncidentPolicy().update_every
    return incident.update_every_by_severity or (None if is_plain else incident.update_every)


def _read(table: KeyTable, document: Document | None) -> dict[str, Any]:
    said = document or {}
    return {name: key.kind.read(said[name]) for name, key in table.keys.items() if said.get(name) is not None}


def _written(table: KeyTable, record: object = None, **others: Any) -> dict[str, Any]:
    """What `record` says with the keys of `table`; `others` is what it keeps in another form."""
    values = {name: others.get(name, getattr(record, name, None)) for name in table.keys}
    said = {name: value for name, value in values.items() if value not in (None, "", (), {})}
    return {name: table.keys[name].kind.write(value) for name, value in said.items()
            if value or table.keys[name].default is not False}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """What keys hold.

    Attributes:
        form: The type that pydantic checks; for tables, what makes it from the type of one.
        read: From a document's value to a policy's.
        write: From a policy's value to a document's.
        bounds: Limits that pydantic checks besides.
    """

    form: Any
    read: Callable[[Any], Any] = lambda value: value
    write: Callable[[Any], Any] = lambda value: value
    bounds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Key:
    """A key of a table.

    Attributes:
        kind: What it holds.
        description: What it says, for the schema, the reference and the errors.
        default: Its value where a document has none; None for nothing, `...` where one must.
        table: What each table in it may hold; None when it holds none.
        is_old: An older name, which is read and never written.
    """

    kind: Kind
    description: str | None = None
    default: Any = None
    table: KeyTable | None = None
    is_old: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class KeyTable:
    """A table of the document.

    Attributes:
        name: How the schema calls it.
        description: What it is for.
        keys: By name, in the order in which they are written.
    """

    name: str
    description: str
    keys: Mapping[str, Key]


class Checked:
    """A check of ours in a type of pydantic's; it passes the value on as it was written."""

    def __init__(self, check: Callable[[Any], object], **schema: Any) -> None:
        self._check = check
        self._schema = schema

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> Any:
        """How pydantic checks it."""
        from pydantic_core import PydanticCustomError, core_schema

        def checked(value: Any) -> Any:
            try:
                self._check(value)
            except InvalidInput as error:
                accepted = {"accepted": error.accepted}
                raise PydanticCustomError("not_accepted", "{accepted}", accepted) from None
            return value

        return core_schema.no_info_plain_validator_function(checked)

    def __get_pydantic_json_schema__(self, _schema: object, _handler: object) -> dict[str, Any]:
        """What editors check of it."""
        return dict(self._schema)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or _UNPRINTABLE.search(value):
        raise InvalidInput(name="", value=value, accepted="a text that is not empty, on one line")
    return value


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _duration(value: Any) -> timedelta:
    return parse_duration(value if isinstance(value, str) else repr(value))


def _share(value: Any) -> float:
    return parse_share(value if isinstance(value, str) else repr(value))


def _pace(value: Any) -> Rate:
    return Rate.parse(value if isinstance(value, str) else repr(value))


def _glob(value: Any) -> None:
    Selection(functions=(_text(value),))


def _globs(value: Any) -> None:
    if not isinstance(value, str | list) or not value:
        raise InvalidInput(name="", value=value, accepted="a glob such as app.mail.*, or several")
    for glob in _several(value):
        _glob(glob)
    Selection(functions=_several(value))


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _meta(value: Any) -> None:
    is_plain = isinstance(value, dict) and all(isinstance(each, str | int | float | bool) for each in value.values())
    if not is_plain:
        accepted = 'a table of texts, numbers or truths, such as { tenant = "acme" }'
        raise InvalidInput(name="", value=value, accepted=accepted)
    Selection(meta=_pairs(value))


def _pairs(value: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(each)) for name, each in value.items())


def _interval(value: Any) -> None:
    by_severity = value if isinstance(value, dict) else {model.SEVERITIES[0]: value}
    is_known = {*map(str, model.SEVERITIES)}.issuperset(map(str, by_severity))
    if not is_known or not by_severity or not all(map(_is_interval, by_severity.values())):
        accepted = 'a duration from 15m to 30m, or one for each severity: { 1 = "15m", 2 = "30m" }'
        raise InvalidInput(name="", value=value, accepted=accepted)


def _is_interval(value: Any) -> bool:
    try:
        return SHORTEST_INTERVAL <= _duration(value) <= LONGEST_INTERVAL
    except InvalidInput:
        return False


def _read_interval(value: Any) -> timedelta | dict[int, timedelta]:
    if isinstance(value, str):
        return parse_duration(value)
    return {int(severity): parse_duration(each) for severity, each in value.items()}


def _written_interval(value: timedelta | Mapping[int, timedelta]) -> str | dict[str, str]:
    if isinstance(value, timedelta):
        return _written_duration(value)
    return {str(severity): _written_duration(each) for severity, each in value.items()}


def _written_duration(value: timedelta) -> str:
    return format_duration(value, exact=True)


def _channel(value: Any) -> None:
    if not isinstance(value, str) or not _CHANNEL.fullmatch(value):
        accepted = "an Apprise URL such as slack://..., or env:NAME of a variable that holds one"
        raise InvalidInput(name="", value="", accepted=accepted)


_CHANNEL = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|[a-z][a-z0-9+.-]*://\S+")


def _short_text(value: Any) -> None:
    if len(_text(value)) > LONGEST_TITLE or not value.isprintable():
        raise InvalidInput(name="", value=value, accepted=f"a text of at most {LONGEST_TITLE} characters")


def _person(value: Any) -> None:
    if len(_text(value)) > LONGEST_PERSON or not value.isprintable() or " " in value:
        accepted = f"a name without spaces, of at most {LONGEST_PERSON} characters: ana@desk"
        raise InvalidInput(name="", value=value, accepted=accepted)


_OneOf: Any = Literal  # whose arguments are constants of ours

_A_TEXT = {"type": "string", "minLength": 1}
_AN_INTERVAL = {"type": "string", "examples": ["15m", "30m"]}
_Text = Annotated[str, Checked(_text, **_A_TEXT)]
_Channel = Annotated[str, Checked(_channel, **_A_TEXT)]
_Person = Annotated[str, Checked(_person, **_A_TEXT, maxLength=LONGEST_PERSON)]

TEXT = Kind(_Text)
TRUTH = Kind(bool)
VERSION = Kind(int, bounds={"ge": 1, "le": 1})
SHED_NUMBER = Kind(int, bounds={"ge": 1, "le": 1000})
PRIORITY = Kind(_OneOf[PRIORITIES], parse_priority)
MITIGATION_KIND = Kind(_OneOf[model.MITIGATION_KINDS])
COLOUR = Kind(_OneOf[model.WEB_COLOURS])
SHORT_TEXT = Kind(Annotated[str, Checked(_short_text, **_A_TEXT, maxLength=LONGEST_TITLE)])
GLOB = Kind(Annotated[str, Checked(_glob, **_A_TEXT, maxLength=200)])
GLOBS = Kind(
    Annotated[Any, Checked(_globs, anyOf=[_A_TEXT, {"type": "array", "items": _A_TEXT, "minItems": 1}])],
    _several,
    lambda globs: globs[0] if len(globs) == 1 else [*globs],
)
META = Kind(
    Annotated[Any, Checked(_meta, type="object", additionalProperties={"type": ["string", "number", "boolean"]})],
    _pairs,
    dict,
)
DURATION = Kind(
    Annotated[str, Checked(_duration, type="string", examples=["90s", "10m", "1h30m"])],
    parse_duration, _written_duration,
)  # fmt: skip
INTERVAL = Kind(
    Annotated[Any, Checked(_interval, anyOf=[_AN_INTERVAL, {
        "type": "object", "propertyNames": {"enum": [str(each) for each in model.SEVERITIES]},
        "additionalProperties": _AN_INTERVAL, "minProperties": 1}])],
    _read_interval, _written_interval,
)  # fmt: skip
SHARE = Kind(
    Annotated[str, Checked(_share, type="string", examples=["20%", "never"])],
    parse_share, format_share,
)  # fmt: skip
PACE = Kind(
    Annotated[str, Checked(_pace, type="string", examples=["200/second", "100/minute"])],
    Rate.parse, str,
)  # fmt: skip
TEXTS = Kind(list[_Text], tuple, list, {"min_length": 1})
PEOPLE = Kind(list[_Person], tuple, list, {"min_length": 1})
CHANNELS = Kind(
    dict[str, list[_Channel]],
    lambda urls: {name: tuple(each) for name, each in urls.items()},
    lambda urls: {name: [*each] for name, each in urls.items()},
)
ONE_TABLE = Kind(lambda form: form)
TABLES = Kind(lambda form: GenericAlias(list, form))
TABLES_BY_NAME = Kind(lambda form: GenericAlias(dict, (str, form)))

RULE = KeyTable(
    "RuleForm",
    "Jobs of some queues, and what holds for them. The first rule that matches decides.",
    {
        "queue": Key(GLOB, "Name of a queue, or a glob on names.", "*"),
        "function": Key(GLOBS, "Glob on the dotted name of the function, or several."),
        "meta": Key(META, "Fields of the job's meta; all must match."),
        "priority": Key(PRIORITY, "Priority of these jobs; a rule with only a queue declares the whole."),
        "shed": Key(SHED_NUMBER, "They may be shed; smaller numbers go first."),
        "label": Key(TEXT, "What the business calls them, in the plural."),
        "tolerance": Key(DURATION, "They are late when they wait longer."),
        "retry": Key(TRUTH, "With `false` they are not brought back by `retry` when they have failed."),
        "noun": Key(TEXT, "The older name of `label`.", is_old=True),
    },
)

DEFAULTS = KeyTable(
    "DefaultsForm",
    "What holds when a command does not say it.",
    {
        "drain_rate": Key(PACE, "Pace of a `drain` without --rate."),
        "pause_for": Key(DURATION, "A `pause` without --for ends after it."),
        "limit_for": Key(DURATION, "A limit without --for ends after it."),
        "flag_for": Key(DURATION, "A flag that is degraded without --for is restored after it."),
        "fails_at": Key(SHARE, "Work fails where this share of its jobs failed in five minutes."),
        "halt_at": Key(SHARE, "A `drain` halts where this share of its last jobs failed."),
    },
)

STALE = KeyTable(
    "StaleForm",
    "Old work in a backlog is set aside in a registry, from which it can be replayed.",
    {"after": Key(DURATION, "How old a job must be to be set aside.", ...)},
)

_FLAG = KeyTable(
    "FlagForm",
    "A flag in business terms.",
    {"notices": Key(TEXT, "What the customer notices when the flag is degraded.", ...)},
)

_MITIGATION = KeyTable(
    "MitigationForm",
    "A measure outside the queues, declared before it is needed.",
    {
        "run": Key(TEXTS, "Program and arguments, no shell; {name} is filled in by --name.", ...),
        "timeout": Key(DURATION, "The longest that it may take.", "5m"),
        "kind": Key(MITIGATION_KIND, "What it is.", "other"),
    },
)

_INCIDENT = KeyTable(
    "IncidentForm",
    "How the team tells others of an incident.",
    {
        "update_every": Key(INTERVAL, "How often an update is due, 15m to 30m; or that by severity.", "15m"),
        "posts_by_itself": Key(TRUTH, "The computed part of an update is posted when nobody does.", default=False),
        "channels": Key(CHANNELS, "Apprise URLs, or env:NAME, by name: main, notes.", dict),
        "templates": Key(TEXT, "Folder of templates of your own."),
        "status_page": Key(TEXT, "Folder for the status page."),
        "export": Key(TEXT, "Folder for copies of the records."),
        "people": Key(PEOPLE, "Who can have a role in an incident, as --by names them."),
    },
)

_WEB = KeyTable(
    "WebForm",
    "What stands in sight on every page of the control room.",
    {
        "name": Key(SHORT_TEXT, "What is run here, such as `production`."),
        "colour": Key(COLOUR, "The colour of its name."),
    },
)

_POLICY = KeyTable(
    "PolicyForm",
    "Which work matters, which may wait, and what customers notice.",
    {
        "version": Key(VERSION, "Version of this form: 1.", ...),
        "rules": Key(TABLES, "In order; the first that matches decides.", list, RULE),
        "defaults": Key(ONE_TABLE, default=dict, table=DEFAULTS),
        "stale": Key(ONE_TABLE, table=STALE),
        "flags": Key(TABLES_BY_NAME, "By flag.", dict, _FLAG),
        "mitigations": Key(TABLES_BY_NAME, "By name.", dict, _MITIGATION),
        "incident": Key(ONE_TABLE, default=dict, table=_INCIDENT),
        "web": Key(ONE_TABLE, default=dict, table=_WEB),
    },
)


@lru_cache
def _form_of(table: KeyTable) -> Any:
    """The model of pydantic for a table; keys that it does not know are refused."""
    from pydantic import ConfigDict, create_model, model_validator

    checks: Any = {"says_something": model_validator(mode="after")(_says_something)}
    fields: dict[str, Any] = {name: _field(key) for name, key in table.keys.items()}
    return create_model(
        table.name,
        __doc__=table.description,
        __config__=ConfigDict(extra="forbid", strict=True, frozen=True),
        __validators__=checks if table is RULE else {},
        **fields,
    )


def _field(key: Key) -> tuple[Any, Any]:
    from pydantic import Field

    form = key.kind.form if key.table is None else key.kind.form(_form_of(key.table))
    details: dict[str, Any] = {"description": key.description, **key.kind.bounds}
    if key.kind is ONE_TABLE and key.default:
        details["default"] = _form_of(key.table)()
    else:
        details["default_factory" if isinstance(key.default, type) else "default"] = key.default
    if key.is_old:
        details["json_schema_extra"] = {"deprecated": True}
    return (Optional[form] if key.default is None else form), Field(**details)  # noqa: UP045


def _says_something(form: Any) -> Any:
    from pydantic_core import PydanticCustomError

    if all(getattr(form, name) is None for name in (*model.SAYINGS, "noun")):
        accepted = f"at least one of {', '.join(model.SAYINGS)} in each rule"
        raise PydanticCustomError("says_nothing", "{accepted}", {"accepted": accepted})
    return form


def _problem(error: Mapping[str, Any]) -> PolicyProblem:
    """The problem that one of pydantic's errors tells of."""
    where: Sequence[str | int] = error["loc"]
    is_shown = error["type"] not in _WITHOUT_VALUE and "channels" not in where
    text = repr(error["input"]) if is_shown else ""
    return PolicyProblem(
        place=_place(where) or "the policy",
        value=text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}...",
        accepted=_accepted(error, where),
    )


def _place(where: Sequence[str | int]) -> str:
    """A place as a person counts: `rules[1].tolerance` is of the first rule."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            name = part if part.replace("_", "").replace("-", "").isalnum() else f'"{part}"'
            text += f".{name}" if text else name
    return text


_WITHOUT_VALUE = frozenset({"missing", "extra_forbidden", "says_nothing"})

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "too_short": "a list that is not empty",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def _accepted(error: Mapping[str, Any], where: Sequence[str | int]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if "accepted" in context:
        return str(context["accepted"])
    if "expected" in context:
        return f"one of {context['expected']}"
    if kind not in ("missing", "extra_forbidden", "greater_than_equal", "less_than_equal"):
        return str(error["msg"])
    keys = _table_at(where[:-1]).keys
    if kind == "extra_forbidden":
        return _known(str(where[-1]), [name for name, key in keys.items() if not key.is_old])
    key = keys[str(where[-1])]
    if kind == "missing":
        described = (key.description or "").rstrip(".").lower()
        return f"this key, which must be there: {described}"
    return "a whole number within {ge} to {le}".format(**key.kind.bounds)


def _known(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest:
        return f"{nearest[0]}, if that was meant; known here are {', '.join(known)}"
    return f"keys that are known here: {', '.join(known)}"


def _table_at(where: Sequence[str | int]) -> KeyTable:
    """The table at a place; the numbers and names in between lead into it."""
    found = _POLICY
    for part in where:
        key = found.keys.get(str(part))
        found = key.table if key and key.table else found
    return found
