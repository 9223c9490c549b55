"""The form of a policy document: what each key may hold, and what is wrong in words.

pydantic takes a moment to load, so only commands on a policy's file import this module.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shedder.errors import InvalidInput, PolicyInvalid, PolicyProblem, PolicyTooNew
from shedder.policy.document import checked_glob, policy_from, selection_from
from shedder.policy.model import POLICY_VERSION, SAYINGS, SEVERITIES, Policy
from shedder.units import Rate, parse_duration

SHORTEST_INTERVAL = timedelta(minutes=15)
LONGEST_INTERVAL = timedelta(minutes=30)
"""An update is due within these: more often nobody reads, less often everybody asks."""

LONGEST_NAME = 100


def checked_policy(document: Mapping[str, Any], *, source: str) -> Policy:
    """The policy that `document` describes; `source` is what the error calls it.

    Raises:
        PolicyTooNew: it is of a newer version.
        PolicyInvalid: it has problems; the error lists all of them.
    """
    version = document.get("version")
    if isinstance(version, int) and version > POLICY_VERSION:
        raise PolicyTooNew(source, version=version, known=POLICY_VERSION)
    try:
        form = PolicyForm.model_validate(document)
    except ValidationError as error:
        raise PolicyInvalid(source, problems=problems_of(error)) from None
    return policy_from(form.model_dump(exclude_none=True, exclude_unset=True))


def problems_of(error: ValidationError) -> tuple[PolicyProblem, ...]:
    """What is wrong, each with its place and what is accepted there, in order of the places."""
    found = error.errors(include_url=False, include_input=True)
    return tuple(problem_from(PolicyForm, each) for each in found)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a policy, for editors."""
    schema = PolicyForm.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "shedder.policy/1"}
    return {**head, **{name: each for name, each in schema.items() if name != "title"}}


def _refusing(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A check of ours as one of pydantic's: it passes the value on as it was written."""

    def validate(value: Any) -> Any:
        try:
            check(value)
        except InvalidInput as error:
            raise PydanticCustomError(
                "not_accepted", "{accepted}", {"accepted": error.accepted}
            ) from None
        return value

    return validate


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or _UNPRINTABLE.search(value):
        raise InvalidInput(name="", value=value, accepted="a text that is not empty, on one line")
    return value


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _duration(value: Any) -> timedelta:
    return parse_duration(value if isinstance(value, str) else repr(value))


def _pace(value: Any) -> Rate:
    return Rate.parse(value if isinstance(value, str) else repr(value))


def _glob(value: Any) -> str:
    return checked_glob(_text(value), name="glob")


def _globs(value: Any) -> None:
    if not isinstance(value, str | list) or not value:
        raise InvalidInput(name="", value=value, accepted="a glob such as app.mail.*, or several")
    for glob in [value] if isinstance(value, str) else value:
        _glob(glob)
    selection_from({"function": value})


def _meta(value: Any) -> None:
    is_plain = isinstance(value, dict) and all(
        isinstance(each, str | int | float | bool) for each in value.values()
    )
    if not is_plain:
        accepted = 'a table of texts, numbers or truths, such as { tenant = "acme" }'
        raise InvalidInput(name="", value=value, accepted=accepted)
    selection_from({"meta": value})


def _interval(value: Any) -> None:
    texts = [*value.values()] if isinstance(value, dict) else [value]
    severities = [*value] if isinstance(value, dict) else []
    is_known = {str(each) for each in SEVERITIES}.issuperset(map(str, severities))
    if not is_known or not texts or not all(map(_is_interval, texts)):
        accepted = 'a duration from 15m to 30m, or one for each severity: { 1 = "15m", 2 = "30m" }'
        raise InvalidInput(name="", value=value, accepted=accepted)


def _is_interval(value: Any) -> bool:
    try:
        return SHORTEST_INTERVAL <= _duration(value) <= LONGEST_INTERVAL
    except InvalidInput:
        return False


def _channel(value: Any) -> None:
    if not isinstance(value, str) or not _CHANNEL.fullmatch(value):
        accepted = "an Apprise URL such as slack://..., or env:NAME of a variable that holds one"
        raise InvalidInput(name="", value="", accepted=accepted)


_CHANNEL = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|[a-z][a-z0-9+.-]*://\S+")


def _person(value: Any) -> None:
    if len(_text(value)) > LONGEST_NAME or not value.isprintable() or " " in value:
        accepted = f"a name without spaces, of at most {LONGEST_NAME} characters: ana@desk"
        raise InvalidInput(name="", value=value, accepted=accepted)


def _checked(check: Callable[[Any], Any], **schema: Any) -> Any:
    return PlainValidator(_refusing(check)), WithJsonSchema(schema)


_TEXT = {"type": "string", "minLength": 1}
_INTERVAL = {"type": "string", "examples": ["15m", "30m"]}

Text = Annotated[str, *_checked(_text, **_TEXT)]
Glob = Annotated[str, *_checked(_glob, **_TEXT, maxLength=200)]
Globs = Annotated[
    str | list[str],
    *_checked(_globs, anyOf=[_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]),
]
Meta = Annotated[
    dict[str, Any],
    *_checked(_meta, type="object", additionalProperties={"type": ["string", "number", "boolean"]}),
]
Duration = Annotated[str, *_checked(_duration, type="string", examples=["90s", "10m", "1h30m"])]
Interval = Annotated[
    str | dict[str, str],
    *_checked(_interval, anyOf=[_INTERVAL, {
        "type": "object", "propertyNames": {"enum": [str(each) for each in SEVERITIES]},
        "additionalProperties": _INTERVAL, "minProperties": 1}]),
]  # fmt: skip
Pace = Annotated[str, *_checked(_pace, type="string", examples=["200/second", "100/minute"])]
Channel = Annotated[str, *_checked(_channel, **_TEXT)]
Person = Annotated[str, *_checked(_person, **_TEXT, maxLength=LONGEST_NAME)]


class Table(BaseModel):
    """A table of the policy; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RuleForm(Table):
    """Jobs of some queues, and what holds for them. The first rule that matches decides."""

    queue: Glob = Field(default="*", description="Name of a queue, or a glob on names.")
    function: Globs | None = Field(
        default=None, description="Glob on the dotted name of the function, or several."
    )
    meta: Meta | None = Field(default=None, description="Fields of the job's meta; all must match.")
    priority: Literal["critical", "high", "normal", "low"] | None = Field(
        default=None,
        description="Priority of these jobs; a rule with only a queue declares the whole.",
    )
    shed: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="They may be shed; smaller numbers go first."
    )
    noun: Text | None = Field(
        default=None, description="What the business calls them, in the plural."
    )
    tolerance: Duration | None = Field(
        default=None, description="They are late when they wait longer."
    )

    @model_validator(mode="after")
    def _says_something(self) -> RuleForm:
        if all(getattr(self, saying) is None for saying in SAYINGS):
            accepted = f"at least one of {', '.join(SAYINGS)} in each rule"
            raise PydanticCustomError("says_nothing", "{accepted}", {"accepted": accepted})
        return self


class DefaultsForm(Table):
    """What holds when a command does not say it."""

    drain_rate: Pace | None = Field(default=None, description="Pace of a `drain` without --rate.")
    pause_for: Duration | None = Field(
        default=None, description="A `pause` without --for ends after it."
    )
    limit_for: Duration | None = Field(
        default=None, description="A limit without --for ends after it."
    )
    flag_for: Duration | None = Field(
        default=None, description="A flag that is degraded without --for is restored after it."
    )


class StaleForm(Table):
    """Old work in a backlog is set aside in a registry, from which it can be replayed."""

    after: Duration = Field(description="How old a job must be to be set aside.")


class FlagForm(Table):
    """A flag in business terms."""

    notices: Text = Field(description="What the customer notices when the flag is degraded.")


class MitigationForm(Table):
    """A measure outside the queues, declared before it is needed."""

    run: Annotated[list[Text], Field(min_length=1)] = Field(
        description="Program and arguments, no shell; {name} is filled in by --name."
    )
    timeout: Duration = Field(default="5m", description="The longest that it may take.")
    kind: Literal["rollback", "scale", "other"] = Field(default="other", description="What it is.")


class IncidentForm(Table):
    """How the team tells others of an incident."""

    update_every: Interval = Field(
        default="15m", description="How often an update is due, 15m to 30m; or that by severity."
    )
    posts_by_itself: bool = Field(
        default=False, description="The computed part of an update is posted when nobody does."
    )
    channels: dict[str, list[Channel]] = Field(
        default_factory=dict, description="Apprise URLs, or env:NAME, by name: main, notes."
    )
    templates: Text | None = Field(default=None, description="Folder of templates of your own.")
    status_page: Text | None = Field(default=None, description="Folder for the status page.")
    export: Text | None = Field(default=None, description="Folder for copies of the records.")
    people: Annotated[list[Person], Field(min_length=1)] | None = Field(
        default=None, description="Who can have a role in an incident, as --by names them."
    )


class PolicyForm(Table):
    """Which work matters, which may wait, and what customers notice."""

    version: Annotated[int, Field(ge=1, le=1)] = Field(description="Version of this form: 1.")
    rules: list[RuleForm] = Field(
        default_factory=list, description="In order; the first that matches decides."
    )
    defaults: DefaultsForm = Field(default=DefaultsForm())
    stale: StaleForm | None = Field(default=None)
    flags: dict[str, FlagForm] = Field(default_factory=dict, description="By flag.")
    mitigations: dict[str, MitigationForm] = Field(default_factory=dict, description="By name.")
    incident: IncidentForm = Field(default=IncidentForm())


LONGEST_VALUE = 60


def problem_from(form: type[BaseModel], error: Mapping[str, Any]) -> PolicyProblem:
    """The problem that one of pydantic's errors in a document of `form` tells of."""
    where: Sequence[str | int] = error["loc"]
    is_shown = error["type"] not in _WITHOUT_VALUE and "channels" not in where
    return PolicyProblem(
        place=place_of(where) or "the policy",
        value=_shortened(error["input"]) if is_shown else "",
        accepted=_accepted(form, error, where),
    )


def place_of(where: Sequence[str | int]) -> str:
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

_KINDS = {
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


def _accepted(form: type[BaseModel], error: Mapping[str, Any], where: Sequence[str | int]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"this key, which must be there: {_described(form, where)}"
    if kind == "extra_forbidden":
        return _known_keys(form, where)
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in ("greater_than_equal", "less_than_equal"):
        return "a whole number within " + _range_at(form, where)
    if "expected" in context:
        return f"one of {context['expected']}"
    if "accepted" in context:
        return str(context["accepted"])
    return str(error["msg"])


def _known_keys(form: type[BaseModel], where: Sequence[str | int]) -> str:
    known = [*_form_at(form, where[:-1]).model_fields]
    nearest = difflib.get_close_matches(str(where[-1]), known, n=1)
    if nearest:
        return f"{nearest[0]}, if that was meant; known here are {', '.join(known)}"
    return f"keys that are known here: {', '.join(known)}"


def _described(form: type[BaseModel], where: Sequence[str | int]) -> str:
    field = _form_at(form, where[:-1]).model_fields[str(where[-1])]
    return (field.description or "").rstrip(".").lower()


def _range_at(form: type[BaseModel], where: Sequence[str | int]) -> str:
    schema = _form_at(form, where[:-1]).model_json_schema()["properties"][str(where[-1])]
    bounds = {**schema, **next(iter(schema.get("anyOf", ())), {})}
    return f"{bounds.get('minimum')} to {bounds.get('maximum')}"


def _form_at(form: type[BaseModel], where: Sequence[str | int]) -> type[BaseModel]:
    """The form of the table at a place; the numbers and names in between lead into it."""
    found = form
    for part in where:
        field = found.model_fields.get(str(part))
        if field is not None:
            found = _form_within(field.annotation) or found
    return found


def _form_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_form_within(each) for each in getattr(annotation, "__args__", ()))
    return next((each for each in inner if each is not None), None)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
