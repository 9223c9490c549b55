"""How is the demo set up, and how does it end whatever happens?"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from shedder.demo.commands import Commands
from shedder.demo.customers import Customers
from shedder.demo.fleet import Fleet
from shedder.demo.incident import write_policy
from shedder.demo.interrupts import Interrupts
from shedder.demo.listener import Listener
from shedder.demo.runlog import RunLog
from shedder.demo.stage import Stage
from shedder.demo.story import Ending, tell_story
from shedder.demo.summary import write_summary
from shedder.demo.telling import Teller, number
from shedder.embedded import EmbeddedServer
from shedder.errors import InvalidInput

LEAST_JOBS = 200

_IDS_SHOWN = 20
_GLANCE_SECONDS = 0.2
_TO_TRY = (
    "shedder status --watch",
    'shedder drain mail --stop -r "trying it out"',
    "shedder divert mail --meta tenant=acme --dry-run",
    'shedder undo -r "that was wrong"',
    'shedder drain mail --at-once -r "all of it back"',
    "shedder events --follow",
)


def main(jobs: int = 200_000, *, keep: bool = False, json: bool = False, out: str = "") -> int:
    """Live through an incident on a private server; the exit code.

    Args:
        jobs: how many jobs clog the queue, at least 200.
        keep: leave the server and the workers up at the end, until Ctrl-C.
        out: the folder for the post-mortem, which stays; one of its own when it is empty.
        json: the story goes to standard error, and one JSON object to standard output.

    Returns:
        0 when every job is accounted for, 1 when one is not, 130 after Ctrl-C.

    Raises:
        InvalidInput: too few jobs.
        ServerNotFound: there is no server program to start.
        ShedderError: something that the story needs did not work.
    """
    if jobs < LEAST_JOBS:
        raise InvalidInput(name="--jobs", value=jobs, accepted=f"{LEAST_JOBS} or more")
    teller = Teller(sys.stderr if json else sys.stdout)
    is_told = False
    with Interrupts() as interrupts:
        try:
            with ExitStack() as ends:
                stage = _set_up(ends, jobs, teller, interrupts, out=out)
                ending = tell_story(stage)
                is_told = True
                if json:
                    write_summary(sys.stdout, stage, ending)
                _close(stage, ending)
                if keep:
                    _stay_open(stage)
        except KeyboardInterrupt:
            if not (is_told and keep):
                teller.say("Stopped. All that this demo has started has ended, its data are gone.")
                return interrupts.exit_code
            teller.say("All that this demo has started has ended, its data are gone.")
    return 0 if ending.is_good else 1


def _set_up(
    ends: ExitStack, jobs: int, teller: Teller, interrupts: Interrupts, *, out: str
) -> Stage:
    server = ends.enter_context(EmbeddedServer())
    folder = server.socket_path.parent  # it is deleted with the server, whatever ends this process
    log = RunLog(folder / "started")
    listener = ends.enter_context(Listener())
    product = server.binary.product.capitalize()
    teller.say(
        f"""An incident with {number(jobs)} jobs, on a {product} {server.version} of its own in a
        temporary folder; no other Redis is touched. Ctrl-C ends it and leaves nothing behind."""
    )
    stage = Stage(
        jobs=jobs,
        server=server,
        client=ends.enter_context(server.client()),
        teller=teller,
        commands=Commands(server.url, teller, channel=listener.url),
        fleet=ends.enter_context(Fleet(server.url, run_log=log.path, folder=folder)),
        customers=Customers(server, first=jobs),
        log=log,
        interrupts=interrupts,
        listener=listener,
        policy=write_policy(folder),
        out=out,
    )
    ends.callback(stage.customers.leave)
    ends.callback(interrupts.ignore)  # what is entered last ends first
    return stage


def _close(stage: Stage, ending: Ending) -> None:
    teller, accounts = stage.teller, ending.accounts
    if ending.is_good:
        teller.say(
            f"""Every one of the {number(stage.jobs)} jobs is accounted for, and each has started at
            most once. This took {teller.seconds:.0f} s. The post-mortem stays, with its plots:"""
        )
        teller.quote(str(ending.postmortem / "postmortem.html"))
        return
    teller.say("NOT as it should be. Please report it with these ids:")
    wrong = (*accounts.missing, *accounts.twice, *accounts.run_again, *accounts.strangers)
    teller.quote("\n".join(wrong[:_IDS_SHOWN]) or "see what was counted above")


def _stay_open(stage: Stage) -> None:
    stage.teller.head("Yours: the server and its workers stay up until Ctrl-C ends this program")
    stage.teller.say("In another terminal:")
    stage.teller.quote("\n".join([f"export SHEDDER_REDIS_URL={stage.server.url}", *_TO_TRY]))
    while True:
        time.sleep(_GLANCE_SECONDS)
        stage.interrupts.check()
