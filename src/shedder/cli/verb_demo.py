"""`shedder demo`: an incident on a private server, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.options import verb

if TYPE_CHECKING:
    from shedder.cli.run import Run

USUAL_JOBS = 200_000
MOST_JOBS = 2_000_000


_EXAMPLES = (
    "shedder demo",
    "shedder demo --jobs 20000",
)


@verb("demo", examples=_EXAMPLES)
@click.option(
    "--jobs",
    type=click.IntRange(1, MOST_JOBS),
    default=USUAL_JOBS,
    show_default=True,
    help="How many jobs clog the queue.",
)
@click.option("--keep", is_flag=True, help="Leave the private server up until Ctrl-C.")
@click.option("--out", metavar="DIR", default="", help="Where the post-mortem goes, and stays.")
def demo(run: Run, *, jobs: int, keep: bool, out: str) -> int:
    """Live through an incident: a clogged queue, what is done about it, and what it teaches.

    Starts a Redis or Valkey of its own; touches no other.
    """
    from shedder.demo import main

    return main(jobs=jobs, keep=keep, json=run.is_json, out=out)
