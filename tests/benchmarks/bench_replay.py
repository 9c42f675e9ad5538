"""Replays of a whole grid of (N, alpha) against the usual loop.

    python tests/benchmarks/bench_replay.py

48 series of 6,100 steps, 100 windows by 100 thresholds; the loop's time is extrapolated from a sample of settings.
"""

import time
import tracemalloc

import numpy as np

from orchestrator.criteria.dvar import first_stops

SERIES, STEPS, SIDE, SAMPLE = 48, 6100, 100, 6


def naive(values, window, threshold):
    """Return the first stop, or 0, by the loop of the paper's figure 3."""
    for count in range(window + 1, len(values) + 1):
        if values[count - window : count].var() < threshold * values[:count].var():
            return count
    return 0


def main() -> None:
    """Time both, check that they agree, print the ratio."""
    rng = np.random.default_rng(0)
    decay = 0.1 * np.exp(-np.arange(STEPS) / rng.uniform(100, 2000, (SERIES, 1)))
    table = 1 + decay + 0.003 * rng.normal(size=(SERIES, STEPS))
    windows = np.unique(np.geomspace(8, 0.8 * STEPS, SIDE).astype(int)).tolist()
    windows += [window for window in range(9, 9 + 2 * SIDE) if window not in windows][: SIDE - len(windows)]
    thresholds = np.linspace(0.01, 0.99, SIDE).tolist()
    start = time.perf_counter()
    stops = np.array([first_stops(series, windows, thresholds) for series in table])
    grid = time.perf_counter() - start
    tracemalloc.start()
    for series in table:
        first_stops(series, windows, thresholds)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    seconds = 0.0
    for _ in range(SAMPLE):
        which, row, column = rng.integers(SERIES), rng.integers(SIDE), rng.integers(SIDE)
        start = time.perf_counter()
        expected = naive(table[which], windows[row], thresholds[column])
        seconds += time.perf_counter() - start
        assert stops[which, row, column] == expected, (which, windows[row], thresholds[column])
    loop = seconds / SAMPLE * SERIES * SIDE * SIDE
    settings = len(windows) * len(thresholds)
    print(f"{settings:,} settings on {SERIES} series of {STEPS:,} steps: {grid:.2f} s, {peak:.0f} MiB of arrays")
    print(f"calling var at every step: {loop / 3600:,.1f} h, extrapolated from {SAMPLE}; ratio {loop / grid:,.0f}")


if __name__ == "__main__":
    main()
