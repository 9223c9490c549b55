"""Run the benchmarks: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import importlib
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from types import ModuleType

from benchmarks import bullmq_side, machine, publish, report
from benchmarks.ground import peaks
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, seconds
from benchmarks.settings import Settings

QUESTIONS = {
    1: "q01_divert_whole",
    2: "q02_divert_subset",
    3: "q03_other_clients",
    4: "q04_looking",
    5: "q05_drain_at_once",
    6: "q06_drain_pace",
    7: "q07_producer",
    8: "q08_worker",
    9: "q09_pickup",
    10: "q10_idle",
    11: "q11_pause",
    12: "q12_bad_hour",
    13: "q13_memory",
    14: "q14_scale",
    15: "q15_limits",
    16: "q16_flags",
    17: "q17_propagation",
    18: "q18_many_queues",
    19: "q19_retry",
    20: "q20_control_room",
}

FAILED = "(the rest of the question)"


def main() -> int:
    """Measure, print the table, and write it into `benchmarks/results/`."""
    options = _parser().parse_args()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    about = {"command": shlex.join(["python -m benchmarks", *sys.argv[1:]]).replace("'", "")}
    about |= machine.describe()
    with bullmq_side.installed():
        rows = [row for each in options.only for row in _answers(each, _settings(options, each))]
    about["took"] = f"{(time.monotonic() - began) / 60:.1f} min"
    print(report.markdown(rows, about=about))
    table, numbers = report.write(rows, about=about)
    say(f"written: {table}, {numbers}")
    if options.publish:
        publish.publish([numbers])
    return int(any(row.case == FAILED for row in rows))


def _settings(options: argparse.Namespace, question: int) -> Settings:
    is_full = question in (options.full or ())
    return Settings(options.jobs, options.latency_ms, options.repeat, is_full, options.bullmq)


def _answers(number: int, settings: Settings) -> Iterator[Row]:
    program = importlib.import_module(f"benchmarks.{QUESTIONS[number]}")
    say(f"question {number}: {str(program.__doc__).splitlines()[0]}")
    began = time.monotonic()
    with peaks() as found:
        for row in _rows_of(program, number, settings):
            verdict = "" if row.verdict is Verdict.NO_GOAL else f" [{row.verdict.value}]"
            say(f"  {row.case}: {row.ours}" + (f" | {row.other}" if row.other else "")
                + (f" | {row.ratio}" if row.ratio else "") + verdict)  # fmt: skip
            yield row
    yield _effort(number, settings, time.monotonic() - began, max(found, default=0))


def _rows_of(program: ModuleType, number: int, settings: Settings) -> Iterator[Row]:
    """The rows of one question; one that failed says so, and the others still get their turn."""
    try:
        yield from program.run(settings)
    except Exception as error:
        # what the other questions have measured is not lost for this one
        logging.disable(logging.NOTSET)
        logging.getLogger(__name__).exception("question %s failed", number)
        logging.disable(logging.WARNING)
        yield Row(
            number,
            FAILED,
            f"failed: {type(error).__name__}: {error}",
            goal="to be measured",
            verdict=Verdict.NOT_REACHED,
        )


def _effort(number: int, settings: Settings, took: float, peak: int) -> Row:
    form = "long" if settings.is_full else "short"
    return Row(
        number,
        "(the question itself)",
        f"{form} form, {seconds(took)}; highest memory of a server {peak / 1e6:,.0f} MB",
        values={"took_s": took, "peak_memory": peak, "is_full": settings.is_full},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_numbers, default=list(QUESTIONS), metavar="1,2,5",
                        help="only these questions")  # fmt: skip
    parser.add_argument("--full", type=_numbers, nargs="?", const=list(QUESTIONS),
                        metavar="1,2,5", help="the long form of all questions, or of these",
                        )  # fmt: skip
    parser.add_argument("--publish", action="store_true",
                        help="write the figures into the pages that tell them")  # fmt: skip
    parser.add_argument("--jobs", type=int, help="jobs that wait in the queue")
    parser.add_argument("--latency-ms", type=float, default=0.0, metavar="MS",
                        help="what the network adds to a round trip")  # fmt: skip
    parser.add_argument("--repeat", type=int, help="pairs of measurements for each comparison")
    help_on_bullmq = "install BullMQ into a temporary folder and measure it too"
    parser.add_argument("--bullmq", action="store_true", help=help_on_bullmq)
    return parser


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    unknown = [str(each) for each in numbers if each not in QUESTIONS]
    if unknown:
        raise argparse.ArgumentTypeError("there is no question " + ", ".join(unknown))
    return numbers


if __name__ == "__main__":
    sys.exit(main())
