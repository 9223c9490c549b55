"""Whether a wheel installs without compiling on each Python that we support; asks the registry.

`make package` runs it; no test does, because tests need no network.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "any")
EXTRAS = "all,django,flask"


def lacks(wheel: Path, python: str) -> str:
    """What pip says when something has no wheel for this Python on Linux; empty when all has."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "install", "--quiet", "--dry-run", "--ignore-installed", "--target", folder,
            "--only-binary=:all:", "--implementation", "cp", "--python-version", python,
            *(word for each in PLATFORMS for word in ("--platform", each)), f"{wheel}[{EXTRAS}]",
        ]  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    return done.stderr.strip() or "pip failed" if done.returncode else ""


def main(wheel: Path) -> int:
    found = {python: lacks(wheel, python) for python in PYTHONS}
    for python, complaint in found.items():
        print(f"Python {python}: {complaint or 'everything is a wheel'}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
