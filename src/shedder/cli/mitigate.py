"""`shedder mitigate`: runs a program that the policy declares."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click

from shedder.cli import asking, options, output
from shedder.cli.policy import near_policy_option, policy_for
from shedder.cli.run import Refused, Run
from shedder.errors import NothingMatched
from shedder.policy.model import Mitigation, Policy
from shedder.response.runner import filled, find_mitigation, mask_for
from shedder.units import format_duration

_EXAMPLES = (
    'shedder mitigate rollback --release 41 -r "errors since 42"',
    "shedder mitigate rollback --release 41 --dry-run",
    "shedder mitigate                   lists what is declared",
)


@options.verb("mitigate", examples=_EXAMPLES)
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("values", metavar="[--VALUE TEXT]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--dry-run", is_flag=True, help="Show the command, run nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@near_policy_option
@options.cause_options
def mitigate(
    run: Run, *, request: options.Request, name: str | None, values: tuple[str, ...], dry_run: bool, yes: bool,
    policy_file: str | None,
) -> int:  # fmt: skip
    """Run the program that `[mitigations.NAME]` of the policy declares, and record its outcome.

    The command is a list of arguments and goes through no shell. Output is shown live and kept,
    with secrets masked. The time limit, Ctrl-C, SIGTERM or SIGHUP ends all its processes.
    """
    rules = policy_for(run, policy_file, or_near=True, is_needed=True)
    if name is None:
        return _list(run, rules)
    found = find_mitigation(rules.mitigations, name)
    words = filled(found, _values(values))
    return _show_only(run, found, words) if dry_run else _carry_out(run, request, found, words, is_sure=yes)


mitigate.context_settings = {**mitigate.context_settings, "ignore_unknown_options": True}


def _carry_out(run: Run, request: options.Request, found: Mitigation, words: tuple[str, ...], *, is_sure: bool) -> int:
    connected = run.shedder
    request = asking.settle_reason(request, f"carry out {output.escaped(found.name)}")
    shown = _shown(words)
    run.screen.remark(f"runs: {shown} (at most {_limit(found)})")
    asking.confirm(f"Run {shown}?", is_sure=is_sure)
    run.state = "what was started was ended, and the journal says so: shedder events"
    receipt = connected.mitigate(found, words, **request.cause, say=run.screen.remark)
    run.state = f"it is {receipt.outcome}"
    code = "" if receipt.exit_code is None else f" with exit code {receipt.exit_code}"
    outcomes = {"done": "is done", "not started": "could not be started"}
    outcome = outcomes.get(receipt.outcome, receipt.outcome)
    style = "bold green" if receipt.outcome == "done" else "bold red"
    said = f"{output.escaped(receipt.name)} {outcome}{code} after {format_duration(receipt.seconds)}."
    run.tell("mitigation/1", receipt, [output.headline(said, style=style)])
    if receipt.outcome == "not started" and not run.is_json:
        run.screen.remark(receipt.output)
    return 0 if receipt.outcome == "done" else 1


def _show_only(run: Run, found: Mitigation, words: tuple[str, ...]) -> int:
    masked = [mask_for({})(each) for each in words]
    told = {"name": found.name, "command": masked, "timeout": found.timeout}
    run.tell("mitigation-preview/1", told, [output.Verbatim(output.escaped(shlex.join(masked)))])
    if not run.is_json:
        run.screen.remark(f"nothing was run; its time limit is {_limit(found)}")
    return 0


def _list(run: Run, rules: Policy) -> int:
    if not rules.mitigations:
        raise NothingMatched("mitigation in the policy; declare one, such as [mitigations.rollback]")
    found = [{"name": each.name, "kind": each.kind, "command": each.run, "values": each.placeholders,
              "timeout": each.timeout} for each in rules.mitigations.values()]  # fmt: skip
    made = output.table("mitigation", "kind", "runs", ">at most")
    for each in rules.mitigations.values():
        output.row(made, each.name, each.kind, _shown(each.run), _limit(each))
    run.tell("mitigations/1", {"mitigations": found}, [made])
    return 0


def _values(words: tuple[str, ...]) -> Mapping[str, str]:
    """`--release 41` and `--release=41` as values by name."""
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, is_joined, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise Refused(f"{output.escaped(word)} is no value; write --NAME TEXT, such as --release 41")
        if name in found:
            raise Refused(f"--{output.escaped(name)} is given twice")
        found[name] = value if is_joined else next(rest, "")
    return found


def _shown(words: tuple[str, ...]) -> str:
    return output.escaped(shlex.join(mask_for({})(each) for each in words))


def _limit(found: Mitigation) -> str:
    return format_duration(found.timeout)
