"""Sentences that blame people: a file is warned of them, and a review does not take them.

A team learns from asking what the system made easy, and not from asking whose fault it was: John
Allspaw, "Blameless PostMortems and a Just Culture", Etsy, 2012; Google, "Site Reliability
Engineering", chapter 15.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shedder.events import is_shared_account

_PATTERNS = (
    (r"human error|operator error|user error|pilot error", "names an error of people"),
    (r"(?:should|could|ought to) (?:not )?have|shouldn't have|couldn't have|would have noticed",
     "says what somebody should have done"),
    (r"fail(?:ed|ure|s)? to (?:notice|check|follow|read|test|review|see|realize|realise|act|tell)",
     "says what somebody failed to do"),
    (r"forgot|careless\w*|negligen\w*|incompeten\w*|sloppy|laz(?:y|iness)|inattent\w*|stupid\w*",
     "judges a person"),
    (r"\bfault of\b|(?:his|her|their|whose|\w+'s) (?:own )?fault|to blame|blam(?:ed|es)",
     "looks for who is at fault"),
    (r"(?:his|her|their) mistake|made a mistake|by mistake|mistaken\w*|wrongly",
     "calls a deed a mistake"),
    (r"must be more careful|more careful(?:ly)?|pay more attention|retrain\w*|be reminded to",
     "asks people to be better instead of the system"),
)  # fmt: skip
_KNOWN = tuple((re.compile(rf"(?i)(?<!\w)(?:{text})"), why) for text, why in _PATTERNS)
INSTEAD = "say what made it easy, or hard to see"


@dataclass(frozen=True, slots=True)
class Warned:
    """A sentence that blames.

    Attributes:
        line: Its line in the text, from 1.
        found: The words that make it so.
        why: What they do.
        sentence: The sentence, or its first 200 characters.
    """

    line: int
    found: str
    why: str
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.found!r} {self.why}; {INSTEAD}: {self.sentence}"


def warnings_of(text: str, *, people: Iterable[str] = ()) -> tuple[Warned, ...]:
    """The sentences of `text` that blame, or name one of `people`; the event log is left out.

    A name such as `ana@desk` is found as a whole and by what stands before the `@`.
    """
    known = [*_KNOWN, *_names(people)]
    return tuple(
        Warned(line, found[0], why, sentence[:200])
        for line, sentence in _sentences(text)
        for pattern, why in known
        if (found := pattern.search(sentence))
    )


_LOG_BEGINS = re.compile(r"(?i)^\s*(?:#+\s*|<h\d[^>]*>\s*)event log\b")
_TAGS = re.compile(r"<[^>]*>")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9*>\"'(])")
_SHORTEST_NAME = 3


def _names(people: Iterable[str]) -> Iterator[tuple[re.Pattern[str], str]]:
    # an account that several people use names nobody, and `root cause` or `the deploy` no account
    for person in sorted({each.strip() for each in people if each.strip() and not is_shared_account(each.strip())}):
        short = person.partition("@")[0]
        forms = {person, short if len(short) >= _SHORTEST_NAME else person}
        either = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        yield re.compile(rf"(?i)(?<![\w@]){'(?:' + either + ')'}(?![\w])"), "names a person"


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    is_html = "<html" in text[:2000].lower()
    for number, line in enumerate(text.splitlines(), start=1):
        if _LOG_BEGINS.match(line):
            return
        plain = _TAGS.sub(" ", line) if is_html else line
        for sentence in _SENTENCE_ENDS.split(plain.strip()):
            if sentence:
                yield number, " ".join(sentence.split())
