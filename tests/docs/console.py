"""A shell session in a page still works, and prints what the page shows.

A block of `console` has commands behind `$ ` and, below each, lines that it must print, in this
order; others may stand between them. `...` stands for any text. What cannot be seen of a block
stands in a remark before it: `<!-- console: numbers vary -->`, `<!-- console: skip -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

RUNNABLE = ("shedder ", "rq ", "python ")
"""What the commands begin with that are run; of others, such as `pip`, only a reader makes use."""

EXIT_CODE = "echo $?"
OPTIONS = frozenset({"", "numbers vary", "skip"})

_BLOCK = re.compile(
    r"(?:^<!-- console: (?P<options>.*?) -->\n)?^```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
# Numbers, times, durations, and the dash that stands in a table for "not known". A time of another
# day stands behind its date, and examples are run around midnight too.
_DATE = r"(?:\d{4}-\d\d-\d\d )?"
_NUMBER = rf"(?:(?<!\S)-(?!\S)|{_DATE}\d[\d,.:/-]*(?:(?:ms|[smhd%])\b|%)?(?: \d+[smhd]\b)*)"
_NOT_MEASURED, _NOTHING_MOVES = "pace not known yet", "neither better nor worse"
"""Where nothing moves, a slow machine has measured that meanwhile."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what the page shows of its output.

    Attributes:
        command: As a shell takes it.
        shown: The lines below it.
        exits_with: Its exit code.
    """

    command: str
    shown: tuple[str, ...]
    exits_with: int = 0

    @property
    def is_run(self) -> bool:
        return self.command.startswith(RUNNABLE)


@dataclass(frozen=True, slots=True)
class Session:
    """One block.

    Attributes:
        start, end: Where it stands in the page.
        steps: Its commands.
        do_numbers_vary: The numbers and times that are shown are examples.
        is_skipped: It is not run at all.
    """

    start: int
    end: int
    steps: tuple[Step, ...]
    do_numbers_vary: bool = False
    is_skipped: bool = False


def sessions_in(page: str) -> Iterator[Session]:
    """All shell sessions of a page."""
    for found in _BLOCK.finditer(page):
        options = {each.strip() for each in (found["options"] or "").split(",")}
        assert options <= OPTIONS, f"not known: {options - OPTIONS}"
        yield Session(
            start=found.start(),
            end=found.end(),
            steps=tuple(_steps(found["body"])),
            do_numbers_vary="numbers vary" in options,
            is_skipped="skip" in options,
        )


def play(session: Session, execute: Callable[[str], tuple[int, str]]) -> None:
    """Run the commands of `session`; `execute` gives the exit code and all that was printed.

    Raises:
        AssertionError: one exits or prints other than the page shows.
    """
    for step in session.steps:
        if not step.is_run or session.is_skipped:
            continue
        code, printed = execute(step.command)
        assert step.exits_with == code, f"$ {step.command}\n{printed}\nexited with {code}"
        missing = first_missing(step.shown, printed, do_numbers_vary=session.do_numbers_vary)
        assert missing is None, f"$ {step.command}\n{printed}\ndoes not show: {missing}"


def first_missing(shown: tuple[str, ...], printed: str, *, do_numbers_vary: bool = False) -> str | None:
    """The first of the lines `shown` that is not among those `printed` after the one before it."""
    rest = iter([_tidied(line) for line in _ANSI.sub("", printed).splitlines()])
    for line in map(_tidied, shown):
        if line in ("", "..."):
            continue
        pattern = _pattern(line, do_numbers_vary=do_numbers_vary)
        if not any(pattern.fullmatch(each) for each in rest):
            return line
    return None


def _steps(body: str) -> list[Step]:
    steps: list[Step] = []
    for chunk in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, *shown = re.sub(r"\s*\\\n\s*", " ", chunk).splitlines()
        if command == EXIT_CODE:
            steps[-1] = replace(steps[-1], exits_with=int(shown[0]))
        else:
            steps.append(Step(command, tuple(shown)))
    return steps


def _tidied(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str, *, do_numbers_vary: bool) -> re.Pattern[str]:
    return re.compile(".*".join(_escaped(part, do_numbers_vary) for part in line.split("...")))


def _escaped(text: str, do_numbers_vary: bool) -> str:
    if not do_numbers_vary:
        return re.escape(text)
    words = _NUMBER.join(re.escape(each) for each in re.split(_NUMBER, text))
    return words.replace(re.escape(_NOT_MEASURED), f"(?:{_NOT_MEASURED}|{_NOTHING_MOVES})")
