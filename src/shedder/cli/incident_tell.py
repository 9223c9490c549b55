"""`shedder incident update | watch | postmortem`: what others are told."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shedder.cli.incident_view import open_incident_option, uncertain
from shedder.cli.options import Request, person_option, verb
from shedder.cli.output import blank, clock, command, commands_part, headline, plain, row, table
from shedder.cli.policy import near_policy_option, policy_for, policy_option
from shedder.errors import InvalidInput
from shedder.postmortem.blame import Warned, warnings_of
from shedder.postmortem.build import incident_or_latest, material_of, postmortem_of
from shedder.postmortem.narrative import people_of
from shedder.postmortem.writing import WrittenFiles, folder_name, write_files
from shedder.updates.channels import Channels, channel_urls, deliver
from shedder.updates.messages import messages_of
from shedder.updates.posting import draft_update, post_update
from shedder.updates.watcher import Report, Watcher
from shedder.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.cli.run import Run
    from shedder.incident.records import Incident
    from shedder.policy.model import Policy
    from shedder.updates.posting import Draft


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
    run: Run, *, request: Request, say: str | None, audience: str, preview: bool, edit: bool,
    policy_file: str | None, incident: str | None,
) -> int:  # fmt: skip
    """Post an update in the policy's words, even when there is no progress.

    The text is generated from the state of the queues. It is recorded and then sent to the
    policy's channels; `incident watch` retries a channel that fails.
    """
    shed = run.shedder
    policy = policy_for(run, policy_file)
    found = shed.incidents.read(incident)
    draft = draft_update(shed, policy, found, audience=audience, now=shed.incidents.now())
    text = " ".join(filter(None, [say, draft.text]))
    if preview:
        return preview_of(run, found, draft, text)
    if edit:
        text = written_by_hand(text)
    uncertain(run)
    return post(run, policy, found, draft, text, by=request.by)


@verb("watch", examples=_WATCH, short="Remind people of due updates and post them.")
@click.option("--once", is_flag=True, help="Run one round and exit, for example from cron.")
@policy_option
def watch(run: Run, *, once: bool, policy_file: str | None) -> int:
    """Remind people of due updates, post those the policy allows, and write the status page.

    Run it under a supervisor, on two machines for availability: one leads. SIGTERM ends it.
    """

    def policy() -> Policy:
        return policy_for(run, policy_file)

    return watch_once(run, policy) if once else watch_on(run, policy)


@verb("postmortem", examples=_POSTMORTEM, short="Write the post-mortem.")
@click.argument("incident", metavar="[INCIDENT]", required=False)
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False), help="Where to.")
@click.option("--no-plots", is_flag=True, help="Leave the plots out.")
@click.option("--check", "check", metavar="FILE", type=click.Path(),
              help="Only report sentences in FILE that blame people.")  # fmt: skip
@near_policy_option
def postmortem(
    run: Run, *, incident: str | None, out: str | None, no_plots: bool, check: str | None,
    policy_file: str | None,
) -> int:  # fmt: skip
    """Write the post-mortem as a page, Markdown and JSON, from what was recorded.

    People appear as roles. Gaps are marked; fill them with `incident review`.
    """
    if check is not None:
        return check_file(run, check, incident)
    policy = policy_for(run, policy_file, or_near=True)
    return write_postmortem(run, policy, incident, out, with_plots=not no_plots)


def preview_of(run: Run, incident: Incident, draft: Draft, text: str) -> int:
    """Show what would be posted."""
    told = {
        "incident": incident.id, "number": len(incident.updates) + 1, "text": text,
        "audience": draft.audience, "next_update": draft.next_update, "is_posted": False,
        "sent_to": (), "failed": (),
    }  # fmt: skip
    run.tell("incident-update/1", told, [plain(text)])
    return 0


def written_by_hand(text: str) -> str:
    """What a person made of `text` in their editor.

    Raises:
        InvalidInput: nothing was left, or there is no editor.
    """
    edited = click.edit(text, extension=".txt")
    if edited is None or not edited.strip():
        raise InvalidInput(name="update", value="", accepted="a text that was saved in the editor")
    return " ".join(edited.split())


def post(run: Run, policy: Policy, incident: Incident, draft: Draft, text: str, *, by: str | None) -> int:
    """Record the update and send it; 1 when a channel did not take it."""
    shed = run.shedder
    channels = channels_of(policy)
    receipt = post_update(shed, incident.id, draft, text=text, by=by)
    run.state = "the update is recorded"
    update = receipt.incident.updates[-1]
    own = [
        each
        for each in messages_of(receipt.incident, (), policy.incident, receipt.at)
        if each.name == f"update-{update.number}" and each.channel in channels.names
    ]
    failed = deliver(shed.store, incident.id, own, channels.send, who=shed.by)
    sent_to = [place for each in own if each not in failed for place in
               channels.places(each.channel)]  # fmt: skip
    return _told(run, receipt.incident, draft, sent_to, [each.channel for each in failed])


def channels_of(policy: Policy) -> Channels:
    """Where messages go, by the policy and the environment."""
    return Channels(channel_urls(policy.incident.channels))


def _told(run: Run, incident: Incident, draft: Draft, sent_to: list[str], failed: list[str]) -> int:
    update = incident.updates[-1]
    if run.is_json:
        run.emit("incident-update/1", {
            "incident": incident.id, "number": update.number, "text": update.text,
            "audience": draft.audience, "next_update": draft.next_update, "is_posted": True,
            "sent_to": sent_to, "failed": failed,
        })  # fmt: skip
        return 1 if failed else 0
    where = f", sent to {counted(len(sent_to), 'place')}" if sent_to else ", sent nowhere"
    run.screen.show(
        headline(f"Update {update.number} of {incident.id} is recorded{where}."),
        plain(update.text),
        *commands_part(
            ("next one, due at " + clock(draft.next_update, update.at),
             command("incident", "update", server=run.server_option)),
        ),
    )  # fmt: skip
    if failed:
        run.screen.warn(f"the channel {failed[0]} did not take it; `shedder incident watch` tries again")
        return 1
    return 0


def watch_once(run: Run, policy: Callable[[], Policy]) -> int:
    """One round."""
    watcher = _watcher(run, policy)
    report = watcher.look()
    watcher.give_up()
    _show_report(run, report)
    return 1 if report.troubles or report.failed else 0


def watch_on(run: Run, policy: Callable[[], Policy]) -> int:
    """Rounds until SIGTERM or Ctrl-C."""
    ended = threading.Event()
    watcher = _watcher(run, policy)
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    run.state = "this watcher has ended; updates are posted only if another watcher runs"
    run.screen.remark("watching incidents; SIGTERM or Ctrl-C ends this")
    watcher.watch(sleep=ended.wait, until=ended.is_set)
    return 0


def _watcher(run: Run, policy: Callable[[], Policy]) -> Watcher:
    shed = run.shedder
    made: dict[Any, Channels] = {}

    def channels(current: Policy) -> Channels:
        urls = channel_urls(current.incident.channels)
        key = tuple(sorted(urls.items()))
        if key not in made:
            made.clear()
            made[key] = Channels(urls)
        return made[key]

    channels(policy())  # a URL that cannot be used is told before the first round
    return Watcher(shed, policy, channels, clock=shed.incidents.now)


def _show_report(run: Run, report: Report) -> None:
    if run.is_json:
        run.emit("incident-watch/1", {
            "is_leading": report.is_leading, "posted": report.posted, "failed": report.failed,
            "troubles": report.troubles,
        })  # fmt: skip
        return
    if not report.is_leading:
        run.screen.show(plain("Another watcher leads."))
        return
    run.screen.show(plain(f"{counted(len(report.posted), 'update')} posted."))
    for trouble in report.troubles:
        run.screen.warn(trouble)


def write_postmortem(run: Run, policy: Policy, incident: str | None, out: str | None, *, with_plots: bool) -> int:
    """Write the document; its path is shown."""
    found = incident_or_latest(run.shedder, incident)
    facts = postmortem_of(material_of(run.shedder, policy, found))
    folder = Path(out or folder_name(found.id))
    templates = policy.incident.templates or None
    written = write_files(facts, folder, templates=templates, with_plots=with_plots)
    view = _written_parts(run, found, written)
    run.tell("incident-postmortem/1", written, view, incident=found.id)
    return 0


def _written_parts(run: Run, incident: Incident, written: WrittenFiles) -> list[Any]:
    page = Path(written.folder) / written.files[0]
    missing = ", ".join(written.missing) or "nothing"
    return [
        headline(f"The post-mortem of {incident.id} is in {page}."),
        plain(f"{100 * written.filled:.0f} % of its parts are filled; left to write: {missing}."),
        *commands_part(
            ("write", command("incident", "review", server=run.server_option)),
            ("check it", command("incident", "postmortem", options=(
                "--check", str(Path(written.folder) / "postmortem.md")))),
        ),
    ]  # fmt: skip


def check_file(run: Run, file: str, incident: str | None) -> int:
    """Warn of sentences that blame; 1 when there is one."""
    try:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        accepted = f"a file that can be read ({error.strerror})"
        raise InvalidInput(name="--check", value=file, accepted=accepted) from error
    found = warnings_of(text, people=_people(run, incident))
    run.tell("incident-check/1", {"warnings": found}, _warned_parts(found))
    return 1 if found else 0


def _people(run: Run, incident: str | None) -> frozenset[str]:
    found = incident_or_latest(run.shedder, incident)
    return people_of(found, run.shedder.incidents.timeline(found.id))


def _warned_parts(found: tuple[Warned, ...]) -> list[Any]:
    if not found:
        return [plain("No sentence blames anybody.")]
    made = table(">line", "words", "why", "sentence")
    for each in found:
        row(made, str(each.line), each.found, each.why, each.sentence)
    said = f"{counted(len(found), 'sentence')} to write anew: say what made it easy, or hard to see."
    return [headline(said), blank(), made]
