"""The table of verbs, and the program that runs one of them and exits with its code.

A module imports at its top what it needs. Inside functions of `shedder.cli` stands only what most
calls do without, because it takes long to load:
- redis-py and `Shedder` (`run`, `completion`, `asking`): for help and a typing error;
- rq (`connect`, `worker`): for all but a settings module and a worker;
- rich (`output`, `progress`, `status`): where the output is no terminal;
- structlog (`logs`): until a log record is written; click's completion (`app`): for all else.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from shedder import __version__
from shedder.cli.options import HELP_SETTINGS, VerbGroup, connection_options, show_help, verb
from shedder.cli.output import document, fitted, json_text
from shedder.cli.run import Run, code_of, failure_sentence, without_secrets

VERBS = (
    ("status", "shedder.cli.status", "Show how many jobs wait and run, and what is paused."),
    ("check", "shedder.cli.status", "Report in one line whether anything is wrong."),
    ("triage", "shedder.cli.triage", "Show what to check and what to type next."),
    ("plan", "shedder.cli.plan", "Forecast how long the recovery takes."),
    ("pause", "shedder.cli.pause", "Stop the jobs of a queue from starting."),
    ("resume", "shedder.cli.pause", "End a pause."),
    ("divert", "shedder.cli.divert", "Move jobs to the backlog."),
    ("shed", "shedder.cli.shed", "Divert what the policy allows."),
    ("drain", "shedder.cli.drain", "Release a backlog at a limited rate."),
    ("retry", "shedder.cli.retry", "Bring failed jobs back at a limited rate."),
    ("flag", "shedder.cli.settings", "Degrade and restore features."),
    ("limit", "shedder.cli.settings", "Change rate limits while everything runs."),
    ("policy", "shedder.cli.policy", "Declare which work matters."),
    ("stale", "shedder.cli.stale", "List and replay old jobs that were set aside."),
    ("mitigate", "shedder.cli.mitigate", "Run a program of the policy, such as a rollback."),
    ("incident", "shedder.cli.incident", "Keep the record of an incident."),
    ("undo", "shedder.cli.undo", "Undo a change."),
    ("events", "shedder.cli.events", "Show who changed what, when and why."),
    ("top", "shedder.cli.top", "Show the control room in this terminal."),
    ("web", "shedder.cli.web", "Serve the control room, for a browser."),
    ("metrics", "shedder.cli.metrics", "Serve metrics for Prometheus."),
    ("audit", "shedder.cli.health", "Check that every job is in exactly one place."),
    ("doctor", "shedder.cli.health", "Check the installation."),
    ("worker", "shedder.cli.worker", "Run a worker that obeys pauses and diverts."),
    ("demo", "shedder.demo.program", "Play an incident on a private server."),
    ("uninstall", "shedder.cli.health", "Return every job to plain RQ."),
    ("completion", "shedder.cli.app", "Print a completion script for a shell."),
)
"""Each verb in the order in which an incident needs it: name, module, line in the list."""

_EXAMPLES = (
    "shedder status",
    'shedder pause mail -r "database at 99 %"',
    'shedder divert mail --priority low -r "only receipts now"',
    'shedder drain mail --rate 200/second -r "database is fine"',
)


class Program(VerbGroup):
    """A group of verbs that return exit codes, and whose failures become one line each."""

    examples = _EXAMPLES

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the verb that the command line names, and exit."""
        given = kwargs.pop("args", args[0] if args else None)
        words = list(sys.argv[1:] if given is None else given)
        kwargs.update(prog_name="shedder", standalone_mode=False, obj=Run())
        sys.exit(self._exit_code(words, kwargs))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that is named, from its module; what is listed has a name and a line only."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else _load_verb(name), rest

    def _exit_code(self, words: list[str], kwargs: dict[str, Any]) -> int:
        run: Run = kwargs["obj"]
        gc.freeze()  # what was loaded stays: looking for garbage in it takes a tenth of a command
        gc.set_threshold(50_000)
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
        finally:
            with contextlib.suppress(Exception):
                run.close()
        return code if isinstance(code, int) else 0


@click.group(cls=Program, invoke_without_command=True, context_settings=HELP_SETTINGS)
@click.version_option(__version__, prog_name="shedder")
def main() -> int:
    """Shed load from RQ queues, and lose no job.

    Exit codes: 0 done, 1 failed, 2 usage, 3 the answer is no, 4 Redis cannot be reached, 130 Ctrl-C.
    """
    return show_help()


main.params += connection_options()
for name, _, line in VERBS:
    main.add_command(click.Command(name, short_help=line))


def _load_verb(wanted: str) -> click.Command:
    # the list and completion need no verb, and a verb no other
    module = next(module for name, module, _ in VERBS if name == wanted)
    found: click.Command = getattr(import_module(module), wanted)
    return found


def _report(error: BaseException, run: Run) -> int:
    code, sentence = code_of(error), without_secrets(failure_sentence(error, run), run)
    with contextlib.suppress(BrokenPipeError):
        if run.is_debug:
            click.echo(without_secrets("".join(traceback.format_exception(error)), run), err=True, nl=False)
        click.echo(fitted(f"shedder: {sentence}", sys.stderr), err=True)
        if run.is_json:
            click.echo(json_text(document("error/1", {"error": sentence, "exit_code": code})))
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


VARIABLE = "_SHEDDER_COMPLETE"

_COMPLETION_EXAMPLES = (
    'eval "$(shedder completion bash)"       # in ~/.bashrc',
    'eval "$(shedder completion zsh)"        # in ~/.zshrc',
    "shedder completion fish | source        # in ~/.config/fish/config.fish",
)


@verb("completion", examples=_COMPLETION_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(run: Run, *, shell: str) -> int:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    script = kind(main, {}, "shedder", VARIABLE).source()
    if run.is_json:
        run.emit("completion/1", {"shell": shell, "script": script})
    else:
        click.echo(script)
    return 0
