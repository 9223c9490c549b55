"""`shedder incident export | import`: a copy of the record, outside of Redis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shedder.cli.incident_options import changing, finish
from shedder.cli.options import Asked, cause_options, verb
from shedder.errors import InvalidInput

if TYPE_CHECKING:
    from shedder.cli.run import Run

_EXPORT = (
    "shedder incident export",
    "shedder incident export 2026-11-25-1 --out incident.json",
)
_IMPORT = ("shedder incident import incident.json",)


@verb("export", examples=_EXPORT, short="Write a copy of the record.")
@click.argument("incident", metavar="[INCIDENT]", required=False)
@click.option("--out", metavar="FILE", help="Where to; standard output if absent.")
def export_incident(run: Run, *, incident: str | None, out: str | None) -> int:
    """Write the record and its events as JSON, which `import` reads."""
    from shedder.cli.asjson import dumped

    copy = run.shedder.incidents.export(incident)
    if out is None:
        run.screen.emit(copy)
        return 0
    try:
        Path(out).write_text(dumped(copy) + "\n", encoding="utf-8")
    except OSError as error:
        raise _unusable("--out", out, error) from error
    run.screen.remark(f"incident {copy['incident']['id']} is in {out}")
    return 0


@verb("import", examples=_IMPORT, short="Bring a copy of the record back.")
@click.argument("file", metavar="FILE")
@cause_options
def import_incident(run: Run, *, asked: Asked, file: str) -> int:
    """Bring back what `export` wrote, such as after Redis has lost its data.

    An incident that is there already is left as it is.
    """
    copy = _read(file)
    said = asked.reason or f"from {Path(file).name}"
    receipt = changing(run).bring_back(copy, reason=said, by=asked.by)
    return finish(run, receipt, f"Incident {receipt.incident.id} is here again.")


def _read(file: str) -> Any:
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise _unusable("FILE", file, error) from error
    except (RecursionError, ValueError) as error:
        accepted = "a file that `shedder incident export` wrote"
        raise InvalidInput(name="FILE", value=file, accepted=accepted) from error


def _unusable(name: str, file: str, error: OSError) -> InvalidInput:
    accepted = f"a file that can be used ({error.strerror})"
    return InvalidInput(name=name, value=file, accepted=accepted)
