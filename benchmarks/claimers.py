"""How fast jobs may leave a lane, when what they do takes no time.

A claimer does what a worker of ours does between two jobs (claim, then the gate) and nothing of
what RQ does with the job. Two of them on two cores take what would need ten workers.
"""

from __future__ import annotations

import os
import signal
import struct
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from benchmarks.fleet import die_with_parent
from shedder.engine.names import rq_keys
from shedder.queues.claims import Claimed, HeldClaim, NothingClaimed, bells, claim_job, start_job
from shedder.rq.fetch import SLICE_SECONDS
from shedder.store.store import Command, Store, load_script

if TYPE_CHECKING:
    import redis

    from benchmarks.ground import Ground

_MOMENT = struct.Struct("d")
_LONG_TEXT, _FLOAT = 0xD9, 0xCB


class Claimers:
    """Processes that claim the jobs of one lane, and note when.

    Args:
        ground: On which server.
        lane: Which lane.
        number: How many.
        at_once: For how many workers each of them claims in one round trip.
    """

    def __init__(self, ground: Ground, lane: str, *, number: int = 2, at_once: int = 1) -> None:
        self._paths = [Path(tempfile.mkstemp(prefix="shedder-claims-")[1]) for _ in range(number)]
        self.pids = [_start(ground, lane, path, at_once) for path in self._paths]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for path in self._paths:
            path.unlink()

    def moments(self) -> list[float]:
        """When jobs were claimed, in seconds of the server's clock, in order."""
        found: list[float] = []
        for path in self._paths:
            data = path.read_bytes()
            whole = len(data) // _MOMENT.size * _MOMENT.size
            found += [at for (at,) in _MOMENT.iter_unpack(data[:whole])]
        return sorted(found)


def _start(ground: Ground, lane: str, path: Path, at_once: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            _claim(ground.client(), lane, path, at_once)
        finally:
            os._exit(1)
    return pid


def _claim(client: redis.Redis, lane: str, path: Path, at_once: int) -> None:
    keys = rq_keys()
    claim = claim_job(keys, [lane], worker=f"claimer-{os.getpid()}")
    bell = bells(keys, (lane,))
    held: list[HeldClaim] = []
    Store(client, rq_keys()).execute(claim)
    with path.open("wb", buffering=0) as file:
        while True:
            answers = _next(client, claim, held, at_once)
            held = []
            for answer in answers:
                if isinstance(answer, Claimed):
                    file.write(_MOMENT.pack(_claimed_at(answer.token)))
                    held.append(HeldClaim(answer.token, answer.job_id, answer.lane))
            last = answers[-1]
            if not isinstance(last, Claimed) and not last.is_again and not held:
                _wait(client, bell, last)


def _wait(client: redis.Redis, bell: tuple[str, ...], nothing: NothingClaimed) -> None:
    if nothing.wait_ms:
        time.sleep(min(nothing.wait_ms / 1000, SLICE_SECONDS))
    else:
        client.blpop(list(bell), timeout=SLICE_SECONDS)


def _next(
    client: redis.Redis, claim: Command[Any], held: list[HeldClaim], at_once: int
) -> list[Claimed | NothingClaimed]:
    """Let the jobs in hand through the gate and claim the next ones, in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for each in held:
        _put(pipeline, start_job(rq_keys(), each, timestamp="now", function="", meta={}))
    for _ in range(at_once):
        _put(pipeline, claim)
    return [claim.parse(reply) for reply in pipeline.execute()[len(held) :]]


def _claimed_at(token: bytes) -> float:
    """When a claim was made, in seconds of the clock that its bucket went by.

    A token is an array in MessagePack: three texts, then this moment in milliseconds.
    """
    position = 1
    for _ in range(3):
        kind = token[position]
        size = token[position + 1] if kind == _LONG_TEXT else kind & 0x1F
        position += size + (2 if kind == _LONG_TEXT else 1)
    form = ">d" if token[position] == _FLOAT else ">Q"
    (milliseconds,) = struct.unpack_from(form, token, position + 1)
    return float(milliseconds) / 1000


def _put(pipeline: Any, command: Command[Any]) -> None:
    text = load_script(command.script)
    pipeline.evalsha(text.sha, len(command.keys), *command.keys, *command.args)
