"""Policy files: one is found and read, and a first one is written from what was seen.

The first one decides nothing yet: each queue has a rule with its name and a label, and everything
else stands beside it as a remark, to be turned on by a person.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shedder.errors import InvalidInput, PolicyInvalid, PolicyProblem
from shedder.policy.document import DEFAULTS, RULE, STALE, KeyTable, checked_policy
from shedder.policy.explain import written_value
from shedder.policy.model import Policy
from shedder.units import format_duration
from shedder.wording import counted, jobs_do

FILE_NAME = "shedder.toml"
PROJECT_NAME = "pyproject.toml"


def find_policy_file(folder: Path) -> Path:
    """`shedder.toml` in `folder` or above, or a `pyproject.toml` that has `[tool.shedder]`.

    Raises:
        InvalidInput: there is neither.
        PolicyInvalid: a `pyproject.toml` on the way is no TOML.
    """
    found = policy_file_near(folder)
    if found is not None:
        return found
    raise InvalidInput(
        name="policy", value=str(folder),
        accepted=f"a folder with {FILE_NAME}, or with [tool.shedder] in its {PROJECT_NAME}; "
        "`shedder policy init` writes a first one",
    )  # fmt: skip


def policy_file_near(folder: Path) -> Path | None:
    """What `find_policy_file` finds; None when there is neither.

    Raises:
        InvalidInput, PolicyInvalid: a `pyproject.toml` on the way cannot be read, or is no TOML.
    """
    for each in (folder, *folder.parents):
        if (each / FILE_NAME).is_file():
            return each / FILE_NAME
        project = each / PROJECT_NAME
        if project.is_file() and "shedder" in _table(_read(project), "tool"):
            return project
    return None


def read_policy(path: Path) -> Policy:
    """The policy in the file at `path`, checked as a whole.

    Raises:
        PolicyInvalid: it is no TOML, or has problems; the error lists all of them.
        PolicyTooNew: it is of a newer version.
        InvalidInput: the file cannot be read.
    """
    document: Mapping[str, Any] = _read(path)
    if path.name == PROJECT_NAME:
        document = _table(_table(document, "tool"), "shedder")
    return checked_policy(document, source=str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        accepted = f"a file that can be read ({error.strerror})"
        raise InvalidInput(name="policy", value=str(path), accepted=accepted) from error
    except ValueError as error:  # not UTF-8, or not TOML
        problem = PolicyProblem(place="the file", value="", accepted=f"TOML; {error}")
        raise PolicyInvalid(str(path), problems=(problem,)) from error


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name, {})
    return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class SeenQueue:
    """What was seen of a queue.

    Attributes:
        name: Its name.
        waiting: Jobs that wait in it, or in its backlogs.
        arrivals: Jobs that arrive a second; None when it is not known.
        completions: Jobs that end a second; None when it is not known.
        failed: Failed jobs that RQ keeps.
        oldest_seconds: How long the oldest job has waited; None when none waits.
        functions: Functions of the jobs that were looked at, with how many of these.
        looked_at: How many jobs were looked at.
    """

    name: str
    waiting: int = 0
    arrivals: float | None = None
    completions: float | None = None
    failed: int = 0
    oldest_seconds: float | None = None
    functions: Mapping[str, int] = field(default_factory=dict)
    looked_at: int = 0


def sketched_policy(queues: Sequence[SeenQueue]) -> str:
    """A policy file for `queues`, with remarks; it reads as a policy that decides nothing."""
    return "\n".join([_HEAD, *(line for each in queues for line in _queue(each)), *_tail(queues)])


FUNCTIONS_SHOWN = 5

_HEAD = """\
# What matters, what may wait, and what customers notice. Written by `shedder policy init` from
# what it saw; nothing of it is in force before `shedder policy apply`.
#
# The first rule that matches a job decides each thing that it says: put what is special first.
# `shedder policy check` says what is wrong, `shedder policy diff` what would change.

version = 1
"""


def _queue(queue: SeenQueue) -> Iterator[str]:
    # a remark ends with its line, whatever a queue is called
    name = "".join(each if each.isprintable() else "?" for each in queue.name)
    yield f"# {name}: {', '.join(_facts(queue))}"
    most = sorted(queue.functions.items(), key=lambda each: (-each[1], each[0]))
    for function, count in most[:FUNCTIONS_SHOWN]:
        yield f"# [[rules]]              # {count} of {counted(queue.looked_at, 'job')} looked at"
        for name, value in (("queue", queue.name), ("function", function), *_SHEDDABLE):
            yield f"# {name} = {written_value(value)}"
        yield "#"
    yield "[[rules]]"
    yield f"queue = {written_value(queue.name)}"
    yield f"label = {written_value(f'jobs of {queue.name}')}"
    for name, value in (("tolerance", "10m"), *_SHEDDABLE):
        yield _remark(RULE, name, value)
    yield ""


_SHEDDABLE: tuple[tuple[str, Any], ...] = (("priority", "low"), ("shed", 1))


def _facts(queue: SeenQueue) -> Iterator[str]:
    yield jobs_do(queue.waiting, "wait", "waits")
    if queue.oldest_seconds is not None:
        yield f"the oldest for {format_duration(queue.oldest_seconds)}"
    if queue.arrivals is not None:
        yield f"{queue.arrivals:.1f} arrive a second"
    if queue.completions is not None:
        yield f"{queue.completions:.1f} end a second"
    if queue.failed:
        yield f"{queue.failed:,} failed"


def _tail(queues: Sequence[SeenQueue]) -> Iterator[str]:
    known = [each.completions for each in queues if each.completions]
    rate = f"{max(round(max(known, default=100.0)), 1)}/second"
    yield "# [defaults]"
    for name in DEFAULTS.keys:
        yield _remark(DEFAULTS, name, {"drain_rate": rate, "fails_at": "20%", "halt_at": "50%"}.get(name, "4h"))
    yield from ("", f"# {STALE.description}", "# [stale]", _remark(STALE, "after", "2d"), "", CHANNELS_EXAMPLE)


CHANNELS_EXAMPLE = """\
# Where messages of an incident go: Apprise URLs; env:NAME keeps one that holds a secret out of this file.
# [incident.channels]
# main = [
#     "slack://T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX/#incidents",    # Slack, an incoming webhook
#     "workflows://HOST/WORKFLOW/SIGNATURE/",                               # Teams, a workflow
# ]
# notes = ["mailtos://smtp.example.com?user=USER&pass=SECRET&from=oncall@example.com&to=desk@example.com"]    # e-mail
"""


def _remark(table: KeyTable, name: str, value: object) -> str:
    return f"{f'# {name} = {written_value(value)}':<30}# {table.keys[name].description}"
