"""What does the demo print for programs?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from shedder.demo.fleet import WORKERS

if TYPE_CHECKING:
    from shedder.demo.commands import Receipt
    from shedder.demo.stage import Stage
    from shedder.demo.story import Ending
    from shedder.demo.waits import Wait, Waits

SCHEMA = "shedder.demo/1"
_IDS_LISTED = 100


def write_summary(stream: TextIO, stage: Stage, ending: Ending) -> None:
    """Write the one JSON object of the demo, on one line."""
    json.dump(summary_of(stage, ending), stream)
    stream.write("\n")
    stream.flush()


def summary_of(stage: Stage, ending: Ending) -> dict[str, Any]:
    """All that was measured and counted."""
    return {
        "schema": SCHEMA,
        "jobs": stage.jobs,
        "server": f"{stage.server.binary.product} {stage.server.version}",
        "url": stage.server.url,
        "workers": WORKERS,
        "seconds": round(stage.teller.seconds, 3),
        "loading_seconds": round(ending.loading_seconds, 3),
        "started_while_paused": ending.started_while_paused,
        "waits": [_waits(waits) for waits in stage.customers.waits(stage.log)],
        "commands": [_command(receipt) for receipt in stage.commands.receipts],
        "accounts": _accounts(ending),
        "postmortem": str(ending.postmortem),
        "is_good": ending.is_good,
    }


def _waits(waits: Waits) -> dict[str, Any]:
    return {
        "step": waits.step,
        "lane": waits.lane,
        "sent": waits.sent,
        "started": waits.started,
        "p50": _wait(waits.p50),
        "p99": _wait(waits.p99),
        "longest": _wait(waits.longest),
    }


def _wait(wait: Wait | None) -> dict[str, Any] | None:
    return None if wait is None else {"seconds": round(wait.seconds, 6), "is_over": wait.is_over}


def _command(receipt: Receipt) -> dict[str, Any]:
    return {
        "command": receipt.command,
        "exit_code": receipt.exit_code,
        "seconds": round(receipt.seconds, 3),
        "output": receipt.text,
    }


def _accounts(ending: Ending) -> dict[str, Any]:
    accounts = ending.accounts
    return {
        "sent": accounts.sent,
        "run": accounts.run,
        "running": accounts.running,
        "claimed": accounts.claimed,
        "waiting": accounts.waiting,
        "backlog": accounts.backlog,
        "failed": accounts.failed,
        "missing": list(accounts.missing[:_IDS_LISTED]),
        "twice": list(accounts.twice[:_IDS_LISTED]),
        "run_again": list(accounts.run_again[:_IDS_LISTED]),
        "strangers": list(accounts.strangers[:_IDS_LISTED]),
        "is_complete": accounts.is_complete,
    }
