"""What does `status --watch` show when Redis is away for a while?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from shedder.cli.failures import trouble
from shedder.cli.status_view import status_view
from shedder.cli.text import escaped
from shedder.errors import RedisUnreachable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shedder.cli.run import Run


def status_or_trouble(run: Run, names: tuple[str, ...]) -> RenderableType:
    """The status now, or one line that says that Redis is asked again."""
    try:
        found = run.shedder.status(*names)
    except RedisUnreachable as error:
        said = f"{escaped(trouble(error, run))}, trying again (Ctrl-C ends)"
        return Text(said, style="bold red")
    return Group(*status_view(found, address=run.address, named=names))
