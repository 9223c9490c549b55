"""The evaluator of shell sessions says so when a page is wrong."""

from __future__ import annotations

import pytest

from tests.docs.console import Session, Step, first_missing, play, sessions_in

PAGE = """\
Text.

<!-- console: numbers vary -->
```console
$ shedder pause mail \\
    -r "database at 99 %"
mail is paused: 12 jobs wait.
$ shedder audit
$ echo $?
3
$ pip install shedder
```

```python
not_a_session()
```

<!-- console: skip -->
```console
$ shedder status --watch
```
"""


def test_a_page_gives_its_sessions_with_commands_output_and_exit_codes() -> None:
    """Commands, what is shown below them, exit codes and options come out of a page."""
    first, second = sessions_in(PAGE)
    pause = Step('shedder pause mail -r "database at 99 %"', ("mail is paused: 12 jobs wait.",))
    assert (pause, Step("shedder audit", (), 3), Step("pip install shedder", ())) == first.steps
    assert (True, False) == (first.do_numbers_vary, first.is_skipped)
    assert (False, True) == (second.do_numbers_vary, second.is_skipped)


def test_only_our_commands_are_run() -> None:
    """A command such as pip, and a block that is to be skipped, are left to the reader."""
    seen: list[str] = []

    def execute(command: str) -> tuple[int, str]:
        seen.append(command)
        return (3, "") if "audit" in command else (0, "mail is paused: 7 jobs wait.\n")

    for session in sessions_in(PAGE):
        play(session, execute)
    assert ['shedder pause mail -r "database at 99 %"', "shedder audit"] == seen


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (("a 1",), "x\na   1\n"),
        (("a", "b"), "a\nx\nb\n"),
        (("a ... b",), "a c d b\n"),
        (("", "...", "b"), "a\nb\n"),
        (("red",), "\x1b[1;31mred\x1b[0m\n"),
    ],
)
def test_lines_that_are_there_in_order_are_found(shown: tuple[str, ...], printed: str) -> None:
    """Spaces, colours and lines in between do not matter."""
    assert None is first_missing(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed", "missing"),
    [
        (("a", "b"), "b\na\n", "b"),
        (("a",), "ab\n", "a"),
        (("12 jobs",), "13 jobs\n", "12 jobs"),
        (("a.c",), "abc\n", "a.c"),
    ],
)
def test_what_is_missing_or_in_the_wrong_order_is_told(shown: tuple[str, ...], printed: str, missing: str) -> None:
    """A page that shows what is not printed fails."""
    assert missing == first_missing(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("since 02:11 UTC (38m)", "since 14:02 UTC (0s)"),
        ("41,200 jobs", "7 jobs"),
        ("undo 1764000000000-0", "undo 1795425799532-3"),
        ("about 2h 5m", "about 9s"),
        ("mail 12 0.4 -", "mail 0 - 3m"),
        ("12 wait, pace not known yet", "13 wait, neither better nor worse"),
    ],
)
def test_numbers_and_times_vary_where_the_page_says_so(shown: str, printed: str) -> None:
    """With `numbers vary` another number, time or duration will do; the words must be the same."""
    assert None is first_missing((shown,), printed, do_numbers_vary=True)
    assert shown == first_missing((shown,), f"{printed} more", do_numbers_vary=True)


def test_another_exit_code_fails_the_page() -> None:
    """A command that fails, and is not said to, fails the page."""
    session = Session(0, 1, (Step("shedder audit", ()),))
    with pytest.raises(AssertionError, match="exited with 3"):
        play(session, lambda _: (3, ""))


def test_an_option_with_a_typing_error_is_refused() -> None:
    """A remark that would be ignored is an error."""
    with pytest.raises(AssertionError, match="number varies"):
        list(sessions_in("<!-- console: number varies -->\n```console\n$ shedder status\n```\n"))
