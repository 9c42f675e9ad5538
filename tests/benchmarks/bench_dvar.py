"""DVAR vectorised against a loop that calls `var` at every step, and its online time per value for several windows.

    python tests/benchmarks/bench_dvar.py

Both sides alternate within a process; medians and ratios are printed.
"""

import statistics
import time

import numpy as np

from orchestrator.criteria import DVAR

STEPS, WINDOW, THRESHOLD, REPEATS = 6100, 310, 0.15, 7
WINDOWS = (10, 310, 3000)


def naive(values):
    """Return the first stop by the loop of the paper's figure 3."""
    for count in range(WINDOW + 1, len(values) + 1):
        if values[count - WINDOW : count].var() < THRESHOLD * values[:count].var():
            return count
    return None


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def online(window, values):
    """Return the seconds for all values once the window is full, with a threshold too low to fire."""
    criterion = DVAR(window, 1e-9).online()
    for value in values[: max(WINDOWS) + 1]:
        criterion.update(value)
    return seconds(lambda: [criterion.update(value) for value in values])


def main():
    """Measure both sides, check that they agree, and print."""
    values = np.random.default_rng(0).normal(size=STEPS)  # never stops: both sides do all the work
    vectorised = DVAR(WINDOW, THRESHOLD).first_stop
    assert vectorised(values) is None
    assert naive(values) is None
    pairs = [(seconds(naive, values), seconds(vectorised, values)) for _ in range(REPEATS)]
    slow, fast = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"DVAR({WINDOW}, {THRESHOLD}) on {STEPS} values, median of {REPEATS}")
    print(f"  var at every step  {1e3 * slow:>9.3f} ms")
    print(f"  vectorised         {1e3 * fast:>9.3f} ms   {slow / fast:.0f} times faster (target: 30)")
    stream = values.tolist()
    times = [[online(window, stream) for window in WINDOWS] for _ in range(REPEATS)]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    print(f"online, {STEPS} values (target: the same for every window)")
    for window, median in zip(WINDOWS, medians, strict=True):
        share = median / medians[0]
        print(f"  window {window:>5}       {1e6 * median / STEPS:>9.3f} us per value   {share:.2f} of the first")


if __name__ == "__main__":
    main()
