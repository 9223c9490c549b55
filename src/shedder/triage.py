"""What is the checklist of an incident made of? Plain facts, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shedder.incident.readings import Effect


@dataclass(frozen=True, slots=True)
class Triage:
    """The checklist as a whole.

    Attributes:
        at: When the queues were read (server's clock, UTC).
        incident: Id of the incident; empty without one.
        steps: The questions, in the order in which they are to be asked.
    """

    at: datetime
    incident: str
    steps: tuple[TriageStep, ...]


@dataclass(frozen=True, slots=True)
class TriageStep:
    """One question of the checklist.

    Attributes:
        name: `release`, `limits`, `degrade`, `scale`, `pause`, `divert` or `protect`.
        question: The question.
        rule: What to do if so.
        state: `done` when something was done about it, `fine` when nothing is to be, else `open`.
        finding: What the queues say of it, one sentence; empty when they say nothing.
        done: What was done about it, oldest first.
        commands: What to type next.
    """

    name: str
    question: str
    rule: str
    state: str = "open"
    finding: str = ""
    done: tuple[TriageDone, ...] = ()
    commands: tuple[TriageCommand, ...] = ()


@dataclass(frozen=True, slots=True)
class TriageDone:
    """What was done about a question already.

    Attributes:
        event: Id of its event.
        verb: What was done.
        by: Who did it.
        role: In which role; empty without one.
        at: When (server's clock, UTC).
        what: To which queues, flags or limits, or by which mitigation.
        effect: What it did some minutes later; None while that is not measured.
        outcome: How a mitigation ended, or that no end is recorded; empty for all else.
    """

    event: str
    verb: str
    by: str
    role: str
    at: datetime
    what: tuple[str, ...]
    effect: Effect | None = None
    outcome: str = ""

    @property
    def is_failed(self) -> bool:
        """Whether it was a mitigation that has not ended well, or of which nobody knows."""
        return self.outcome not in ("", "done")


@dataclass(frozen=True, slots=True)
class TriageCommand:
    """A command to be typed next.

    Attributes:
        purpose: What for.
        words: The command without `shedder`, a word each, as the shell shall get them.
        is_complete: It can be typed as it stands; otherwise words in capitals are to be filled in.
    """

    purpose: str
    words: tuple[str, ...]
    is_complete: bool = True
