"""The page of an incident and the plan: what they show, what their buttons lead to, and what they cost."""

from __future__ import annotations

import gzip
import re
import shlex
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner

from benchmarks.gauges import sent_by_us
from shedder import Selection
from shedder.cli import main
from shedder.policy.model import Mitigation, Policy, Rule
from shedder.units import Rate
from shedder.web.acting import desk_of
from shedder.web.actions import ACTS, preview_act, said_in
from shedder.web.app import ControlRoom
from shedder.web.http import WebRequest
from shedder.web.incident_board import ActLink, act_of_command, seats_of
from shedder.web.site import SiteSettings, Visitor
from tests.features.policies import apply
from tests.features.scene import Scene, numbered
from tests.servers import patient
from tests.web.acting_scene import Acting, dump, text_of_page
from tests.web.asking import TOKEN, cookies_of, log_in
from tests.web.test_pages import BIDI, HALF, HTML, MEGABYTE, MOST_BYTES, OPERATOR, commands_at, get

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

ADDRESSES = ("/incident", "/plan", "/plan?divert=mail.normal", "/plan?explain=yes&limit=mail=5/second&of=mail")


@pytest.fixture
def site(redis: Redis) -> ControlRoom:
    return ControlRoom(redis, OPERATOR)


def opened(scene: Scene) -> ControlRoom:
    """An incident with roles, and work that waits."""
    scene.fill("mail", *(f"job-{number}" for number in range(20)))
    incidents = scene.shedder.incidents
    incidents.open("Mails late", severity=2, by="ana@desk")
    incidents.roles.take("commander", by="ana@desk")
    incidents.roles.assign("operations", "ben@desk", by="ana@desk")
    return ControlRoom(scene.redis, OPERATOR)


# the incident


def test_an_incident_is_opened_on_its_page(redis: Redis) -> None:
    """The form leads to the preview of the act, and the visitor is the commander unless they say otherwise."""
    acting = Acting(redis)
    page = get(acting.site, "/incident")
    assert [] == [each for each in ("No incident is open", 'action="/act/incident-open"', 'value="ana@desk"')
                  if each not in page]  # fmt: skip
    seen = text_of_page(acting.post("/act/incident-open", title="Mails late", severity="2", commander="ana@desk"))
    assert "Mails late" in seen
    assert acting.shedder.incidents.current() is None


def test_the_page_of_an_incident_has_what_its_commander_needs(scene: Scene) -> None:
    """Severity, commander, the time to the next update, a note, the draft, the checklist, roles, the timeline."""
    text = get(opened(scene), "/incident")
    wanted = (
        "SEV2", "ana@desk", "next update in", 'action="/act/note"', 'action="/act/incident-update"',
        "Is a queue clogged?", "/act/incident-hand-over?role=commander", "took the role commander",
    )  # fmt: skip
    assert [] == [each for each in wanted if each not in text]


def test_the_draft_of_the_update_can_be_edited_and_sent(redis: Redis) -> None:
    """What stands in the box is what the record gets."""
    acting = Acting(redis)
    acting.shedder.incidents.open("Mails late", severity=2)
    draft = get(acting.site, "/incident")
    assert re.search(r"<textarea[^>]*>\n[^<]*Next update", draft)
    acting.do("incident-update", audience="stakeholders", text="We are on it.")
    assert "We are on it." == acting.shedder.incidents.read().updates[-1].text
    assert "We are on it." in get(ControlRoom(redis, OPERATOR), "/incident")


def test_who_has_a_role_hands_it_over_and_who_was_offered_one_accepts_it(scene: Scene) -> None:
    """Each sees what they can do; who may only look sees no button."""
    site = opened(scene)
    scene.shedder.incidents.roles.hand_over("operations", "cho@desk", by="ben@desk")
    accepts = {who: "/act/incident-accept?role=operations" in get(site, "/incident", user=who)
               for who in ("ana@desk", "ben@desk", "cho@desk")}  # fmt: skip
    assert {"ana@desk": False, "ben@desk": False, "cho@desk": True} == accepts
    looks = get(ControlRoom(scene.redis, SiteSettings(is_hosted=True)), "/incident")
    assert ("not accepted yet" in looks, "/act/" in looks) == (True, False)


def test_each_button_of_a_role_leads_to_an_act_that_can_be_done(scene: Scene) -> None:
    """Its preview refuses nothing; only to whom a role goes is still to be said."""
    site = opened(scene)
    scene.shedder.incidents.roles.hand_over("operations", "cho@desk", by="ben@desk")
    visitor = Visitor("cho@desk", may_act=True)
    links = [link for seat in seats_of(scene.shedder.incidents.read(), "cho@desk") for link in seat.acts]
    for link in links:
        said = {**link.fields, **({"person": ("dan@desk",)} if link.act == "incident-assign" else {})}
        assert preview_act(desk_of(site), ACTS[link.act], said, visitor).token
    assert {"incident-take", "incident-assign", "incident-accept"} == {link.act for link in links}


def test_a_command_over_several_lanes_is_one_line_of_the_timeline(scene: Scene) -> None:
    """As it was typed once; a note stands with its text."""
    site = opened(scene)
    event = scene.shedder.divert("mail", reason="room for mails", by="ben@desk").event
    scene.shedder.undo(event, reason="wrong queue", by="ben@desk")
    scene.shedder.incidents.note("The database is slow", by="ana@desk")
    text = get(site, "/incident")
    assert "(20 jobs back in place)" in text
    assert (1, 1) == (text.count("wrong queue"), text.count("<q><bdi>The database is slow</bdi></q>"))


def test_an_incident_that_is_over_has_its_review_on_the_page(scene: Scene) -> None:
    """And can be opened again."""
    site = opened(scene)
    scene.shedder.incidents.resolve(by="ana@desk")
    text = get(site, "/incident")
    assert [] == [each for each in ("No incident is open", "Mails late", "/act/incident-review", "/act/incident-reopen")
                  if each not in text]  # fmt: skip


# the checklist


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("pause mail reports -r 'disk full'", ActLink("pause", "Pause", {
            "target": ("mail", "reports"), "reason": ("disk full",)})),
        ("pause mail -r REASON", ActLink("pause", "Pause", {"target": ("mail",)})),
        ("divert mail --function app.* --meta tenant=acme", ActLink("divert", "Divert", {
            "target": ("mail",), "function": ("app.*",), "meta": ("tenant=acme",)})),
        ("divert mail --dry-run", ActLink("divert", "Divert", {"target": ("mail",)})),
        ("drain mail --rate 5/second", ActLink("drain", "Drain", {"target": ("mail",), "rate": ("5/second",)})),
        ("drain mail --stop -r why", ActLink("stop-drain", "Stop the drain", {
            "target": ("mail",), "reason": ("why",)})),
        ("retry mail --exception Timeout --since 1h --dry-run", ActLink("retry", "Retry", {
            "target": ("mail",), "exception": ("Timeout",), "since": ("1h",)})),
        ("limit set api 5/second", ActLink("limit-set", "Limit", {"name": ("api",), "rate": ("5/second",)})),
        ("limit starts mail --rate 5/second", ActLink("limit-starts", "Limit starts", {
            "target": ("mail",), "rate": ("5/second",)})),
        ("flag degrade --group extras", ActLink("degrade", "Degrade", {"group": ("extras",)})),
        ("mitigate scale --workers 4 --zone ZONE", ActLink("mitigate", "Run", {
            "name": ("scale",), "value": ("workers=4", "zone=")})),
        ("worker mail --with-scheduler", None),
        ("divert mail --unknown 5", None),
    ],
)  # fmt: skip
def test_a_command_leads_to_the_act_that_does_the_same(line: str, want: ActLink | None) -> None:
    """With its fields filled in; one that no act does just so leads nowhere."""
    found = act_of_command(tuple(shlex.split(line)))
    assert want == found
    if found is not None:
        said = {name: values for name, values in found.fields.items() if name != "reason"}
        assert {*said} == {*said_in(ACTS[found.act], said)}


def test_the_commands_of_the_checklist_are_buttons_and_lines_to_copy(scene: Scene) -> None:
    """Who may only look has the line alone."""
    mitigations = {"roll-back": Mitigation("roll-back", ("/bin/true", "{release}"), timedelta(minutes=1), "rollback")}
    apply(scene, Policy(rules=(Rule(queue="mail", selection=Selection.parse(functions=("app.*",)), shed=1),),
                        mitigations=mitigations))  # fmt: skip
    site = opened(scene)
    links = ("/act/pause?target=mail&amp;reason=Mails+late", "/act/divert?target=mail&amp;function=app.%2A",
             "/act/mitigate?name=roll-back&amp;value=release%3D")  # fmt: skip
    looks = ControlRoom(scene.redis, SiteSettings(is_hosted=True))
    for text, wanted in ((get(site, "/incident"), True), (get(looks, "/incident"), False)):
        assert {wanted} == {each in text for each in links}
        assert "<code>shedder pause mail -r &#39;Mails late&#39;</code>" in text


def test_what_was_done_stands_at_its_question(scene: Scene) -> None:
    """With who did it."""
    site = opened(scene)
    scene.shedder.pause("mail", reason="database", by="ben@desk")
    assert "pause mail by ben@desk (operations)" in get(site, "/incident")


# the plan


def test_the_plan_tells_what_diverts_would_bring_beside_doing_nothing(scene: Scene) -> None:
    """For the lanes that were chosen, with the acts and the command lines; a lane that there is not is named."""
    scene.fill("mail", "a", "b")
    scene.fill("reports", "r")
    text = get(ControlRoom(scene.redis, OPERATOR), "/plan?divert=reports.normal")
    wanted = ("divert reports.normal", "do nothing", "/act/divert?target=reports", 'name="pause"',
              'aria-label="divert reports.normal" checked', "shedder plan --divert reports.normal")  # fmt: skip
    assert [] == [each for each in wanted if each not in text]
    assert "<bdi>divert nonsense</bdi>" in get(ControlRoom(scene.redis, OPERATOR), "/plan?divert=nonsense")


def test_the_plan_knows_what_the_command_line_knows(scene: Scene, server: EmbeddedServer) -> None:
    """Pauses, diverts, limits, workers, some queues alone, and the arithmetic; what an act does has its button."""
    scene.fill("mail", *numbered("job", 20))
    scene.fill("mail.low", "low")
    scene.fill("reports", "r")
    asked = parse_qs("pause=mail.low&divert=mail&limit=mail%3D5/second&more=4&explain=yes&of=mail")
    site = ControlRoom(scene.redis, OPERATOR)
    text = site.handle(WebRequest("GET", "/plan", query=asked, user="ana@desk")).body.decode()
    line = "plan mail --pause mail.low --divert mail --limit mail=5/second --more 4 --explain"
    assert f"<code>shedder {line}</code>" in text
    done = CliRunner().invoke(main, ["-u", patient(server.url), *line.split()])
    options = ("do nothing", "pause mail.low", "divert mail", "limit mail to 5/second", "4 more workers")
    assert [] == [each for each in options if f"\n{each}  " not in done.output]
    rows = (*options, "do all of these")
    assert [] == [each for each in rows if f'<th scope="row"><bdi>{each}</bdi></th>' not in text]
    acts = ("pause?target=mail.low", "divert?target=mail", "limit-starts?target=mail&amp;rate=5%2Fsecond")
    assert [] == [each for each in acts if f'href="/act/{each}"' not in text]
    assert (True, False) == ("mail: 20 wait, 0/s start" in text, "reports: 1 wait" in text)


def test_the_plan_looks_at_jobs_when_it_is_asked_to(redis: Redis) -> None:
    """At as many of a long queue as of a longer one; then the function that fills a lane is an option."""
    assert commands_at(redis, "/plan?look=yes", jobs=1000) == commands_at(redis, "/plan?look=yes", jobs=2000)
    asked, idle = (get(ControlRoom(redis, OPERATOR), each) for each in ("/plan?look=yes", "/plan"))
    assert (True, False) == ("function=benchmarks" in asked, "function=benchmarks" in idle)


@pytest.mark.parametrize("query", ["limit=mail", "limit=mail=fast", "more=0", "more=many"])
def test_what_cannot_be_planned_is_said(site: ControlRoom, query: str) -> None:
    """In one sentence, beside the form."""
    assert 'role="alert"' in get(site, f"/plan?{query}")


def test_the_plan_of_an_empty_server_says_so(site: ControlRoom) -> None:
    """There is nothing to choose."""
    text = get(site, "/plan")
    assert ("nothing to plan" in text, 'name="divert"' in text) == (True, False)


# all of them


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("has_incident", [True, False], ids=["open", "none"])
def test_they_cost_the_same_at_every_length(redis: Redis, address: str, has_incident: bool) -> None:
    """The commands that they send do not grow with the jobs."""
    if has_incident:
        ControlRoom(redis, OPERATOR).shedder.incidents.open("Mails late", severity=2)
    assert commands_at(redis, address, jobs=20) == commands_at(redis, address, jobs=2000)


def test_a_hundred_of_them_cost_what_one_costs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves is read once for each shared reading."""
    monkeypatch.setattr("shedder.web.reading.GOOD_FOR_SECONDS", 3600.0)
    site = opened(scene)
    for address in ADDRESSES:
        get(site, address, is_live=True)
    with sent_by_us() as counted:
        for _ in range(100):
            for address in ADDRESSES:
                get(site, address, is_live=True)
    assert 0 == counted.total


def test_they_change_nothing(scene: Scene) -> None:
    """Not the record of the incident either: no effect is measured by looking."""
    site = opened(scene)
    scene.shedder.pause("mail", reason="database")
    before = dump(scene.redis)
    for address in ADDRESSES:
        get(site, address)
    assert before == dump(scene.redis)


@pytest.mark.parametrize("name", [HTML, BIDI, HALF, MEGABYTE], ids=["html", "bidi", "half", "megabyte"])
def test_hostile_words_do_no_harm_on_them(scene: Scene, name: str) -> None:
    """As titles, roles, tasks, notes, updates, names in commands, and what is asked for."""
    short = "".join(each for each in name[:60] if each.isprintable())
    scene.fill("mail", *(f"job-{number}" for number in range(20)), function=f"app.{short}", tenant=short)
    labelled = Rule(queue="mail", label=short, tolerance=timedelta(minutes=1))
    shed = Rule(queue="mail", selection=Selection.parse(meta=(f"tenant={short}",)), shed=1)
    apply(scene, Policy(rules=(labelled, shed)))
    shedder = scene.shedder
    told = name if len(name) < 1000 else name[:3000]
    shedder.incidents.open(short, severity=2)
    shedder.incidents.note(short)
    shedder.pause("mail", reason=told, by=told[:200])
    shedder.set_limit("limit", Rate.parse("5/second"), reason=told, force=True)
    site = ControlRoom(scene.redis, OPERATOR)
    for address in (
        *ADDRESSES,
        f"/plan?divert={name[:20_000]}",
        f"/plan?limit={name[:20_000]}",
        f"/plan?of={name[:20_000]}",
    ):
        text = get(site, address)
        assert [] == [each for each in ("<script>alert", "<img", "\u202e", "\u2066", "\ud800") if each in text]
        assert len(gzip.compress(text.encode())) <= MOST_BYTES
    shedder.incidents.resolve()
    assert "<script>alert" not in get(site, "/incident")


def test_what_moves_on_them_is_in_parts_that_they_name(scene: Scene) -> None:
    """Each part that is sent has its element; what one types in does not move."""
    site = opened(scene)
    for address in ("/incident", "/plan"):
        answer = site.handle(WebRequest("GET", address, user="ana@desk", is_live=True))
        text = get(site, address)
        assert {"bar"} < answer.parts.keys()
        assert [] == [name for name in answer.parts if f'data-live="{name}"' not in text]
        assert [] == [name for name, part in answer.parts.items() if "<textarea" in part or "<input" in part]


def test_they_have_neither_style_nor_script_of_their_own(scene: Scene) -> None:
    """The Content-Security-Policy allows none."""
    site = opened(scene)
    bad = re.compile(r"<style|style=|<script(?! src=\"/static/)|\son\w+=|(?:src|href)=\"(?:https?:)?//")
    assert [] == [(address, found) for address in ADDRESSES if (found := bad.findall(get(site, address)))]


def test_who_logged_in_with_a_token_can_log_out(redis: Redis) -> None:
    """On each page; where a proxy or an application logs people in, it also logs them out."""
    site = ControlRoom(redis, SiteSettings(allow_actions=True, tokens={TOKEN: "operator"}))
    answer = site.handle(WebRequest("GET", "/", cookies=cookies_of(log_in(site))))
    assert 'action="/logout"' in answer.body.decode()
    assert 'action="/logout"' not in get(ControlRoom(redis, OPERATOR), "/")
