"""Which jobs have started, and when, by what the jobs themselves wrote down?"""

from __future__ import annotations

from pathlib import Path


class RunLog:
    """Reads the file that `shedder.demo.work` writes.

    Attributes:
        path: the file.
        starts: id -> when its function began, in nanoseconds since the epoch.
        again: ids that began once more, one entry for each time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts: dict[str, int] = {}
        self.again: list[str] = []
        self._read = 0
        path.touch(mode=0o600)

    def refresh(self) -> None:
        """Take in what was written since the last time."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            job, _, at = line.partition(" ")
            if job in self.starts:
                self.again.append(job)
            else:
                self.starts[job] = int(at)

    def started_after(self, moment: int) -> int:
        """How many began after `moment` (nanoseconds since the epoch)."""
        return sum(at > moment for at in self.starts.values())
