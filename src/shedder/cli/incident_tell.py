"""`shedder incident update | watch | postmortem`: what others are told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import click

from shedder.cli import output
from shedder.cli.incident_view import open_incident_option, uncertain
from shedder.cli.options import Request, person_option, verb
from shedder.cli.policy import near_policy_option, policy_for, policy_option
from shedder.cli.run import Run
from shedder.errors import InvalidInput
from shedder.incident import blame
from shedder.incident.records import Incident
from shedder.incident.timeline import people_of
from shedder.policy.model import Policy
from shedder.postmortem import build, writing
from shedder.updates import posting
from shedder.updates.channels import Channels, channel_urls, send_update
from shedder.updates.watcher import Report, Watcher
from shedder.wording import counted

_UPDATE = (
    "shedder incident update --preview",
    'shedder incident update --say "The database is well again."',
    "shedder incident update --audience team",
)
_WATCH = ("shedder incident watch", "shedder incident watch --once --json")
_POSTMORTEM = ("shedder incident postmortem --out review", "shedder incident postmortem --check review/postmortem.md")


@verb("update", examples=_UPDATE, short="Post an update.")
@click.option("--say", metavar="TEXT", help="A text to put before the generated part.")
@click.option("--audience", type=click.Choice(["stakeholders", "team"]), default="stakeholders",
              show_default=True, help="Who it is for.")  # fmt: skip
@click.option("--preview", is_flag=True, help="Only show what would be posted.")
@click.option("--edit", is_flag=True, help="Change it in $EDITOR first.")
@policy_option
@open_incident_option
@person_option
def update(
    run: Run, *, request: Request, say: str | None, audience: str, preview: bool, edit: bool, policy_file: str | None,
    incident: str | None,
) -> int:  # fmt: skip
    """Post an update in the policy's words, even when there is no progress.

    The text is generated from the state of the queues. It is recorded and then sent to the
    policy's channels; `incident watch` retries a channel that fails.
    """
    shed = run.shedder
    policy = policy_for(run, policy_file)
    found = shed.incidents.read(incident)
    draft = posting.draft_update(shed, policy, found, audience=audience, now=shed.incidents.now())
    text = posting.joined(say, draft.text)
    if preview:
        told = _document(found, len(found.updates) + 1, text, draft, is_posted=False, sent_to=(), failed=())
        run.tell("incident-update/1", told, [output.plain(text)])
        return 0
    if edit:
        text = _written_by_hand(text)
    uncertain(run)
    return _post(run, policy, found, draft, text, by=request.by)


@verb("watch", examples=_WATCH, short="Remind people of due updates and post them.")
@click.option("--once", is_flag=True, help="Run one round and exit, for example from cron.")
@policy_option
def watch(run: Run, *, once: bool, policy_file: str | None) -> int:
    """Remind people of due updates, post those the policy allows, and write the status page.

    Run it under a supervisor, on two machines for availability: one leads. SIGTERM ends it.
    """
    watcher = _watcher(run, partial(policy_for, run, policy_file))
    if once:
        report = watcher.look()
        watcher.give_up()
        _show_report(run, report)
        return 1 if report.troubles or report.failed else 0
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    run.state = "this watcher has ended; updates are posted only if another watcher runs"
    run.screen.remark("watching incidents; SIGTERM or Ctrl-C ends this")
    watcher.watch(sleep=ended.wait, until=ended.is_set)
    return 0


@verb("postmortem", examples=_POSTMORTEM, short="Write the post-mortem.")
@click.argument("incident", metavar="[INCIDENT]", required=False)
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False), help="Where to.")
@click.option("--no-plots", is_flag=True, help="Leave the plots out.")
@click.option("--check", "check", metavar="FILE", type=click.Path(),
              help="Only report sentences in FILE that blame people.")  # fmt: skip
@near_policy_option
def postmortem(
    run: Run, *, incident: str | None, out: str | None, no_plots: bool, check: str | None, policy_file: str | None
) -> int:
    """Write the post-mortem as a page, Markdown and JSON, from what was recorded.

    People appear as roles. Gaps are marked; fill them with `incident review`.
    """
    if check is not None:
        return _check_file(run, check, incident)
    policy = policy_for(run, policy_file, or_near=True)
    found = build.incident_or_latest(run.shedder, incident)
    facts = build.postmortem_of(build.material_of(run.shedder, policy, found))
    folder = Path(out or writing.folder_name(found.id))
    written = writing.write_files(facts, folder, templates=policy.incident.templates or None, with_plots=not no_plots)
    run.tell("incident-postmortem/1", written, _written_parts(run, found, written), incident=found.id)
    return 0


def _document(incident: Incident, number: int, text: str, draft: posting.Draft, **sending: Any) -> dict[str, Any]:
    head = {"incident": incident.id, "number": number, "text": text}
    return {**head, "audience": draft.audience, "next_update": draft.next_update, **sending}


def _written_by_hand(text: str) -> str:
    """What a person made of `text` in their editor.

    Raises:
        InvalidInput: nothing was left, or there is no editor.
    """
    edited = click.edit(text, extension=".txt")
    if edited is None or not edited.strip():
        says = "the editor saved no text, so no update was posted; write one and save it"
        raise InvalidInput(name="update", value="", accepted="a text", says=says)
    return " ".join(edited.split())


def _post(run: Run, policy: Policy, incident: Incident, draft: posting.Draft, text: str, *, by: str | None) -> int:
    """Record the update and send it; 1 when a channel did not take it."""
    shed = run.shedder
    channels = Channels(channel_urls(policy.incident.channels))
    receipt = posting.post_update(shed, incident.id, draft, text=text, by=by)
    run.state = "the update is recorded"
    sent_to, failed = send_update(shed.store, policy.incident, channels, receipt, who=shed.by)
    return _told(run, receipt.incident, draft, sent_to, failed)


def _told(run: Run, incident: Incident, draft: posting.Draft, sent_to: list[str], failed: list[str]) -> int:
    update = incident.updates[-1]
    told = _document(incident, update.number, update.text, draft, is_posted=True, sent_to=sent_to, failed=failed)
    where = f"sent to {counted(len(sent_to), 'place')}" if sent_to else "sent nowhere"
    following = f"next one, due at {output.clock(draft.next_update, update.at)}"
    run.tell("incident-update/1", told, [
        output.headline(f"Update {update.number} of {incident.id} is recorded, {where}."),
        output.plain(update.text),
        *output.commands_part((following, output.command("incident", "update", server=run.server_option))),
    ])  # fmt: skip
    if failed and not run.is_json:
        run.screen.warn(f"the channel {failed[0]} did not take it; `shedder incident watch` tries again")
    return 1 if failed else 0


def _watcher(run: Run, policy: Callable[[], Policy]) -> Watcher:
    @lru_cache(maxsize=1)
    def channels_at(urls: tuple[tuple[str, tuple[str, ...]], ...]) -> Channels:
        return Channels(dict(urls))

    def channels(current: Policy) -> Channels:
        return channels_at(tuple(channel_urls(current.incident.channels).items()))

    channels(policy())  # a URL that cannot be used is told before the first round
    return Watcher(run.shedder, policy, channels, clock=run.shedder.incidents.now)


def _show_report(run: Run, report: Report) -> None:
    said = f"{counted(len(report.posted), 'update')} posted." if report.is_leading else "Another watcher leads."
    run.tell("incident-watch/1", report, [output.plain(said)])
    for trouble in () if run.is_json else report.troubles:
        run.screen.warn(trouble)


def _written_parts(run: Run, incident: Incident, written: writing.WrittenFiles) -> output.Parts:
    folder = Path(written.folder)
    missing = ", ".join(written.missing) or "nothing"
    return [
        output.headline(f"The post-mortem of {incident.id} is in {folder / written.files[0]}."),
        output.plain(f"{100 * written.filled:.0f} % of its parts are filled; left to write: {missing}."),
        *output.commands_part(
            ("write", output.command("incident", "review", server=run.server_option)),
            ("check it", output.command("incident", "postmortem", options=("--check", str(folder / "postmortem.md")))),
        ),
    ]  # fmt: skip


def _check_file(run: Run, file: str, incident: str | None) -> int:
    """Warn of sentences that blame; 1 when there is one."""
    try:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        accepted = f"a file that can be read ({error.strerror})"
        raise InvalidInput(name="--check", value=file, accepted=accepted) from error
    read = build.incident_or_latest(run.shedder, incident)
    people = people_of(read, run.shedder.incidents.timeline(read.id))
    found = blame.warnings_of(text, people=people)
    run.tell("incident-check/1", {"warnings": found}, _warned_parts(found))
    return 1 if found else 0


def _warned_parts(found: tuple[blame.Warned, ...]) -> output.Parts:
    if not found:
        return [output.plain("No sentence blames anybody.")]
    made = output.table(">line", "words", "why", "sentence")
    for each in found:
        output.row(made, str(each.line), each.found, each.why, each.sentence)
    said = f"{counted(len(found), 'sentence')} to write anew: say what made it easy, or hard to see."
    return [output.headline(said), output.blank(), made]
