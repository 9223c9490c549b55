"""How names, numbers and commands are written."""

from __future__ import annotations

import shlex
import unicodedata
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from shedder.cli.output import (
    Text,
    Verbatim,
    age,
    as_rich,
    clock,
    command,
    escaped,
    listed,
    one_line,
    per_second,
    row,
    table,
)
from shedder.lanes import names_of, targets_of
from shedder.wording import counted, jobs_do

NOW = datetime(2026, 11, 23, 2, 49, tzinfo=UTC)


@given(st.text())
def test_nothing_escaped_can_drive_a_terminal(text):
    """Escaped text has no control, format or half character; what is harmless stays."""
    found = {unicodedata.category(each) for each in escaped(text) if each not in "\u200c\u200d"}
    assert set() == found & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if text.isalnum():
        assert text == escaped(text)


def test_escapes_are_spelled_out():
    """A person sees what was there."""
    assert r"mail\x1b[2J\u202e\n" == escaped("mail\x1b[2J\u202e\n")


@given(st.text())
def test_an_error_is_one_line(text):
    """Whatever an error says, it is one line."""
    assert len(one_line(text).splitlines()) <= 1


@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1)))
def test_a_command_can_be_copied_into_a_shell(names):
    """A shell reads back the very words, and a name that begins with a dash is no option."""
    words = shlex.split(command("resume", *names, options=["--reason", "a b"]))
    if any(name.startswith("-") for name in names):
        assert ["shedder", "resume", "--reason", "a b", "--", *names] == words
    else:
        assert ["shedder", "resume", *names, "--reason", "a b"] == words


@pytest.mark.parametrize(
    ("lanes", "targets"),
    [
        (["mail.critical", "mail.high", "mail", "mail.low"], ("mail",)),
        (["mail.low"], ("mail.low",)),
        (["mail"], ("mail.normal",)),
        (["mail", "mail.low", "v1.2"], ("mail.normal", "mail.low", "v1.2.normal")),
        ([], ()),
    ],
)
def test_lanes_are_told_as_the_shortest_targets(lanes, targets):
    """A queue stands for its four lanes, and a lane alone has a name that means only itself."""
    assert targets == targets_of(lanes)


def test_lanes_are_called_in_sentences_as_in_tables():
    """The normal lane is called as its queue is, wherever a person reads it."""
    assert ("mail", "mail.low") == names_of(["mail", "mail.low"])
    assert ("mail",) == names_of(["mail.critical", "mail.high", "mail", "mail.low"])
    assert ("v1.2", "mail.high") == names_of(["v1.2", "mail.high"])


def test_what_does_not_fit_goes_on_below():
    """Lines break between words and are indented; a command to copy stays whole."""
    shown = as_rich(Text("! 1,203 jobs of mail wait and no worker serves it"), 24).plain
    assert "! 1,203 jobs of mail\n  wait and no worker\n  serves it" == shown
    shown = as_rich(Text("       a finding that is long", indent=9), 24).plain
    assert "       a finding that is\n         long" == shown
    shown = as_rich(Text("paused by ana@desk: why  undo: shedder undo 17-0"), 40).plain
    assert "paused by ana@desk: why  undo:\n  shedder undo 17-0" == shown
    shown = as_rich(Text("put the largest one aside  shedder shed -r 'a; b'"), 40).plain
    assert "put the largest one aside\n  shedder shed -r 'a; b'" == shown
    assert "a" * 30 == as_rich(Text("a" * 30), 24).plain
    assert "it costs more than a line" == as_rich(Verbatim("it costs more than a line"), 9).plain


def test_numbers_and_words_agree():
    """One job waits, several wait, with separators of thousands."""
    assert ("1 job waits", "41,200 jobs wait") == (jobs_do(1, "wait", "waits"), jobs_do(41_200, "wait", "waits"))
    assert "0 jobs" == counted(0, "job")


def test_lists_name_a_few_and_count_the_rest():
    """Long lists stay short."""
    assert "a" == listed(["a"])
    assert "a and b" == listed(["a", "b"])
    assert "a, b, c and 2 more" == listed(list("abcde"))


def test_times_tell_the_zone_and_the_date_when_it_matters():
    """A time of today has no date, another has, and both say UTC."""
    assert "02:11 UTC" == clock(NOW - timedelta(minutes=38), NOW)
    assert "2026-11-22 23:49 UTC" == clock(NOW - timedelta(hours=3), NOW)
    assert "38m" == age(NOW - timedelta(minutes=38), NOW)


def test_an_age_is_never_negative_and_may_be_unknown():
    """The clock of a producer may be ahead."""
    assert "0s" == age(NOW + timedelta(minutes=1), NOW)
    assert "-" == age(None, NOW)


def test_paces_have_as_many_digits_as_mean_something():
    """Slow paces have a digit behind the point, fast ones have not."""
    assert ["-", "0.0", "8.2", "1,234"] == [per_second(each) for each in (None, 0, 8.24, 1234.4)]


def test_a_table_that_is_too_wide_breaks_no_word():
    """Columns get at least their longest word, and what is left goes to those that need it."""
    made = table("limit", "rate", ">hits", "set by", "what it is")
    row(made, "reports", "100/minute", "3", "oncall@ops: acme floods us since noon", "not declared by any process seen")
    console = Console(file=StringIO(), width=60)
    console.print(as_rich(made, 60))
    printed = console.file.getvalue()
    assert all(len(line.rstrip()) <= 60 for line in printed.splitlines())
    assert {"reports", "100/minute", "oncall@ops:", "floods", "declared", "process"} <= {*printed.split()}
