"""What need the process of a job not find out again when it connects?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

_GIVEN = ("driver_info", "lib_name", "lib_version")


def look_up_driver_once(pool: redis.ConnectionPool) -> None:
    """Let connections of `pool` know what redis-py calls itself; what the user said of it stays.

    A pool made from a URL looks it up for each connection, in the metadata of the installed
    package (since redis-py's pull request 3880). That is 3 ms in the fork of every job.
    """
    settings: dict[str, Any] = pool.connection_kwargs
    if any(name in settings for name in _GIVEN):
        return
    try:
        from redis.driver_info import DriverInfo
    except ImportError:  # an older redis-py looks it up once, when it is imported
        return
    settings["driver_info"] = DriverInfo()
