"""Which verbs are there, and what surrounds each of them?"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from shedder.cli.failures import USAGE, code_of, sentence_of
from shedder.cli.options import HELP_SETTINGS, connection_options, write_examples
from shedder.cli.run import Run
from shedder.cli.verb_audit import audit
from shedder.cli.verb_check import check
from shedder.cli.verb_completion import completion
from shedder.cli.verb_divert import divert
from shedder.cli.verb_doctor import doctor
from shedder.cli.verb_drain import drain
from shedder.cli.verb_events import events
from shedder.cli.verb_flag import flag
from shedder.cli.verb_incident import incident
from shedder.cli.verb_limit import limit
from shedder.cli.verb_mitigate import mitigate
from shedder.cli.verb_pause import pause
from shedder.cli.verb_plan import plan
from shedder.cli.verb_policy import policy
from shedder.cli.verb_resume import resume
from shedder.cli.verb_stale import stale
from shedder.cli.verb_status import status
from shedder.cli.verb_triage import triage
from shedder.cli.verb_undo import undo
from shedder.cli.verb_uninstall import uninstall
from shedder.cli.verb_worker import worker
from shedder.version import VERSION

_EXAMPLES = (
    "shedder status",
    'shedder pause mail -r "database at 99 %"',
    'shedder divert mail --priority low -r "only receipts now"',
    'shedder drain mail --rate 200/second -r "database is fine"',
)


class Program(click.Group):
    """A group of verbs that return exit codes, and whose failures become one line each."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the verb that the command line names, and exit."""
        given = kwargs.pop("args", args[0] if args else None)
        words = list(sys.argv[1:] if given is None else given)
        kwargs.update(prog_name="shedder", standalone_mode=False, obj=Run())
        sys.exit(self._exit_code(words, kwargs))

    def list_commands(self, _context: click.Context) -> list[str]:
        """The verbs in the order in which an incident needs them."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, _EXAMPLES)
        super().format_epilog(ctx, formatter)

    def _exit_code(self, words: list[str], kwargs: dict[str, Any]) -> int:
        run: Run = kwargs["obj"]
        _never_fail_to_print()
        try:
            code = super().main(args=words, **kwargs)
            run.remind()
            sys.stdout.flush()
        except BrokenPipeError:
            _silence()
            return 1
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it becomes one line
            # What is asked for may stand behind what could not be read.
            run.is_json = run.is_json or "--json" in words
            run.is_debug = run.is_debug or "--debug" in words
            return _report(error, run)
        return code if isinstance(code, int) else 0


@click.group(
    cls=Program,
    invoke_without_command=True,
    context_settings=HELP_SETTINGS,
)
@click.version_option(VERSION, prog_name="shedder")
@click.pass_context
def main(context: click.Context) -> int:
    """Shed load from RQ queues, and lose no job.

    Exit codes: 0 done, 1 failed, 2 usage, 3 nothing matched or condition not met, 4 Redis
    cannot be reached, 130 Ctrl-C.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        return USAGE
    return 0


main.params += connection_options()
for each in (
    status, check, triage, plan, pause, resume, divert, drain, flag, limit, policy, stale,
    mitigate, incident, undo, events, audit, doctor, worker,
    import_module("shedder.demo.program").demo,  # above this package, so by name
    uninstall, completion,
):  # fmt: skip
    main.add_command(each)


def _report(error: BaseException, run: Run) -> int:
    code, sentence = code_of(error), sentence_of(error, run)
    with contextlib.suppress(BrokenPipeError):
        if run.is_debug:
            traceback.print_exception(error)
        click.echo(f"shedder: {sentence}", err=True)
        if run.is_json:
            from shedder.cli.asjson import document, dumped

            click.echo(dumped(document("error/1", {"error": sentence, "exit_code": code})))
    return code


def _never_fail_to_print() -> None:
    # A name with letters that this terminal does not know is no reason to hide what happened.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _silence() -> None:
    """Let the interpreter flush to nowhere when it ends: who read us has gone."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
