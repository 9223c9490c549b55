"""A post-mortem says what happened and what it cost, and nobody's name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shedder.events import Event
from shedder.incident.blame import warnings_of
from shedder.incident.records import Action, ActionType, SeveritySince
from shedder.incident.timeline import people_of
from shedder.policy.model import Rule
from shedder.policy.workload import Workload
from shedder.postmortem.build import impact_of, postmortem_of
from shedder.postmortem.writing import TemplateBroken, contents_of, render_both, write_files, write_whole
from shedder.queues.outcomes import Counts
from shedder.queues.samples import Sample
from shedder.wording import spoken
from tests.unit.postmortems import BEGAN, EVENTS, INCIDENT, KINDS, at, lane_counts, material

if TYPE_CHECKING:
    from pathlib import Path


def minutes(*ages: int, backlog_age: int = 0, pace: int = 10, backlog: int = 0) -> list[Sample]:
    """A lane with a sample each minute, whose oldest job was so many seconds old."""
    return [
        Sample(at(minute), 5, backlog, 1, age, backlog_age, minute * pace, minute * pace)
        for minute, age in enumerate(ages)
    ]


# what it cost


def test_time_outside_of_a_tolerance_begins_when_the_oldest_job_became_late() -> None:
    """A job that is 150 s old at a sample, and may wait 120 s, was late 30 s before it."""
    found = impact_of("mails", timedelta(seconds=120), {"mail": minutes(60, 150, 210, 0)}, ())
    assert timedelta(seconds=30 + 60 + 60) == found.outside
    assert at(0.5) == found.began
    assert timedelta(seconds=210) == found.oldest


def test_jobs_that_started_while_their_lane_was_late_are_late() -> None:
    """A lane is served in order: what starts while its oldest job is late, is late."""
    found = impact_of("mails", timedelta(seconds=120), {"mail": minutes(60, 150, 210, 0)}, ())
    assert 30 == found.late_jobs


def test_what_is_put_aside_is_late_and_what_passes_it_is_not() -> None:
    """Jobs of a backlog that are too old do not make those late that start past them."""
    waiting = minutes(1, 1, 1, backlog_age=9000, backlog=100)
    found = impact_of("mails", timedelta(seconds=120), {"mail": waiting}, ())
    assert timedelta(minutes=2) == found.outside
    assert round(100 * (1 - 120 / 9000)) == found.late_jobs


def test_time_outside_adds_up_across_severities() -> None:
    """A downgrade takes nothing away: each severity has its share, and the whole is their sum."""
    severities = (SeveritySince(1, at(2), "x"), SeveritySince(3, at(5), "x"))
    found = impact_of("mails", timedelta(0), {"mail": minutes(*range(1, 12))}, severities)
    assert timedelta(minutes=10) == found.outside
    assert {1: timedelta(minutes=5), 3: timedelta(minutes=5)} == found.by_severity


def test_lanes_that_are_late_together_count_once() -> None:
    """Two lanes of one kind of work that were late at the same time cost that time once."""
    lanes = {"mail": minutes(9, 9, 9), "mail.low": minutes(9, 9, 9)}
    found = impact_of("mails", timedelta(seconds=1), lanes, ())
    assert timedelta(minutes=2) == found.outside
    assert 10 == found.deepest


def test_a_gap_in_the_samples_is_not_taken_for_trouble() -> None:
    """Between samples that are hours apart nobody knows, so nothing is counted."""
    one, other = minutes(9, 9)
    lanes = {"mail": [one, replace(other, at=at(300))]}
    assert timedelta(0) == impact_of("mails", timedelta(seconds=1), lanes, ()).outside


def test_failed_work_stands_in_the_impact() -> None:
    """By kind of work, of those that ended; where nobody counted, that is said."""
    found = postmortem_of(material(counts=lane_counts()))
    failed = {each.noun: (each.failed, each.ended) for each in found.impacts}
    assert {"receipt e-mails": (1500, 40_500), "payments": (1, 9000), "exports": (0, 150)} == failed
    assert "1,500 of 40,500 receipt e-mails failed. 1 of 9,000 payments failed. Neither late nor failed: exports." in (
        found.summary
    )
    unknown = postmortem_of(material())
    assert {(None, None)} == {(each.failed, each.ended) for each in unknown.impacts}
    assert "Not late, and nobody counted how many failed: exports." in unknown.summary
    for text in render_both(found, ()).values():
        assert "1,500 of 40,500" in text
    assert all("not counted" in text for text in render_both(unknown, ()).values())


def test_failed_work_raises_questions() -> None:
    """Why it failed after the drain began, and what showed it first; a few failures in thousands raise none."""
    first, *others = postmortem_of(material(counts=lane_counts())).factors
    assert first.startswith("1,500 of 40,500 receipt e-mails failed, most of them from 14:2")
    assert not any("payments failed" in each for each in others)


def test_a_drain_that_was_halted_raises_its_question() -> None:
    """What failed until the halt, of what the drain released."""
    halted = Event("1-55", at(45), "drain halted", "shedder", "r", ("mail",), details={"failed": 25, "ended": 50})
    events = (*EVENTS[:5], halted, EVENTS[5])
    first = postmortem_of(material(events=events, counts=lane_counts())).factors[0]
    assert first.startswith("Why did 1,500 of 3,000 receipt e-mails fail after the drain began (C)")


def test_kinds_of_work_that_share_a_lane_are_counted_by_label() -> None:
    """One fails and the other does not."""
    news, receipts = (Workload(noun, timedelta(hours=1), ("mail",), Rule(label=noun)) for noun in ("news", "receipts"))
    counts = tuple(
        Counts(at(minute), {"mail": (minute * 30, minute * 10)},
               {"news": (minute * 20, minute * 10), "receipts": (minute * 10, 0)})
        for minute in range(151)
    )  # fmt: skip
    found = postmortem_of(material(kinds=(news, receipts), counts=counts))
    assert {"news": 0.5, "receipts": 0.0} == {each.noun: each.share_failed for each in found.impacts}
    (work, alone) = found.works
    assert ("news and receipts", ("mail",), {"news", "receipts"}) == (work.noun, work.lanes, set(work.ends))
    assert "jobs of mail.high" == alone.noun


# what happened


def test_the_beginning_comes_from_the_samples_when_nobody_set_it() -> None:
    """Work was late before anybody noticed, and the document says that it measured that."""
    found = postmortem_of(material())
    assert (True, at(50 / 60)) == (found.is_began_measured, found.since)
    detect, acknowledge, mitigate, resolve = (span.length for span in found.spans)
    assert timedelta(minutes=10) - timedelta(seconds=50) == detect
    assert timedelta(minutes=2) == acknowledge
    assert (mitigate, resolve) == tuple(at(each) - found.since for each in (40, 150))


def test_a_beginning_that_was_set_holds() -> None:
    """What a person said is not measured again."""
    found = postmortem_of(material(incident=replace(INCIDENT, began_at=BEGAN)))
    assert (False, BEGAN) == (found.is_began_measured, found.since)


def test_times_of_an_open_incident_are_not_known_yet() -> None:
    """Nothing is invented for what has not happened."""
    still_open = replace(INCIDENT, mitigated_at=None, resolved_at=None, review_due_at=None)
    found = postmortem_of(material(incident=still_open))
    assert [None, None] == [span.length for span in found.spans[2:]]
    assert "is not over" in found.summary


def test_who_acted_is_a_role() -> None:
    """A role from the event, or the one held at that time, or nobody's; never a name."""
    stranger = replace(EVENTS[1], id="1-9", by="zoe@home")
    found = postmortem_of(material(events=(*EVENTS, stranger)))
    want = ["commander", "operations", "operations", "communications", "operations", "shedder",
            "somebody without a role"]  # fmt: skip
    assert want == [moment.who for moment in found.timeline]


def test_deeds_have_letters_and_measured_effects() -> None:
    """What was done is marked, and what was measured after it stands with it."""
    found = postmortem_of(material())
    assert ["A", "B", "C"] == [deed.moment.mark for deed in found.deeds]
    (effect,) = found.deeds[1].effects
    assert (200, 1) == (effect.depth_before, effect.depth_after)
    kind = KINDS[0]
    assert (kind.noun, kind.tolerance) == (effect.noun, effect.tolerance)
    texts = render_both(found, ())
    assert f"| mail.high ({kind.noun}) |" in texts["postmortem.md.j2"]
    assert all(f"{spoken(kind.tolerance)} tolerated" in text for text in texts.values())


def test_a_retry_is_one_deed_with_its_drain() -> None:
    """Its drain knows how many jobs come back, and has no letter of its own; of its stop there is a line."""
    retry = Event("1-60", at(45), "retry", "bob@desk", "it is back", ("mail",), order="o",
                  after={"mail": {"backlog": 100}}, details={"rate": "50/second"})  # fmt: skip
    drain = replace(retry, id="1-61", verb="drain", after={"mail": {"backlog": 4211, "rate": 0.05}},
                    details={"rate": "50/second", "retry": True})  # fmt: skip
    stop = replace(drain, id="1-62", verb="drain stopped", at=at(46), details={"retry": True})
    found = postmortem_of(material(events=(*EVENTS[:5], retry, drain, stop)))
    assert ["let failed jobs of mail come back (4,211 jobs, at 50/second)", "stopped the drain of mail"] == [
        moment.what for moment in found.timeline if moment.event in ("1-60", "1-61", "1-62")
    ]


def test_what_people_write_is_all_that_is_missing() -> None:
    """Everything but the four written parts and the actions is filled without typing."""
    found = postmortem_of(material())
    missing = [name for name, is_there in found.parts.items() if not is_there]
    want = ["what went well", "what went badly", "where we had luck", "contributing factors"]
    assert [*want, "actions"] == missing
    action = Action(1, BEGAN, "ana@desk", "Alarm at 80 %", ActionType.DETECT)
    parts = dict.fromkeys(("well", "badly", "luck", "factors"), "text")
    whole = replace(INCIDENT, review=parts, actions=(action,))
    assert 1.0 == postmortem_of(material(incident=whole)).filled


def test_questions_are_about_the_system() -> None:
    """The facts raise questions, and none of them blames."""
    found = postmortem_of(material())
    assert len(found.factors) > 3
    assert () == warnings_of("\n".join(found.factors))


# the document


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return contents_of(postmortem_of(material()), ())


@pytest.mark.parametrize("name", ["postmortem.html", "postmortem.md"])
def test_names_stand_in_the_event_log_only(files: dict[str, bytes], name: str) -> None:
    """The narrative has no name in it, and the check says so."""
    text = files[name].decode()
    assert () == warnings_of(text, people=people_of(INCIDENT, EVENTS))
    assert "oncall@ops" in text.partition("Event log")[2].replace("\\", "")


@pytest.mark.parametrize("name", ["postmortem.html", "postmortem.md"])
def test_every_line_of_the_timeline_leads_to_its_event(files: dict[str, bytes], name: str) -> None:
    """A reader who wants to know more follows a link that exists."""
    text = files[name].decode()
    links = set(re.findall(r'[("]#(event-[\d-]+)[)"]', text))
    assert {f"event-{event.id}" for event in EVENTS} == links
    assert links <= set(re.findall(r'id="(event-[\d-]+)"', text))


def test_the_page_needs_nothing_from_elsewhere_and_escapes_all(files: dict[str, bytes]) -> None:
    """No script, no address but of the page itself and of pictures in it, no markup of users."""
    text = files["postmortem.html"].decode()
    assert "<script" not in text.lower()
    assert "&lt;script&gt;alert(1)" in text
    assert "only &lt;b&gt;payments&lt;/b&gt; now" in text
    urls = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", text)
    assert [] == [url for url in urls if not url.startswith(("#", "data:image/png;base64,"))]


def test_markdown_of_users_means_nothing(files: dict[str, bytes]) -> None:
    """A title cannot begin a table, a link or a tag."""
    assert "\\<script\\>alert(1)\\</script\\>" in files["postmortem.md"].decode()


def test_the_json_has_all_of_it(files: dict[str, bytes]) -> None:
    """The same facts, for programs."""
    found = json.loads(files["postmortem.json"])
    assert "shedder.postmortem/1" == found["schema"]
    assert [12, None, None] == [impact["tenants"] for impact in found["impacts"]]
    assert len(found["samples"]["mail"]) == len(postmortem_of(material()).samples["mail"])


@pytest.mark.slow
def test_plots_are_pictures_that_say_what_they_show(tmp_path: Path) -> None:
    """Depth, oldest and rates are drawn, and told in words to who cannot see them."""
    found = write_files(postmortem_of(material()), tmp_path / "out")
    pngs = [name for name in found.files if name.endswith(".png")]
    assert ["depth.png", "oldest.png", "rates.png"] == pngs
    for name in pngs:
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "postmortem.html").read_text()
    want = "Jobs that wait; put aside: dashed: payments up to 200; receipt e-mails up to 34,000, up to 34,000 put aside"
    assert f'alt="{want}"' in page
    assert sorted(found.files) == sorted(each.name for each in (tmp_path / "out").iterdir())


def test_an_own_template_is_used(tmp_path: Path) -> None:
    """A file in the team's folder stands for the built-in one of its name; others stay."""
    (tmp_path / "postmortem.md.j2").write_text("{{ it.title }} lasted {{ it.until - it.since }}")
    found = contents_of(postmortem_of(material()), (), templates=str(tmp_path))
    assert found["postmortem.md"].startswith(b"Mails are hours late <script>")
    assert found["postmortem.html"].startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("one\n{% for %}", "the template postmortem.md.j2, line 2: "),
        ("one\ntwo\n{{ it.nothing }}", "the template postmortem.md.j2, line 3: UndefinedError"),
        ("{{ 1 / 0 }}", "line 1: ZeroDivisionError"),
    ],
)
def test_a_broken_template_is_one_line_and_nothing_is_written(tmp_path: Path, text: str, want: str) -> None:
    """Which template, where and why; the folder is not even made."""
    (tmp_path / "postmortem.md.j2").write_text(text)
    with pytest.raises(TemplateBroken, match=re.escape(want)) as caught:
        write_files(postmortem_of(material()), tmp_path / "out", templates=str(tmp_path), with_plots=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """Whoever reads a file while it is replaced finds all of it."""
    (tmp_path / "page").write_text("old")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "page", None)  # type: ignore[arg-type]
    assert ["old"] == [each.read_text() for each in tmp_path.iterdir()]


# blame


@pytest.mark.parametrize(
    "sentence",
    [
        "The operator should have checked the queue.",
        "Root cause: human error.",
        "Someone forgot to set the limit.",
        "They failed to notice the alarm.",
        "It was the deployer's fault.",
        "People must be more careful.",
        "Then ana paused the wrong queue.",
        "Ana@desk did not answer.",
    ],
)
def test_sentences_that_blame_are_found(sentence: str) -> None:
    """What judges, or names, a person is shown with its line and what to say instead."""
    (warned, *_) = warnings_of(f"# Fine\n\nAll good. {sentence}", people=["ana@desk"])
    assert (3, sentence) == (warned.line, warned.sentence)
    assert "say what made it easy" in str(warned)


@pytest.mark.parametrize(
    "sentence",
    [
        "The limit was missing, because nothing asks for one.",
        "Analysis showed a banana in the desk.",
        "The alarm fired 12 min after work was late.",
        "The default fault tolerance of the cluster held.",
    ],
)
def test_sentences_about_the_system_pass(sentence: str) -> None:
    """Words that only look like blame, or like a name, are left alone."""
    assert () == warnings_of(sentence, people=["ana@desk"])


def test_the_event_log_is_left_out() -> None:
    """Names belong there."""
    text = "## Summary\n\nFine.\n\n## Event log\n\nby ana@desk: human error"
    assert () == warnings_of(text, people=["ana@desk"])
