"""What does an error that pydantic found in a policy say to who wrote the policy?"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from shedder.errors import PolicyProblem

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
