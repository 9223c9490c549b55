"""`shedder policy`: its verbs, and the policy that other verbs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shedder.cli import asking, options, output
from shedder.cli.run import Refused, Run
from shedder.errors import PolicyInvalid, RecordUnreadable
from shedder.policy.document import document_of
from shedder.policy.explain import ExplainedJob, differences, shown, written_policy
from shedder.policy.file import find_policy_file, policy_file_near, read_policy
from shedder.policy.model import Policy
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder.policy.applied import AppliedPolicy, PolicyReceipt


_CHECK = ("shedder policy check", "shedder policy check ops/shedder.toml")
_APPLY = (
    'shedder policy apply -r "reports may be shed"',
    'shedder policy apply ops/shedder.toml --based-on 3 -r "as reviewed"',
)
_SHOW = ("shedder policy show", "shedder policy show --explain 0fb7e7c1-62cb-4c2a-8d5f-3f2d8b3f7f4e")
_DIFF = ("shedder policy diff", "shedder policy diff ops/shedder.toml")
_INIT = ("shedder policy init", "shedder policy init ops/shedder.toml --force")

_file_argument = click.argument("file", metavar="[FILE]", required=False, type=click.Path())


@options.verb("check", examples=_CHECK, short="Check a policy file.")
@_file_argument
def check_policy(run: Run, *, file: str | None) -> int:
    """Check a policy file and list every problem; needs no Redis, changes nothing.

    FILE defaults to shedder.toml, or [tool.shedder] in pyproject.toml, in this or a parent folder.
    """
    path = _path(file)
    problems: Sequence[object] = ()
    view: output.Parts = [output.headline(f"{output.escaped(str(path))} is a policy: nothing is wrong with it.")]
    try:
        read_policy(path)
    except PolicyInvalid as error:
        problems = error.problems
        wrong = output.Text(f"{path} has {counted(len(problems), 'problem')}:", style="bold red")
        view = [wrong, *(output.plain(output.escaped(f"  {problem}")) for problem in problems)]
    run.tell("policy-check/1", {"file": str(path), "problems": problems}, view)
    return 2 if problems else 0


@options.verb("apply", examples=_APPLY, short="Put a policy into force, everywhere.")
@_file_argument
@click.option("--based-on", type=int, metavar="NUMBER",
              help="The policy that this file changes; the one in force if absent.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace whatever is in force.")
@options.cause_options
def apply(run: Run, *, request: options.Request, file: str | None, based_on: int | None, force: bool) -> int:
    """Put a policy into force; shedder producers and workers obey within a second.

    It is checked as a whole first. If somebody else applies another one meanwhile, yours is
    refused, and nothing is changed.
    """
    if force and based_on is not None:
        raise Refused("--force and --based-on exclude each other; leave one of them out")
    policy = read_policy(_path(file))
    policies = run.shedder.policies
    base = policies.applied().number if based_on is None and not force else based_on
    request = asking.settle_reason(request, "apply this policy")
    run.unsure("which policy is in force", "policy show")
    receipt = policies.apply(policy, **request.cause, based_on=base)
    run.state = "it is in force"
    run.tell("policy-apply/1", receipt, policy_receipt)
    return 0


@options.verb("show", examples=_SHOW, short="Show the policy in force, or what it says of a job.")
@click.option("--explain", "job_id", metavar="JOB", help="Show which rules apply to this job.")
def show_policy(run: Run, *, job_id: str | None) -> int:
    """Show the policy in force, with who applied it, as a file that could be applied again.

    Only the scheme of a channel's URL is shown, because the rest may hold a secret.
    """
    if job_id is not None:
        run.tell("policy-explain/1", run.shedder.policies.explain(job_id), explained_view)
        return 0
    applied = run.shedder.policies.applied()
    told = shown(document_of(applied.policy))
    head = {"number": applied.number, "by": applied.by, "why": applied.why}
    view = applied_view(applied, written_policy(told), datetime.now(UTC))
    run.tell("policy-show/1", head, view, since=applied.since, policy=told)
    return 0 if applied.number else 3


@options.verb("diff", examples=_DIFF, short="Show what applying a policy file would change.")
@_file_argument
def diff(run: Run, *, file: str | None) -> int:
    """Show what applying a policy file would change; changes nothing.

    Lines with - are removed, lines with + are added. Exits with 3 when nothing would change.
    """
    policy = read_policy(_path(file))
    applied = run.shedder.policies.applied()
    changes = differences(document_of(applied.policy), document_of(policy))
    same = [output.headline(f"Nothing would change: policy {applied.number} says the same.")]
    told = {"number": applied.number, "changes": changes}
    run.tell("policy-diff/1", told, difference_lines(changes) or same)
    return 0 if changes else 3


@options.verb("init", examples=_INIT, short="Write a first policy from the queues that exist.")
@_file_argument
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(run: Run, *, file: str | None, force: bool) -> int:
    """Write a first policy file from the queues, functions and rates that can be seen now.

    It decides nothing yet; suggestions are comments. FILE defaults to shedder.toml in this folder.
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
    run.tell("policy-init/1", {"file": str(path), "text": text}, [
        output.headline(f"{output.escaped(str(path))} is written; nothing of it is in force yet."),
        *output.commands_part(("check", output.command("policy", "check", str(path)))),
    ])  # fmt: skip
    return 0


policy = options.verb_group(
    "policy", init, check_policy, diff, apply, show_policy,
    text="Declare which work matters, which may wait, and what customers notice.",
    examples=(_INIT[0], _CHECK[0], _APPLY[0], _SHOW[0]),
)  # fmt: skip


def _policy_option(text: str) -> Callable[[Any], Any]:
    return click.option("--policy", "policy_file", metavar="FILE", help=text)


policy_option = _policy_option("Use this policy file, not the policy in force.")
near_policy_option = _policy_option("Use this policy file, not the policy in force or a nearby shedder.toml.")


def policy_for(
    run: Run, file: str | None, *, or_near: bool = False, is_needed: bool = False, is_view: bool = False
) -> Policy:
    """The policy in `file`; else the one in force; an empty one when there is none.

    While none was applied, `or_near` takes the file here or in a folder above. A view of the queues goes on
    without one that cannot be read, and says so.

    Raises:
        InvalidInput: it is needed and there is none, or it cannot be read.
        PolicyInvalid: it has problems.
        RecordUnreadable: the one in force is damaged or of a newer shedder, and this is no view.
    """
    if file is not None:
        return read_policy(Path(file))
    try:
        applied = run.shedder.policies.applied()
    except RecordUnreadable as error:
        if not is_view:
            raise
        run.screen.warn(f"{error}; this is told without a policy")
        return Policy()
    if applied.number or not or_near:
        return applied.policy
    path = find_policy_file(Path.cwd()) if is_needed else policy_file_near(Path.cwd())
    return read_policy(path) if path else applied.policy


def _path(file: str | None) -> Path:
    return Path(file) if file is not None else find_policy_file(Path.cwd())


def policy_receipt(receipt: PolicyReceipt, *, server: str = "") -> output.Parts:
    """The receipt of an application."""
    warnings = [output.Text(output.escaped(each), style="yellow") for each in receipt.warnings]
    if not receipt.event:
        return [output.headline(f"Policy {receipt.number} is in force and says the same already."), *warnings]
    before = f", in place of policy {receipt.replaced}" if receipt.replaced else ""
    return [
        output.headline(f"Policy {receipt.number} is in force{before}.", style="bold green"),
        output.plain("Producers and workers of shedder obey it within a second."),
        *warnings,
        *difference_lines(receipt.changes),
        *output.commands_part(
            ("look", output.command("policy", "show", server=server)),
            ("undo", output.command("undo", receipt.event, server=server)),
        ),
    ]


def difference_lines(changes: Sequence[str]) -> output.Parts:
    """What goes and what comes, a line each."""
    return [output.Verbatim(output.escaped(line), style="red" if line.startswith("-") else "green") for line in changes]


def applied_view(applied: AppliedPolicy, text: str, now: datetime) -> output.Parts:
    """Who applied it, and what it says; as remarks and TOML, so that it can be a file."""
    if not applied.number or applied.since is None:
        return [output.plain("# No policy is in force: `shedder policy init` writes a first one.")]
    since = f"{output.clock(applied.since, now)} ({output.age(applied.since, now)} ago)"
    head = f"# policy {applied.number}, applied {since} by {applied.by}: {applied.why}"
    return [output.Verbatim(output.escaped(line)) for line in (head, *text.splitlines())]


def explained_view(job: ExplainedJob, **_: str) -> output.Parts:
    """What holds for a job, and which rule decided it."""
    function = f", function {output.escaped(job.function)}" if job.function else ""
    said = f"Job {output.escaped(job.job)} of lane {output.escaped(job.lane)}{function}"
    made = output.table("of", "says", ">rule", "which matches")
    for each in job.decisions:
        output.row(made, each.saying, each.value or "nothing", str(each.rule or "-"), each.matched)
    parts: output.Parts = [output.headline(f"{said}: what policy {job.policy} says"), made, output.blank()]
    if job.lane_by_policy != job.lane:
        parts.append(output.plain(f"Enqueued now it would go into {output.escaped(job.lane_by_policy)}."))
    parts.append(output.plain(f"Workers of shedder serve {output.escaped(job.lane)} as {job.served_as}."))
    return parts
