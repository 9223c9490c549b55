"""How do the records of incidents get to disk, from where they come back when Redis is lost?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from shedder.errors import ShedderError
from shedder.postmortem.writing import write_whole

if TYPE_CHECKING:
    from shedder.facade import Shedder
    from shedder.incident.records import Incident


def write_copies(shed: Shedder, incidents: Iterable[Incident], folder: Path) -> None:
    """Write a file for each of `incidents`, which `shedder incident import` reads.

    A Redis that has lost its data counts its incidents anew. The file of another incident that had
    the same id is kept beside, with the time at which it was opened in its name.

    Raises:
        ShedderError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in incidents:
            copy = shed.incidents.export(each.id)
            file = folder / f"{each.id}.json"
            _keep_other(file, copy["incident"])
            write_whole(file, f"{json.dumps(copy)}\n".encode())
    except OSError as error:
        raise ShedderError(f"{folder} cannot be written: {error.strerror or error}") from error


def _keep_other(file: Path, incident: object) -> None:
    standing = _written_down_at(_read(file))
    if standing and standing != _written_down_at(incident):
        file.rename(file.with_name(f"{file.stem}.{standing}.json"))


def _read(file: Path) -> object:
    try:
        found: object = json.loads(file.read_bytes())["incident"]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
    return found


def _written_down_at(incident: object) -> int:
    """When it was opened, which no correction changes (ms since 1970); 0 when that is unknown."""
    try:
        return int(incident["severities"][0]["since"])  # type: ignore[index]
    except (IndexError, KeyError, TypeError, ValueError):
        return 0
