"""One table of fields (pydantic): read, write, check and describe a policy document.

A document is what TOML or JSON gives: tables, lists and plain values. `policy_form` checks one that
a person wrote; here one that was checked is read, without pydantic, which workers need not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from shedder.errors import InvalidInput
from shedder.lanes import parse_priority
from shedder.policy.model import POLICY_VERSION, Defaults, IncidentPolicy, Mitigation, Policy, Rule
from shedder.selection import Selection
from shedder.units import Rate, format_duration, parse_duration

Document = Mapping[str, Any]

RULE_KEYS = frozenset({"queue", "function", "meta", "priority", "shed", "noun", "tolerance"})


def policy_from(document: Document) -> Policy:
    """The policy that a checked `document` describes.

    Of a newer shedder's document it takes what it knows. A rule with a key that is not known here
    is left out as a whole: half of its criteria would match jobs that are not meant.

    Raises:
        InvalidInput, KeyError, TypeError, ValueError: it was not checked, or is damaged.
    """
    stale = document.get("stale", {}).get("after")
    return Policy(
        rules=tuple(_rule(each) for each in document.get("rules", ()) if set(each) <= RULE_KEYS),
        defaults=_defaults(document.get("defaults", {})),
        stale_after=None if stale is None else parse_duration(stale),
        notices={name: each["notices"] for name, each in document.get("flags", {}).items()
                 if "notices" in each},
        mitigations={name: _mitigation(name, each)
                     for name, each in document.get("mitigations", {}).items()},
        incident=_incident(document.get("incident", {})),
    )  # fmt: skip


def document_of(policy: Policy) -> dict[str, Any]:
    """The document that `policy_from` reads as `policy`; what says nothing is left out."""
    tables = {
        "rules": [_rule_document(rule) for rule in policy.rules],
        "defaults": _said(
            drain_rate=None if policy.defaults.drain_rate is None
            else str(policy.defaults.drain_rate),
            **{name: _duration(getattr(policy.defaults, name)) for name in _EXPIRIES},
        ),
        "stale": _said(after=_duration(policy.stale_after)),
        "flags": {name: {"notices": text} for name, text in policy.notices.items()},
        "mitigations": {
            name: {"run": [*each.run], "timeout": _duration(each.timeout), "kind": each.kind}
            for name, each in policy.mitigations.items()
        },
        "incident": _incident_document(policy.incident),
    }  # fmt: skip
    return {"version": POLICY_VERSION, **{name: each for name, each in tables.items() if each}}


def selection_from(rule: Document) -> Selection:
    """Which jobs of its queues a rule of a document means."""
    functions = rule.get("function", ())
    return Selection(
        functions=(functions,) if isinstance(functions, str) else tuple(functions),
        meta=tuple((name, str(value)) for name, value in rule.get("meta", {}).items()),
    )


_EXPIRIES = ("pause_for", "limit_for", "flag_for")


def _rule(document: Document) -> Rule:
    tolerance, priority = document.get("tolerance"), document.get("priority")
    return Rule(
        queue=document.get("queue", "*"),
        selection=selection_from(document),
        priority=None if priority is None else parse_priority(priority),
        shed=document.get("shed"),
        noun=document.get("noun", ""),
        tolerance=None if tolerance is None else parse_duration(tolerance),
    )


def _rule_document(rule: Rule) -> dict[str, Any]:
    functions = rule.selection.functions
    return _said(
        queue=rule.queue,
        function=functions[0] if len(functions) == 1 else [*functions] or None,
        meta=dict(rule.selection.meta) or None,
        priority=rule.priority,
        shed=rule.shed,
        noun=rule.noun or None,
        tolerance=_duration(rule.tolerance),
    )


def _defaults(document: Document) -> Defaults:
    rate = document.get("drain_rate")
    return Defaults(
        drain_rate=None if rate is None else Rate.parse(rate),
        **{name: parse_duration(document[name]) for name in _EXPIRIES if name in document},
    )


def _mitigation(name: str, document: Document) -> Mitigation:
    return Mitigation(
        name=name,
        run=tuple(document["run"]),
        timeout=parse_duration(document.get("timeout", "5m")),
        kind=document.get("kind", "other"),
    )


def _incident(document: Document) -> IncidentPolicy:
    plain = IncidentPolicy()
    every = document.get("update_every", {})
    return IncidentPolicy(
        update_every=parse_duration(every) if isinstance(every, str) else plain.update_every,
        update_every_by_severity={} if isinstance(every, str) else {
            int(severity): parse_duration(text) for severity, text in every.items()
        },
        posts_by_itself=document.get("posts_by_itself", plain.posts_by_itself),
        channels={name: tuple(urls) for name, urls in document.get("channels", {}).items()},
        people=tuple(document.get("people", ())),
        **{name: document.get(name, "") for name in _PATHS},
    )  # fmt: skip


_PATHS = ("templates", "status_page", "export")


def _incident_document(incident: IncidentPolicy) -> dict[str, Any]:
    plain, by_severity = IncidentPolicy(), incident.update_every_by_severity
    every = {str(severity): _duration(each) for severity, each in by_severity.items()}
    is_plain = incident.update_every == plain.update_every
    return _said(
        update_every=every or (None if is_plain else _duration(incident.update_every)),
        posts_by_itself=incident.posts_by_itself or None,
        channels={name: [*urls] for name, urls in incident.channels.items()} or None,
        people=[*incident.people] or None,
        **{name: getattr(incident, name) or None for name in _PATHS},
    )


def _duration(value: timedelta | None) -> str | None:
    return None if value is None else format_duration(value, exact=True)


def _said(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def checked_glob(text: str, *, name: str) -> str:
    """`text`, if it is a name or a glob.

    Raises:
        InvalidInput: it is empty, too long, has control characters or half a bracket.
    """
    try:
        Selection(functions=(text,))
    except InvalidInput as error:
        raise InvalidInput(name=name, value=text, accepted=error.accepted) from None
    return text
