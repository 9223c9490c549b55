"""What `status --by` shows, and what it says to type next."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import pytest

from shedder import Shedder
from shedder.cli.breakdown import breakdown_view
from shedder.cli.completion import complete_by
from shedder.rq import Queue
from tests.cli import jobs
from tests.cli.test_receipts import shown


@pytest.fixture
def tenants(redis):
    """Three jobs of one tenant, one of another, and one in the low lane without a tenant."""
    queue = Queue("mail", connection=redis)
    for tenant in ("acme", "globex", "acme", "acme"):
        queue.enqueue(jobs.send_newsletter, meta={"tenant": tenant})
    Queue("mail.low", connection=redis).enqueue(jobs.send_receipt)


def test_a_table_by_one_thing(invoke, tenants):
    """The largest first, with its share, and the dry run of the divert that would put it aside."""
    done = invoke("status", "mail", "--by", "meta.tenant")
    assert (0, "In mail 5 jobs wait.") == (done.code, done.lines[0])
    rows = [line.split() for line in done.lines]
    assert ["meta.tenant", "waiting", "backlog", "share", "oldest", "in/s"] in rows
    assert ["acme", "3", "0", "60.0", "%"] in [row[:5] for row in rows]
    assert "put most aside  shedder divert mail --meta tenant=acme --dry-run" in done.lines


def test_the_command_that_is_shown_takes_what_was_told(invoke, tenants):
    """It can be typed as it is, and then without its `--dry-run`."""
    line = next(line for line in invoke("status", "mail", "--by", "meta.tenant").lines if "put most aside" in line)
    words = shlex.split(line)[4:]
    preview = invoke(*words, "--json").json
    assert 3 == sum(lane["taken"] for lane in preview["lanes"])
    assert 3 == invoke(*words[:-1], "-r", "r", "--json").json["moved"]
    assert "In mail 2 jobs wait, and 3 jobs are in backlogs." == invoke("status", "mail", "--by", "function").lines[0]


def test_a_cross_table(invoke, tenants):
    """The first along the rows, the second along the columns, and what fits both is the next command."""
    done = invoke("status", "mail", "--by", "priority", "--by", "meta.tenant")
    rows = [line.split() for line in done.lines]
    assert ["priority", "/", "meta.tenant", "acme", "(none)", "globex", "jobs", "share", "oldest", "in/s"] in rows
    assert ["normal", "3", "-", "1", "4", "80.0", "%"] in [row[:7] for row in rows]
    assert ["low", "-", "1", "-", "1", "20.0", "%"] in [row[:7] for row in rows]
    assert "put most aside  shedder divert mail.normal --meta tenant=acme --dry-run" in done.lines


def test_a_cross_table_of_long_names_fits_a_terminal(redis):
    """Where the names of the columns are too long, letters stand for them, and the rows keep their names."""
    for function in ("app.receipts.send", "app.newsletters.send", "app.exports.write"):
        Queue("mail", connection=redis).enqueue(function, meta={"tenant": "acme"})
    parts = breakdown_view(Shedder(redis).breakdown("mail", by=("meta.tenant", "function")), now=datetime.now(UTC))
    lines = shown(parts).splitlines()
    assert any(line.startswith("acme ") for line in lines)
    assert "C  app.receipts.send" in [line.strip() for line in lines]
    assert max(map(len, lines[:6])) <= 80


def test_what_no_divert_can_choose_is_not_proposed(invoke, redis):
    """Jobs without the field have no command of their own."""
    Queue("mail", connection=redis).enqueue(jobs.send_receipt)
    assert "divert" not in invoke("status", "mail", "--by", "meta.tenant").out


def test_a_sample_is_told_as_one(invoke, tenants):
    """How many jobs were looked at stands beside the numbers, and how far off they may be."""
    out = invoke("status", "mail", "--by", "function", "--sample", "4").out
    assert "4 of 5 jobs were looked at, evenly spread: the numbers are estimates" in out


def test_as_json(invoke, tenants):
    """A program reads the numbers; an empty queue has none."""
    done = invoke("status", "mail", "--by", "function", "--json").json
    assert [4, 1] == [group["waiting"] for group in done["groups"]]
    assert [] == invoke("status", "reports", "--by", "function", "--json").json["groups"]


@pytest.mark.parametrize("words", [["--sample", "5"], ["--by", "function", "--watch"], ["--by", "tenant"]])
def test_what_is_refused(invoke, tenants, words):
    """A sample of nothing, to look again and again, and what jobs are not told apart by."""
    assert 2 == invoke("status", "mail", *words).code


def test_the_shell_completes_by_what():
    """Tab offers what jobs can be told apart by."""
    assert ["priority"] == complete_by(None, None, "p")
