"""`python -m tests.faults`: break things on purpose, and count what was lost."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from pathlib import Path

from tests.cluster import shared_server
from tests.faults.published import publish, section_of, server_of
from tests.faults.report import Row, remarks, table
from tests.faults.schedule import Fault, all_faults, chosen, play, rounds
from tests.faults.stage import Outcome

SHOWN = 12


def main() -> int:
    """Run what the command line asks for; 1 when something was wrong."""
    options = _options()
    faults = chosen(all_faults(), options.only)
    if options.list:
        print("\n".join(f"{fault.family:12} {fault.name}" for fault in faults))
        return 0
    if not faults:
        print(f"no fault is called {options.only!r}; --list shows all", file=sys.stderr)
        return 2
    seed = options.seed or secrets.token_hex(4)
    print(f"seed {seed}: {len(faults)} faults, {options.minutes:g} minutes", flush=True)
    rows = {fault.name: Row(fault) for fault in faults}
    since, server = time.monotonic(), ""
    try:
        server = _run(faults, rows, seed, options)
    except KeyboardInterrupt:
        print("interrupted")
    minutes = (time.monotonic() - since) / 60
    print(f"\nseed {seed}, {minutes:.1f} minutes\n")
    print(table(list(rows.values())))
    print(f"\n{remarks(list(rows.values()))}")
    if options.publish and server:
        command = _command(seed, options)
        publish(section_of(list(rows.values()), command=command, server=server, minutes=minutes))
    return 1 if any(row.wrong for row in rows.values()) else 0


def _command(seed: str, options: argparse.Namespace) -> str:
    """What plays this run again."""
    words = [f"--minutes {options.minutes:g}", f"--seed {seed}"]
    words += ["--stock"] if options.stock else []
    words += [f'--only "{options.only}"'] if options.only else []
    return f"make faults ARGS='{' '.join(words)}'"


def _run(faults: list[Fault], rows: dict[str, Row], seed: str, options: argparse.Namespace) -> str:
    """Play for as long as is asked; the server's product and version."""
    with shared_server() as server:
        for fault, trial_seed in rounds(faults, seed=seed, minutes=options.minutes):
            since = time.monotonic()
            outcome, folder = play(fault, server, seed=trial_seed, size=options.jobs)
            rows[fault.name].add(outcome)
            _tell(fault, trial_seed, outcome, folder, time.monotonic() - since)
            if fault.beside is not None and options.stock:
                beside, _ = play(fault, server, seed=trial_seed, size=options.jobs, beside=True)
                rows[fault.name].add_stock(beside)
        with server.client() as client:
            return server_of(client)


def _tell(fault: Fault, seed: str, outcome: Outcome, folder: Path | None, seconds: float) -> None:
    verdict = outcome.skipped or "ok" if not outcome.wrong else str(dict(Counter(w.kind for w in outcome.wrong)))
    print(f"{fault.name}: {outcome.injected} injected, {seconds:.1f} s, {verdict}", flush=True)
    for wrong in outcome.wrong[:SHOWN]:
        print(f"    {wrong.kind}: {wrong.what}")
    if outcome.wrong:
        print(f"    logs in {folder}; again: --seed {seed.partition('.')[0]} --only '{fault.name}'")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="how long (one round if 0)")
    parser.add_argument("--seed", default="", help="plays the same faults again")
    parser.add_argument("--only", default="", help="words in the names of faults, or families")
    parser.add_argument("--jobs", type=int, default=20, help="faults to inject in each trial")
    parser.add_argument("--stock", action="store_true", help="stock RQ beside ours")
    parser.add_argument("--publish", action="store_true", help="write the table into the page of guarantees")
    parser.add_argument("--list", action="store_true", help="show the faults and end")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
