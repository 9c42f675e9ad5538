"""The time of a study with 1,000 trials on eight recordings, and Optuna's own share of it.

python tests/benchmarks/bench_study.py
"""

import time

import numpy as np

from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Quality, Recording, Steps
from orchestrator.study.objective import Objective
from orchestrator.study.replayed import Study

TRIALS, CONCEPTS, STEPS = 1000, 8, 1000


def recording(index: int) -> Recording:
    """Return a recording with decaying L_det and rising quality, as long and noisy as the miniature's."""
    rng = np.random.default_rng(index)
    k = np.arange(1, STEPS + 1)
    l_det = 0.07 + 0.01 * np.exp(-k / rng.uniform(50, 200)) + 1e-4 * rng.normal(size=STEPS)
    ones = np.ones(STEPS)
    steps = Steps(l_det, ones, ones, 0.03 * ones, 0.02 * ones, np.repeat(l_det[:, None], 8, axis=1))
    at = np.arange(0, STEPS + 1, 50)
    scores = {"train_clip_image": 0.7 - 0.3 * np.exp(-at / rng.uniform(50, 200))}
    identity = RunIdentity({"concept": {"name": f"concept {index}"}, "budget": STEPS, "seed": 0})
    return Recording(identity, {}, "complete", "", steps, Quality(at, scores, np.ones(len(at))))


def main() -> None:
    """Time a study of DVAR and a study of six criteria."""
    recordings = [recording(index) for index in range(CONCEPTS)]
    for names in (["dvar"], ["dvar", "ema", "hall", "trend", "few_iterations", "clip_score"]):
        study, replays = Study(recordings, names=names, objective=Objective(kind="mean")), 0.0
        original = study.evaluate

        def timed(name, params, original=original):
            nonlocal replays
            begun = time.perf_counter()
            try:
                return original(name, params)
            finally:
                replays += time.perf_counter() - begun

        study.evaluate = timed
        begun = time.perf_counter()
        result = study.search(TRIALS)
        total = time.perf_counter() - begun
        print(
            f"{TRIALS:,} trials of {', '.join(names)} on {CONCEPTS} recordings of {STEPS:,} steps: {total:.1f} s "
            f"(target: 30), of which replays {100 * replays / total:.0f} %, Optuna the rest; {result.best.criterion}"
        )


if __name__ == "__main__":
    main()
