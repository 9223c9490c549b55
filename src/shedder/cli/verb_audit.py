"""`shedder audit`: is every job in exactly one place?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.options import verb

if TYPE_CHECKING:
    from shedder.cli.run import Run


_EXAMPLES = (
    "shedder audit",
    "shedder audit --json",
)


@verb("audit", examples=_EXAMPLES)
def audit(run: Run) -> int:
    """Look at every job and say whether each is in exactly one place; changes nothing.

    Exits with 3 when one is in none or in two. While jobs move, look twice before you worry.
    """
    from shedder.cli.progress import scan_bar

    connected = run.shedder
    with scan_bar(run.screen, "auditing") as on_progress:
        report = connected.audit(on_progress=on_progress)
    if run.is_json:
        run.emit("audit/1", report)
    else:
        from shedder.cli.audit_view import audit_view

        run.screen.show(*audit_view(report))
    return 0 if report.is_clean else 3
