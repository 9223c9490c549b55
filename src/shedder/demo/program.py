"""`shedder demo`: an incident on a private server, its summary, and its end whatever happens."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import Any

import click

from shedder.cli.options import verb
from shedder.cli.run import Run
from shedder.demo.fleet import WORKERS
from shedder.demo.room import check_that_pages_can_be_made, control_room
from shedder.demo.stage import Stage
from shedder.demo.story import Ending, tell_story
from shedder.demo.terminal import Teller
from shedder.response.runner import ShutdownSignals
from shedder.wording import counted

LEAST_JOBS = 200
USUAL_JOBS = 200_000
MOST_JOBS = 2_000_000

_IDS_SHOWN = 20
_GONE = "All that this demo has started has ended, its data are gone."
_TO_TRY = (
    "shedder status --watch",
    'shedder drain mail --stop -r "trying it out"',
    "shedder divert mail --meta tenant=acme --dry-run",
    'shedder undo -r "that was wrong"',
    'shedder drain mail --at-once -r "all of it back"',
    "shedder events --follow",
)
_EXAMPLES = ("shedder demo", "shedder demo --jobs 20000", "shedder demo --web --keep")


@verb("demo", examples=_EXAMPLES, short="Play an incident on a private server.")
@click.option("--jobs", type=click.IntRange(LEAST_JOBS, MOST_JOBS), default=USUAL_JOBS, show_default=True,
              help="How many jobs clog the queue.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the private server up until Ctrl-C.")
@click.option("--web", is_flag=True, help="Have the control room open on it, where you may act too.")
@click.option("--out", metavar="DIR", default="", help="Where the post-mortem is kept.")
def demo(run: Run, *, jobs: int, keep: bool, web: bool, out: str) -> int:
    """Play an incident: a clogged queue, what an operator does about it, and the post-mortem.

    Starts a Redis or Valkey of its own; touches no other.
    """
    teller = Teller(run.screen)
    if web:
        check_that_pages_can_be_made()
    with ShutdownSignals() as asked:
        try:
            with ExitStack() as ends:
                stage = _set_up(ends, teller, asked, jobs=jobs)
                if web:
                    ends.enter_context(control_room(stage))
                ending = tell_story(stage, out=out)
                if run.is_json:
                    run.emit("demo/1", _summary(stage, ending))
                _say_how_it_ended(stage, ending)
                if keep:
                    _stay_open(stage, asked)
        except KeyboardInterrupt:
            teller.say(f"Stopped. {_GONE}")
            return 128 + (asked.by or signal.SIGINT)
    if keep:
        teller.say(_GONE)
    return 0 if ending.is_good else 1


def _set_up(ends: ExitStack, teller: Teller, asked: ShutdownSignals, *, jobs: int) -> Stage:
    stage = Stage(ends, teller, asked, jobs=jobs)
    product = stage.server.binary.product.capitalize()
    teller.say(
        f"""An incident with {counted(jobs, "job")}, on a {product} {stage.server.version} of its
        own in a temporary folder; no other Redis is touched. Ctrl-C ends it and leaves nothing
        behind."""
    )
    return stage


def _summary(stage: Stage, ending: Ending) -> dict[str, Any]:
    return {
        "jobs": stage.jobs,
        "server": f"{stage.server.binary.product} {stage.server.version}",
        "url": stage.server.url,
        "workers": WORKERS,
        "seconds": stage.teller.seconds,
        "loading_seconds": ending.loading_seconds,
        "started_while_paused": ending.started_while_paused,
        "waits": stage.customers.waits(stage.log),
        "commands": stage.receipts,
        "accounts": ending.accounts,
        "postmortem": ending.postmortem,
        "is_good": ending.is_good,
    }


def _say_how_it_ended(stage: Stage, ending: Ending) -> None:
    teller = stage.teller
    if ending.is_good:
        teller.say(
            f"""Every one of the {counted(stage.jobs, "job")} is accounted for, and none has started
            again but those that had failed. This took {teller.seconds:.0f} s. The post-mortem
            stays, with its plots:"""
        )
        teller.quote(f"{ending.postmortem}/postmortem.html")
        return
    teller.say("NOT as it should be. Please report it with these ids:")
    teller.quote("\n".join(ending.accounts.wrong[:_IDS_SHOWN]) or "see what was counted above")


def _stay_open(stage: Stage, asked: ShutdownSignals) -> None:
    stage.teller.head("Yours: the server and its workers stay up until Ctrl-C ends this program")
    stage.teller.say("In another terminal:")
    stage.teller.quote("\n".join([f"export SHEDDER_REDIS_URL={stage.server.url}", *_TO_TRY]))
    while not asked.by:
        time.sleep(0.2)
