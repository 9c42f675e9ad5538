"""What the benchmarks that train for long share: their command line, a Ray cluster on this machine, and a check."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray

from orchestrator.runs import RunResult

WORKERS = 2  # of one core and one thread each
NOTICE = "skipped: it trains for about 20 minutes on two cores; to run it: python {} --yes"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "RAY_DEDUP_LOGS": "0"}
LOGGERS = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"


def parser(trials: int) -> argparse.ArgumentParser:
    """Return a parser with the flags of every long benchmark.

    Args:
        trials: default of `--trials`.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--yes", action="store_true", help="run it although it takes long")
    parser.add_argument("--trials", type=int, default=trials, help=f"Ray Tune trials (default {trials})")
    parser.add_argument("--budget", type=int, help="optimizer steps of a full-length run (default: the preset's)")
    return parser


def is_wanted(options: argparse.Namespace) -> bool:
    """Return whether `--yes` was given; otherwise say how to give it."""
    if not options.yes:
        print(NOTICE.format(sys.argv[0]))
    return bool(options.yes)


@contextmanager
def cluster() -> Iterator[None]:
    """Run Ray on this machine, started before anything is timed; both sides use it."""
    os.environ |= QUIET | {LOGGERS: "1"}
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def raise_failure(results: Sequence[RunResult]) -> None:
    """Raise an error that names the first run that failed, if any did.

    Raises:
        RuntimeError: a run failed; a comparison without it would mean nothing.
    """
    if failed := [result for result in results if not result.is_good]:
        raise RuntimeError(f"{failed[0].spec.concept}: {failed[0].reason}")
