"""A new job into its lane, or into a backlog, as the lane's controls say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shedder.engine.jobs import NOTE_FIELD, function_field, function_of, texts_of
from shedder.lanes import lane_of
from shedder.store.keys import Keys
from shedder.store.store import Command, Pipeline

if TYPE_CHECKING:
    from rq.job import Job


_BELL_LENGTH = 64
_RUNG = "_shedder_rung"


def enqueue_job(keys: Keys, lane: str, job: Job, *, at_front: bool, unique: bool) -> Command[bool]:
    """Save `job` and put it into `lane`; False when `unique` and the id exists."""
    function = function_of(job)
    stored, empty = hash_of(job, function)
    fields = [part for pair in stored.items() for part in pair]
    return Command(
        "enqueue_job",
        (keys.pauses, keys.diverts, keys.engine.queues, job.key, *keys.lane(lane)),
        (job.id, lane, int(at_front), int(unique), job.ttl or 0, stored["created_at"],
         stored.get("enqueued_at", stored["created_at"]), function, _meta_of(job), " ".join(empty), *fields),
        bool,
    )  # fmt: skip


def save_on(pipeline: Pipeline, job: Job) -> None:
    """Save `job` when `pipeline` is carried out, as `enqueue_job` would."""
    stored, empty = hash_of(job, function_of(job))
    if empty:
        pipeline.hdel(job.key, *empty)
    pipeline.hset(job.key, mapping=stored)
    if job.ttl:
        job.cleanup(ttl=job.ttl, pipeline=pipeline)


def hash_of(job: Job, function: str) -> tuple[dict[Any, Any], list[str]]:
    """The fields of the job's hash, and the names of those that RQ would store empty.

    A missing field reads the same to RQ as an empty one; the memory it saves pays for our own.
    Those that a former job left must go; a job that has no id yet has no former one.
    """
    is_new = job._id is None
    fields = job.to_dict()
    fields[NOTE_FIELD] = function_field(function, fields["created_at"]) if function else ""
    stored = {name: value for name, value in fields.items() if value != ""}
    return stored, [] if is_new else [name for name in fields if name not in stored]


def push_job(keys: Keys, lane: str, job_id: str, *, at_front: bool) -> Command[bool]:
    """Put the id of a job that is saved already into `lane`."""
    return Command(
        "push_job", (keys.pauses, keys.diverts, *keys.lane(lane)), (job_id, lane, int(at_front), "", ""), bool
    )


def ring_on(pipeline: Pipeline, keys: Keys, lane: str) -> None:
    """Wake an idle worker of `lane` when `pipeline` is carried out, with plain commands.

    Once for all that is on the pipeline: a worker that finds more than one job wakes the next.
    """
    bell = keys.bell(lane_of(lane).queue)
    # a pipeline takes a new list of commands when it has been carried out
    batch, rung = getattr(pipeline, _RUNG, (None, frozenset[str]()))
    if batch is not pipeline.command_stack:
        rung = frozenset()
    if bell in rung:
        return
    setattr(pipeline, _RUNG, (pipeline.command_stack, rung | {bell}))
    pipeline.rpush(bell, "1")
    pipeline.ltrim(bell, -_BELL_LENGTH, -1)


def _meta_of(job: Job) -> str:
    return json.dumps(texts_of(job)) if job.meta else "{}"
