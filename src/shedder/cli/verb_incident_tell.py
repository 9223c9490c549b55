"""`shedder incident update | watch | postmortem`: tell others, on time, and learn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.incident_options import incident_option, uncertain
from shedder.cli.options import Asked, cause_options, verb
from shedder.cli.policy_chosen import near_policy_option, policy_for, policy_option

if TYPE_CHECKING:
    from shedder.cli.run import Run
    from shedder.policy import Policy

_UPDATE = (
    "shedder incident update --preview",
    'shedder incident update --say "The database is well again."',
    "shedder incident update --audience team",
)
_WATCH = ("shedder incident watch", "shedder incident watch --once --json")
_POSTMORTEM = (
    "shedder incident postmortem --out review",
    "shedder incident postmortem --check review/postmortem.md",
)


@verb("update", examples=_UPDATE, short="Post an update.")
@click.option("--say", metavar="TEXT", help="What to say before the computed part.")
@click.option("--audience", type=click.Choice(["stakeholders", "team"]), default="stakeholders",
              show_default=True, help="Who it is for.")  # fmt: skip
@click.option("--preview", is_flag=True, help="Only show what would be posted.")
@click.option("--edit", is_flag=True, help="Change it in $EDITOR first.")
@policy_option
@incident_option
@cause_options
def update(
    run: Run, *, asked: Asked, say: str | None, audience: str, preview: bool, edit: bool,
    policy_file: str | None, incident: str | None,
) -> int:  # fmt: skip
    """Post how things are, in the words of the policy, also when there is no progress.

    The text is made of the queues' own state. It is recorded first and sent to the policy's
    channels then; a channel that does not take it is tried again by `incident watch`.
    """
    from shedder.cli.incident_telling import post, preview_of, written_by_hand
    from shedder.heartbeat.drafting import draft_update

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
    return post(run, policy, found, draft, text, by=asked.by)


@verb("watch", examples=_WATCH, short="See to it that updates are posted in time.")
@click.option("--once", is_flag=True, help="One round, such as from cron.")
@policy_option
def watch(run: Run, *, once: bool, policy_file: str | None) -> int:
    """Remind of updates, post them where the policy says so, and write the status page.

    Run it under any supervisor, on two machines if you like: one leads. It ends with SIGTERM.
    """
    from shedder.cli.incident_telling import watch_on, watch_once

    def policy() -> Policy:
        return policy_for(run, policy_file)

    return watch_once(run, policy) if once else watch_on(run, policy)


@verb("postmortem", examples=_POSTMORTEM, short="Write what the incident teaches.")
@click.argument("incident", metavar="[INCIDENT]", required=False)
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False), help="Where to.")
@click.option("--no-plots", is_flag=True, help="Leave the plots out.")
@click.option("--check", "check", metavar="FILE", type=click.Path(),
              help="Only warn of sentences in FILE that blame.")  # fmt: skip
@near_policy_option
def postmortem(
    run: Run, *, incident: str | None, out: str | None, no_plots: bool, check: str | None,
    policy_file: str | None,
) -> int:  # fmt: skip
    """Write the post-mortem as a page, Markdown and JSON, from what was recorded.

    People appear as roles. What is left to write is marked; `incident review` keeps it.
    """
    from shedder.cli.incident_telling import check_file, write_postmortem

    if check is not None:
        return check_file(run, check, incident)
    policy = policy_for(run, policy_file, or_near=True)
    return write_postmortem(run, policy, incident, out, with_plots=not no_plots)
