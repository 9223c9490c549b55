"""What does a job's hash say in plain text, so that a script can match it?

RQ serializes function, arguments and meta, and no script can read that. Our producers write the
function's name into one more field, `shedder`. It stands behind the job's `created_at`, because a
stock producer may write a new job under an old id, and must not be judged by the old one's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.stored import text_of

if TYPE_CHECKING:
    from rq.job import Job

NOTE_FIELD = "shedder"


def note_of(function: str, created_at: str) -> str:
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


def function_of_note(note: bytes | str | None, created_at: bytes | str | None) -> str | None:
    """The function that a job's hash names in plain text; None when it names none that counts."""
    since, _, name = text_of(note or b"").partition(" ")
    return name if name and since == text_of(created_at or b"") else None
