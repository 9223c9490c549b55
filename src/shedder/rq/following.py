"""How do producers and workers, which RQ creates by name, come by the policy in force?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.applied import PolicyCopy
from shedder.rq.layout import rq_keys
from shedder.store import Store

if TYPE_CHECKING:
    import redis

    from shedder.policy import Policy

_COPY = "_shedder_policy"


def policy_in_force(connection: redis.Redis) -> Policy:
    """The policy in force where `connection` leads to, as its process knows it."""
    return policy_copy(connection).policy


def policy_copy(connection: redis.Redis) -> PolicyCopy:
    """What the process knows of the policy in force where `connection` leads to.

    The copy lives with the connection's pool: queues are made for a single call, pools are not.
    """
    pool = connection.connection_pool
    copy: PolicyCopy | None = getattr(pool, _COPY, None)
    if copy is None:
        copy = PolicyCopy(Store(connection), rq_keys())
        setattr(pool, _COPY, copy)
    return copy


def forget_policy(connection: redis.Redis) -> None:
    """Let whoever has just applied a policy obey it at once."""
    connection.connection_pool.__dict__.pop(_COPY, None)
