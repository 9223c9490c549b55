"""Which rule decided what for a job?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shedder.durations import format_duration
from shedder.lanes import DEFAULT_PRIORITY, Lane, lane_of
from shedder.policy import SAYINGS, Policy, Rule


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of one thing for a job.

    Attributes:
        saying: Of what: `priority`, `shed`, `noun` or `tolerance`.
        value: What holds, as text; empty when no rule says anything.
        rule: Number of the rule that decided, from 1; 0 for none.
        matched: What that rule matches; empty for none.
    """

    saying: str
    value: str = ""
    rule: int = 0
    matched: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedJob:
    """What a policy says of a job, and why.

    Attributes:
        job: Its id.
        policy: Number of the policy in force; 0 when none was applied.
        lane: The lane that it is in, or came from.
        lane_by_policy: The lane in which a producer of ours would put it now.
        served_as: The priority with which workers of ours serve its lane.
        function: Its function; empty when that cannot be known.
        decisions: What holds for it, one for each thing that a rule can say.
    """

    job: str
    policy: int
    lane: str
    lane_by_policy: str
    served_as: str
    function: str
    decisions: tuple[Decision, ...]


def explained(
    policy: Policy, number: int, *, job: str, lane: str, function: str | None,
    meta: Mapping[str, str],
) -> ExplainedJob:  # fmt: skip
    """What `policy` says of a job."""
    queue = lane_of(lane).queue
    chosen = policy.lane_for(queue, function=function, meta=meta)
    is_chosen = lane_of(lane).priority != DEFAULT_PRIORITY
    return ExplainedJob(
        job=job,
        policy=number,
        lane=lane,
        lane_by_policy=lane if is_chosen and chosen == Lane(queue) else chosen.name,
        served_as=policy.served_as(lane),
        function=function or "",
        decisions=tuple(
            _decision(saying, policy.rule_for(saying, queue=queue, function=function, meta=meta))
            for saying in SAYINGS
        ),
    )


def _decision(saying: str, found: tuple[int, Rule] | None) -> Decision:
    if found is None:
        return Decision(saying)
    number, rule = found
    value = getattr(rule, saying)
    text = format_duration(value, exact=True) if saying == "tolerance" else str(value)
    return Decision(saying, text, number, rule.describe())
