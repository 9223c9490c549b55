"""What `audit` says."""

from __future__ import annotations

from rq.defaults import RQ_KEY_PREFIX

from tests.cli.programs import Terminal


def test_a_clean_system_is_told_in_one_line(invoke, mail):
    """All jobs are counted by place; exit 0."""
    done = invoke("audit")
    assert 0 == done.code
    assert "All 8 jobs are in exactly one place each." == done.lines[0]
    assert invoke("audit", "--json").json["is_clean"]


def test_a_lost_job_is_named_with_exit_3(invoke, redis, mail):
    """A job whose id is in no list is named, and a script can tell."""
    lost = redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail").decode()
    done = invoke("audit")
    assert 3 == done.code
    assert "Of 8 jobs, 1 is in no place and 0 in two." == done.lines[0]
    assert f"  {lost}" in done.lines
    assert [lost] == invoke("audit", "--json").json["nowhere"]


def test_a_doubled_job_is_named_with_its_places(invoke, redis, mail):
    """A job whose id waits twice is named with both places."""
    redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", redis.lindex(f"{RQ_KEY_PREFIX}:queue:mail", 0))
    done = invoke("audit")
    assert 3 == done.code
    assert "1 job in two places:" in done.lines


def test_progress_is_for_terminals(env, mail):
    """On a terminal a bar is shown; the verdict stands alone on its line."""
    with Terminal("audit", env=env) as terminal:
        assert 0 == terminal.end()
        assert "All 8 jobs are in exactly one place each.\n" in terminal.text
