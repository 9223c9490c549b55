"""Plants one bug after the other in a copy of the package, and tells which test catches it.

    python -m tests.planted             all bugs, one line each
    python -m tests.planted bell slot   those whose name has one of these words
    python -m tests.planted --model     ask the model as well, not the examples alone
    python -m tests.planted --markdown  a table for the documentation

Exits with 1 when a bug was not caught, or when its text is not in the package any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.planted import (
    bugs_in_claims,
    bugs_in_controls,
    bugs_in_diverts,
    bugs_in_drains,
    bugs_in_everyday_paths,
    bugs_in_old_work,
    bugs_in_retries,
)
from tests.planted.bug import MODEL, Bug

BUGS = (
    *bugs_in_everyday_paths.BUGS,
    *bugs_in_claims.BUGS,
    *bugs_in_controls.BUGS,
    *bugs_in_diverts.BUGS,
    *bugs_in_drains.BUGS,
    *bugs_in_old_work.BUGS,
    *bugs_in_retries.BUGS,
)
ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 900
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests said.

    Attributes:
        caught_by: The first test that failed; empty when none did.
        seconds: How long it took.
    """

    caught_by: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `by_model` is None when the model was not asked."""

    bug: Bug
    by_example: Outcome
    by_model: Outcome | None

    @property
    def is_caught(self) -> bool:
        return bool(self.by_example.caught_by or (self.by_model and self.by_model.caught_by))


def main(arguments: Sequence[str]) -> int:
    options = parsed(arguments)
    wanted = [bug for bug in BUGS if any(word in bug.name for word in options.words or [""])]
    with tempfile.TemporaryDirectory() as folder:
        healthy = outcome(fresh_copy(Path(folder)), tests_of(wanted), Path(folder))
        if healthy.caught_by:
            print(f"{healthy.caught_by} fails without any planted bug", file=sys.stderr)
            return 1
        rows = list(planted(wanted, Path(folder), asks_model=options.model))
    if options.markdown:
        print_markdown(rows)
    missed = [row.bug.name for row in rows if not row.is_caught]
    print(f"{len(rows) - len(missed)} of {len(rows)} caught", *missed, sep="\n  not: ")
    return 1 if missed else 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.planted", description=__doc__)
    parser.add_argument("words", nargs="*", help="only bugs whose name has one of these words")
    parser.add_argument("--model", action="store_true", help="ask the model as well")
    parser.add_argument("--markdown", action="store_true", help="print a table at the end")
    return parser.parse_args(arguments)


def planted(bugs: Sequence[Bug], folder: Path, *, asks_model: bool) -> Iterator[Row]:
    for bug in bugs:
        source = fresh_copy(folder)
        try:
            bug.plant(source)
        except ValueError as error:
            row = Row(bug, Outcome("", 0.0), None)
            print(f"  STALE   {bug.name}: {error}")
        else:
            by_model = outcome(source, [MODEL], folder) if asks_model else None
            row = Row(bug, outcome(source, bug.tests, folder), by_model)
            print(f"{row.by_example.seconds:6.1f} s  {bug.name}: {told(row.by_example)}", flush=True)
        sys.stdout.flush()
        yield row


def fresh_copy(folder: Path) -> Path:
    """The package as it is now, in a folder of its own."""
    copy = folder / "src"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return copy


def outcome(source: Path, tests: Sequence[str], folder: Path) -> Outcome:
    """The first of `tests` that fails with the package in `source`."""
    command = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
               "-p", "tests.planted.hasty", "--no-header", *tests)  # fmt: skip
    settings = {
        **os.environ,
        "PYTHONPATH": f"{source}{os.pathsep}{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
    }
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome("(a test that does not end)", time.monotonic() - began)
    found = FAILED.search(done.stdout)
    caught_by = found.group(1) if found else "" if done.returncode == 0 else done.stdout[-500:]
    return Outcome(caught_by, time.monotonic() - began)


def tests_of(bugs: Sequence[Bug]) -> list[str]:
    """All tests that one of the bugs needs, each once."""
    return list(dict.fromkeys(test for bug in bugs for test in bug.tests))


def told(found: Outcome | None) -> str:
    if found is None:
        return ""
    return found.caught_by.rpartition("::")[2].partition("[")[0] or "NOT CAUGHT"


def print_markdown(rows: Sequence[Row]) -> None:
    print("| bug | caught by | seconds | the model |\n| --- | --- | ---: | --- |")
    for row in rows:
        model = "" if row.by_model is None else "caught" if row.by_model.caught_by else "-"
        name = f"`{told(row.by_example)}`"
        print(f"| {row.bug.name} | {name} | {row.by_example.seconds:.1f} | {model} |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
