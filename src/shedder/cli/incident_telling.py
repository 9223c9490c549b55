"""What do `incident update`, `watch` and `postmortem` do, once they know what is asked?"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shedder.cli.parts import blank, commands_part, headline, plain, row, table
from shedder.cli.text import clock, command
from shedder.counts import counted
from shedder.errors import InvalidInput
from shedder.heartbeat.channels import Channels, channel_urls
from shedder.heartbeat.delivering import deliver
from shedder.heartbeat.messages import messages_of
from shedder.heartbeat.posting import post_update
from shedder.heartbeat.watching import Report, Watcher
from shedder.postmortem.blame import Warned, warnings_of
from shedder.postmortem.compute import postmortem_of
from shedder.postmortem.gathering import material_of, read_incident
from shedder.postmortem.telling import people_of
from shedder.postmortem.writing import WrittenFiles, folder_name, write_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.cli.run import Run
    from shedder.heartbeat.drafting import Draft
    from shedder.incident.records import Incident
    from shedder.policy import Policy


def preview_of(run: Run, incident: Incident, draft: Draft, text: str) -> int:
    """Show what would be posted."""
    if run.is_json:
        run.emit("incident-update/1", {
            "incident": incident.id, "number": len(incident.updates) + 1, "text": text,
            "audience": draft.audience, "next_update": draft.next_update, "is_posted": False,
            "sent_to": (), "failed": (),
        })  # fmt: skip
        return 0
    run.screen.show(plain(text))
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


def post(
    run: Run, policy: Policy, incident: Incident, draft: Draft, text: str, *, by: str | None
) -> int:
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
    failed = deliver(shed.store, shed.keys, incident.id, own, channels.send, who=shed.by)
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
        run.screen.warn(
            f"the channel {failed[0]} did not take it; `shedder incident watch` tries again"
        )
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
    run.state = "nobody looks after updates any more, unless another watcher does"
    run.screen.remark("looking after incidents; SIGTERM or Ctrl-C ends this")
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


def write_postmortem(
    run: Run, policy: Policy, incident: str | None, out: str | None, *, with_plots: bool
) -> int:
    """Write the document; its path is shown."""
    found = read_incident(run.shedder, incident)
    facts = postmortem_of(material_of(run.shedder, policy, found))
    folder = Path(out or folder_name(found.id))
    templates = policy.incident.templates or None
    written = write_files(facts, folder, templates=templates, with_plots=with_plots)
    if run.is_json:
        run.emit("incident-postmortem/1", written, incident=found.id)
        return 0
    run.screen.show(*_written_parts(run, found, written))
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
    if run.is_json:
        run.emit("incident-check/1", {"warnings": found})
    else:
        run.screen.show(*_warned_parts(found))
    return 1 if found else 0


def _people(run: Run, incident: str | None) -> frozenset[str]:
    found = read_incident(run.shedder, incident)
    return people_of(found, run.shedder.incidents.timeline(found.id))


def _warned_parts(found: tuple[Warned, ...]) -> list[Any]:
    if not found:
        return [plain("No sentence blames anybody.")]
    made = table(">line", "words", "why", "sentence")
    for each in found:
        row(made, str(each.line), each.found, each.why, each.sentence)
    said = (
        f"{counted(len(found), 'sentence')} to write anew: say what made it easy, or hard to see."
    )
    return [headline(said), blank(), made]
