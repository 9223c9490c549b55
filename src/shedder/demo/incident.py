"""What does the demo do for the record, beside acting on the queue?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shedder.demo.stage import Stage

COMMANDER, COMMUNICATIONS = "ana@desk", "bob@desk"

POLICY = """\
version = 1

[[rules]]
function = "*.charge_card"
noun = "card charges"
tolerance = "10s"

[[rules]]
function = "*.send_receipt"
noun = "receipt e-mails"
tolerance = "10m"

[[rules]]
function = "*.send_newsletter"
noun = "newsletters"
tolerance = "8h"

[[rules]]
function = "*.rebuild_report"
noun = "reports"
tolerance = "1d"

[[rules]]
function = "*.reset_password"
priority = "high"
noun = "password mails"
tolerance = "10s"
"""
"""In the words of the business, with how long each kind of work may wait."""


def write_policy(folder: Path) -> Path:
    """The demo's policy in a file in `folder`; its path."""
    path = folder / "shedder.toml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def apply_policy(stage: Stage) -> None:
    """Put into force what the team has said on a quiet day."""
    stage.teller.head("A quiet day before: the team says what its jobs are to the business")
    order = ("policy", "apply", str(stage.policy), "-r", "agreed in the review", "--by", COMMANDER)
    stage.commands.run(*order)


def open_incident(stage: Stage) -> None:
    """Open the incident, and say who does what."""
    stage.teller.head("We have an incident: one commander, and a record that fills itself")
    stage.commands.run(
        "incident", "open", "Card charges are late", "--severity", "2", "--commander", COMMANDER,
        "--by", COMMANDER,
    )  # fmt: skip
    stage.commands.run("incident", "take", "operations")
    stage.commands.run("incident", "assign", "communications", COMMUNICATIONS, "--by", COMMANDER)


def tell_others(stage: Stage) -> None:
    """Post an update that nobody has typed, and show that it arrived."""
    teller = stage.teller
    teller.head("Tell the others: an update that wrote itself")
    before = len(stage.listener.heard)
    stage.commands.run("incident", "update", "--by", COMMUNICATIONS)
    arrived = len(stage.listener.heard) - before
    teller.say(f"Messages that came to the demo's channel: {arrived}.")


def resolve(stage: Stage) -> None:
    """Say that it is over."""
    stage.teller.head("It is over: a review is due in 48 hours")
    stage.commands.run("incident", "resolve", "--by", COMMANDER, "-r", "charges start at once")


def write_postmortem(stage: Stage) -> Path:
    """Leave the post-mortem in a folder that stays; the folder."""
    stage.teller.head("The post-mortem: what nobody has to write down any more")
    folder = Path(stage.out) if stage.out else Path(tempfile.mkdtemp(prefix="shedder-postmortem-"))
    stage.commands.run("incident", "postmortem", "--out", str(folder))
    return folder
