"""`shedder policy`: check, apply and show what was decided on a quiet day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shedder.cli.asking import reason_of
from shedder.cli.failures import Refused
from shedder.cli.groups import verb_group
from shedder.cli.options import Asked, cause_options, verb
from shedder.cli.text import command

if TYPE_CHECKING:
    from shedder.cli.run import Run
    from shedder.policy import Policy

_CHECK = ("shedder policy check", "shedder policy check ops/shedder.toml")
_APPLY = (
    'shedder policy apply -r "reports may be shed"',
    'shedder policy apply ops/shedder.toml --based-on 3 -r "as reviewed"',
)
_SHOW = (
    "shedder policy show",
    "shedder policy show --explain 0fb7e7c1-62cb-4c2a-8d5f-3f2d8b3f7f4e",
)
_DIFF = ("shedder policy diff", "shedder policy diff ops/shedder.toml")
_INIT = ("shedder policy init", "shedder policy init ops/shedder.toml --force")

_file_argument = click.argument("file", metavar="[FILE]", required=False, type=click.Path())


@verb("check", examples=_CHECK, short="Say all that is wrong with a policy file.")
@_file_argument
def check(run: Run, *, file: str | None) -> int:
    """Read a policy file and say all that is wrong with it; asks no Redis, changes nothing.

    Without FILE it is shedder.toml, or [tool.shedder] in pyproject.toml, here or in a folder above.
    """
    from shedder.errors import PolicyInvalid

    path = _path(file)
    problems: tuple[object, ...] = ()
    try:
        _read(path)
    except PolicyInvalid as error:
        problems = error.problems
    if run.is_json:
        run.emit("policy-check/1", {"file": str(path), "problems": problems})
    elif problems:
        from shedder.cli.policy_view import problems_view

        run.screen.show(*problems_view(str(path), problems))
    else:
        from shedder.cli.parts import headline
        from shedder.cli.text import escaped

        run.screen.show(headline(f"{escaped(str(path))} is a policy: nothing is wrong with it."))
    return 2 if problems else 0


@verb("apply", examples=_APPLY, short="Put a policy into force, everywhere.")
@_file_argument
@click.option("--based-on", type=int, metavar="NUMBER",
              help="The policy that yours is a change of; the one in force if absent.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace whatever is in force.")
@cause_options
def apply(run: Run, *, asked: Asked, file: str | None, based_on: int | None, force: bool) -> int:
    """Put a policy into force; producers and workers of shedder obey within a second.

    It is checked as a whole first. If somebody else applies another one meanwhile, yours is
    refused, and nothing is changed.
    """
    if force and based_on is not None:
        raise Refused("--force and --based-on exclude each other; leave one of them out")
    policy = _read(_path(file))
    policies = run.shedder.policies
    base = policies.applied().number if based_on is None and not force else based_on
    reason = reason_of(asked, "apply this policy")
    run.state = f"which policy is in force, says: {_show_command(run)}"
    receipt = policies.apply(policy, reason=reason, by=asked.by, based_on=base)
    run.state = "it is in force"
    if run.is_json:
        run.emit("policy-apply/1", receipt)
    else:
        from shedder.cli.policy_view import policy_receipt

        run.screen.show(*policy_receipt(receipt, server=run.server_option))
    return 0


@verb("show", examples=_SHOW, short="The policy in force, or what it says of a job.")
@click.option("--explain", "job_id", metavar="JOB", help="Which rule decided what for this job.")
def show(run: Run, *, job_id: str | None) -> int:
    """Show the policy in force, with who applied it, as a file that could be applied again.

    Of the channels' URLs, which may hold secrets, only the scheme is shown.
    """
    if job_id is not None:
        return _explain(run, job_id)
    from datetime import UTC, datetime

    from shedder.policy_diff import shown
    from shedder.policy_document import document_of

    applied = run.shedder.policies.applied()
    told = shown(document_of(applied.policy))
    if run.is_json:
        head = {"number": applied.number, "by": applied.by, "why": applied.why}
        run.emit("policy-show/1", head, since=applied.since, policy=told)
    else:
        from shedder.cli.policy_view import applied_view
        from shedder.policy_text import written_policy

        run.screen.show(*applied_view(applied, written_policy(told), datetime.now(UTC)))
    return 0 if applied.number else 3


@verb("diff", examples=_DIFF, short="What applying a policy file would change.")
@_file_argument
def diff(run: Run, *, file: str | None) -> int:
    """Show what applying a policy file would change; changes nothing.

    A line that begins with - goes, one with + comes. It exits with 3 when nothing would change.
    """
    from shedder.policy_diff import differences
    from shedder.policy_document import document_of

    policy = _read(_path(file))
    applied = run.shedder.policies.applied()
    changes = differences(document_of(applied.policy), document_of(policy))
    if run.is_json:
        run.emit("policy-diff/1", {"number": applied.number, "changes": changes})
    else:
        from shedder.cli.parts import headline
        from shedder.cli.policy_view import difference_lines

        nothing = f"Nothing would change: policy {applied.number} says the same."
        run.screen.show(*(difference_lines(changes) or [headline(nothing)]))
    return 0 if changes else 3


@verb("init", examples=_INIT, short="Write a first policy from what is there.")
@_file_argument
@click.option("--force", is_flag=True, help="Also over a file that exists.")
def init(run: Run, *, file: str | None, force: bool) -> int:
    """Write a first policy file from the queues, functions and rates that can be seen now.

    It decides nothing yet: what could be said stands in it as remarks. Without FILE it is
    shedder.toml in this folder.
    """
    path = Path(file or "shedder.toml")
    if path.exists() and not force:
        raise Refused(f"{path} exists; --force writes over it")
    text = run.shedder.policies.sketch()
    try:
        with path.open("w" if force else "x", encoding="utf-8") as target:
            target.write(text)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error
    if run.is_json:
        run.emit("policy-init/1", {"file": str(path), "text": text})
    else:
        from shedder.cli.parts import commands_part, headline
        from shedder.cli.text import escaped

        run.screen.show(
            headline(f"{escaped(str(path))} is written; nothing of it is in force yet."),
            *commands_part(("check", command("policy", "check", str(path)))),
        )
    return 0


policy = verb_group(
    "policy", init, check, diff, apply, show,
    text="Say on a quiet day which work matters, which may wait, and what customers notice.",
    examples=(_INIT[0], _CHECK[0], _APPLY[0], _SHOW[0]),
)  # fmt: skip


def _path(file: str | None) -> Path:
    from shedder.policy_file import find_policy_file

    return Path(file) if file is not None else find_policy_file(Path.cwd())


def _read(path: Path) -> Policy:
    from shedder.policy_file import read_policy

    return read_policy(path)


def _explain(run: Run, job_id: str) -> int:
    job = run.shedder.policies.explain(job_id)
    if run.is_json:
        run.emit("policy-explain/1", job)
    else:
        from shedder.cli.policy_view import explained_view

        run.screen.show(*explained_view(job))
    return 0


def _show_command(run: Run) -> str:
    return command("policy", "show", server=run.server_option)
