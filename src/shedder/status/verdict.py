"""What a check found, in a word and in a line: for a monitor, and for whoever looks at a page."""

from __future__ import annotations

from shedder.queues.outcomes import LATELY
from shedder.status.findings import CheckResult
from shedder.units import format_duration
from shedder.wording import counted, some_named

OK, WARNING_LEVEL, CRITICAL, UNKNOWN = "OK", "WARNING", "CRITICAL", "UNKNOWN"


def level_of(found: CheckResult) -> str:
    """`OK`, `UNKNOWN`, `WARNING` or `CRITICAL`: never `OK` where it is not known that jobs end well."""
    if found.is_good:
        return UNKNOWN if found.is_blind else OK
    return WARNING_LEVEL if found.is_doubtful else CRITICAL


def ended_sentence(found: CheckResult) -> str:
    """How the jobs of the last five minutes ended."""
    lately = format_duration(LATELY)
    if not found.ended:
        return f"no job ended in {lately}"
    return f"{found.failed:,} of {counted(found.ended, 'job')} failed in {lately}"


def good_sentence(found: CheckResult) -> str:
    """What is known to be well, and of which queues it is not known how long their jobs may wait."""
    if not found.unjudged:
        return "nothing is late or forgotten"
    names = some_named(found.unjudged)
    return f"nothing with a tolerance is late or forgotten; no policy says how long jobs of {names} may wait"
