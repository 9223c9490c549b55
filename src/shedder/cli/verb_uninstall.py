"""`shedder uninstall`: leave a server, and every job to RQ."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

import click

from shedder.cli.asking import confirm, is_asking_possible, reason_of
from shedder.cli.failures import Refused
from shedder.cli.options import Asked, cause_options, verb
from shedder.cli.text import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.cli.run import Run
    from shedder.leaving import UninstallReceipt
    from shedder.records import Event

_EXAMPLES = (
    "shedder uninstall --dry-run",
    'shedder uninstall --journal journal.jsonl -r "back to plain RQ"',
    'shedder uninstall --yes --force -r "its workers are dead"',
)

_QUESTION = (
    "End all controls, put every job back into the lists of RQ, and remove all keys of shedder{}?"
)


@verb("uninstall", examples=_EXAMPLES)
@cause_options
@click.option("-n", "--dry-run", is_flag=True, help="Show what it would do; change nothing.")
@click.option("--journal", "path", metavar="FILE", type=click.Path(dir_okay=False),
              help="Keep the journal there, one JSON object a line.")  # fmt: skip
@click.option("--force", is_flag=True,
              help="Though workers of shedder are on record, or a record is damaged.")  # fmt: skip
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
def uninstall(
    run: Run, *, asked: Asked, dry_run: bool, path: str | None, force: bool, is_sure: bool
) -> int:
    """Put every job back into the lists of RQ, end all controls, remove all keys of shedder.

    Stop the workers of shedder first, and start stock ones after. Jobs keep their order, and each
    lane stays a queue of RQ. If it is killed, run it again: it goes on.
    """
    connected = run.shedder
    if dry_run:
        preview = connected.preview_uninstall()
        return _show(run, preview, code=0 if preview.keys else 3)
    reason = reason_of(asked, "uninstall shedder")
    _make_sure(path, is_sure=is_sure)
    run.state = (
        f"not all is done; run it again, as {command('uninstall', server=run.server_option)}"
    )
    receipt = _uninstall(run, asked, reason, path=path, force=force)
    run.state = "it is done"
    return _show(run, receipt, code=3 if receipt.left else 0)


def _make_sure(path: str | None, *, is_sure: bool) -> None:
    if path is not None and Path(path).exists():
        raise Refused(f"{path} exists; name another file for --journal")
    if not is_sure and not is_asking_possible():
        raise Refused("nobody can be asked here; say --yes, or look first with --dry-run")
    confirm(_QUESTION.format("" if path else ", its journal too"), is_sure=is_sure)


def _uninstall(
    run: Run, asked: Asked, reason: str, *, path: str | None, force: bool
) -> UninstallReceipt:
    from shedder.cli.progress import scan_bar

    with ExitStack() as opened:
        on_event = opened.enter_context(_Journal(path)).write if path else None
        on_progress = opened.enter_context(scan_bar(run.screen, "putting jobs back"))
        return run.shedder.uninstall(
            reason=reason, by=asked.by, force=force, on_event=on_event, on_progress=on_progress
        )


class _Journal:
    """A file that gets the journal, made with its first line: who is refused leaves none.

    Each line is with the system before the next, because the journal in Redis goes right after.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened = ExitStack()
        self._write: Callable[[str], object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def write(self, event: Event) -> None:
        from shedder.cli.asjson import document, dumped

        if self._write is None:
            file = self._opened.enter_context(_new_file(self._path))
            self._write = file.write
        self._write(dumped(document("event/1", event), is_line=True) + "\n")


def _new_file(path: str) -> TextIO:
    return Path(path).open("x", buffering=1, encoding="utf-8")


def _show(run: Run, receipt: UninstallReceipt, *, code: int) -> int:
    if run.is_json:
        run.emit("uninstall/1", receipt)
    else:
        from shedder.cli.receipts_uninstall import uninstall_receipt

        run.screen.show(*uninstall_receipt(receipt, server=run.server_option))
    return code
